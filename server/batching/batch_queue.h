// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_BATCHING_BATCH_QUEUE_H_
#define LOSSD_SERVER_BATCHING_BATCH_QUEUE_H_

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/batching/batch_item.h"
#include "server/batching/batcher_options.h"

namespace lossd {

// An item and what it said about itself when it was submitted.
struct BatchTicket {
  BatchTicket(std::unique_ptr<BatchItem> item, absl::Time submitted);

  // Why the item must not run at `now`, if there is a reason. Cancellation
  // comes before an expired deadline.
  std::optional<DropReason> Unwanted(absl::Time now) const;

  std::unique_ptr<BatchItem> item;
  BatchItem::Cost cost;  // Nothing in it is negative or not finite.
  uint64_t key;
  BatchPriority priority;
  absl::Time deadline;
  absl::Time submitted;
  uint64_t arrival = 0;  // Position among all items ever queued.
};

// What one pull takes from the queue.
struct PulledBatch {
  struct Unwanted {
    BatchTicket ticket;
    DropReason reason;
  };
  std::vector<BatchTicket> tickets;  // To run together; may be empty.
  std::vector<Unwanted> unwanted;    // To complete without running.
};

// What waits, in the order in which it will run. The policy of a Batcher
// without its threads.
//
// Each priority has its own queue, first in first out. The oldest item of a
// priority decides the key of the next batch, and younger items of that key
// join it, in order, up to the first that does not fit, and up to the key's
// items divided by the workers, rounded up. Items of other keys
// keep their place; since every pull removes the oldest item, none waits for
// more pulls of its priority than it found items ahead of it. Normal priority
// is pulled before low, except that low priority is pulled after
// kNormalPullsPerLow pulls of normal in a row that found low waiting.
//
// Not thread-safe. Push and Pull cost O(log keys) for each item concerned,
// however many items of other keys wait.
class BatchQueue {
 public:
  static constexpr int kNormalPullsPerLow = 8;

  // `options` must be valid.
  explicit BatchQueue(const BatcherOptions& options);

  // OK if an item of this cost may be queued, else RESOURCE_EXHAUSTED with the
  // bound in its message. Anything may be queued when nothing is. Low priority
  // has half of each bound, so that a backlog of it leaves room for normal.
  absl::Status CheckRoom(const BatchItem::Cost& cost,
                         BatchPriority priority) const;

  // Appends an item that CheckRoom() agreed to.
  void Push(BatchTicket ticket);

  // Takes the next batch, as well as the unwanted items met on the way to it,
  // which do not count towards its bounds. All of `tickets` have the same key
  // and priority. Must not be called when empty().
  PulledBatch Pull(absl::Time now);

  bool empty() const { return requests_ == 0; }
  int requests() const { return requests_; }
  int64_t bytes() const { return bytes_; }
  double operations() const;

  // Operations that will run before an item of this priority that is pushed
  // now; for normal priority, the low ones that run in between not counted.
  double OperationsAhead(BatchPriority priority) const;

 private:
  // The items of one priority.
  struct Level {
    std::unordered_map<uint64_t, std::deque<BatchTicket>> lanes;  // By key.
    std::map<uint64_t, uint64_t> heads;  // Arrival of a lane's first -> key.
    double operations = 0;
  };

  Level& LevelOf(BatchPriority priority);
  const Level& LevelOf(BatchPriority priority) const;
  Level& NextLevel();
  bool Fits(const BatchTicket& ticket, size_t requests,
            const BatchItem::Cost& taken) const;
  BatchTicket PopFront(Level& level, std::deque<BatchTicket>& lane);

  const BatcherOptions options_;
  std::array<Level, 2> levels_;
  int requests_ = 0;
  int64_t bytes_ = 0;
  uint64_t next_arrival_ = 0;
  int normal_pulls_ = 0;  // In a row, while low priority waited.
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BATCHING_BATCH_QUEUE_H_
