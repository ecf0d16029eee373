// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_BATCHING_BATCHER_H_
#define LOSSD_SERVER_BATCHING_BATCHER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/base/clock.h"
#include "server/batching/batch_item.h"
#include "server/batching/batch_observer.h"
#include "server/batching/batch_queue.h"
#include "server/batching/batcher_options.h"
#include "server/batching/rate_meter.h"

namespace lossd {

// Runs small pieces of work together when there is much to do, and at once when
// there is not. There is no timer: no item ever waits for others to join it.
//
// Where an item runs. There are `workers` execution slots. If one is free and
// nothing is queued, an item of at most `inline_operations` runs on the thread
// that submits it, which saves the handoff to another thread. Every other item
// is queued, and a worker thread takes it as soon as a slot is free. The
// submitting thread never runs an item of another caller, and never more than
// `workers` batches run at once, inline runs included.
//
// What shares a batch. A worker that becomes free takes the oldest item of the
// priority that is due and every younger one of the same key and priority, in
// order of submission, until one does not fit the bounds of a batch or the
// worker has its share: of what waits under the key, one part for each slot, so
// that the other workers find theirs. Items of
// one key and priority therefore leave the queue in the order of submission;
// with several slots their batches may still overtake one another.
//
// How long an item waits. Until a slot is free, and then for at most as many
// batches as there are items of its priority ahead of it; low priority gets at
// least every ninth batch, and normal priority all others.
//
// What is refused. Work that waits is bounded in bytes, operations and
// requests; beyond that items are dropped with RESOURCE_EXHAUSTED and a delay
// to retry after. Low priority has half of each bound. A single item is
// accepted whatever its size when nothing is queued. An item whose deadline
// lies within the time that the queue ahead of it will take, at the rate that
// workers were measured to run at, is refused likewise. An idle batcher, or one
// that has measured nothing yet, never refuses for that reason.
//
// What is never run. Items that are cancelled or past their deadline: this is
// checked on submission, when a batch is formed, and just before it runs.
//
// Failure. Items complete on their own, so one that fails does not concern the
// others of its batch.
//
// Ownership. The batcher owns an item from Submit() on and destroys it after
// the run or the drop. Clock and observer are borrowed and outlive the batcher.
//
// Cost. Submit() takes one lock, for well under a microsecond, and once more
// after an inline run, for which it allocates nothing. Memory is that of the
// items waiting.
//
// Thread-safe. Neither the runner, nor an item's OnDropped() or destructor, nor
// the observer is called with a lock held, and all of them may call Submit()
// and GetStats(), but neither Drain() nor the destructor: these wait for them.
class Batcher {
 public:
  // Runs a batch: never empty, all of one key and priority. Completes every
  // item before it returns. Is called by up to `workers` threads at once.
  using Runner = std::function<void(absl::Span<BatchItem* const> batch)>;

  static constexpr absl::Duration kMinRetryDelay = absl::Milliseconds(1);
  // Also the delay while no rate has been measured.
  static constexpr absl::Duration kMaxRetryDelay = absl::Seconds(1);

  struct Stats {
    int queued_requests = 0;
    int64_t queued_bytes = 0;
    double queued_operations = 0;
    int running = 0;  // Slots in use.
    // With all slots in use; 0 until measured. Inline runs are not measured:
    // their time is mostly overhead, and what waits does not run that way.
    double operations_per_second = 0;
  };

  // Starts the workers. `observer` may be null. INVALID_ARGUMENT if an option
  // is out of range.
  static absl::StatusOr<std::unique_ptr<Batcher>> Create(
      const BatcherOptions& options, const Clock* clock, Runner runner,
      BatchObserver* observer);

  Batcher(const Batcher&) = delete;
  Batcher& operator=(const Batcher&) = delete;

  // Drains, then joins the workers. No other call may be in progress, or follow
  // it.
  ~Batcher();

  // Accepts an item, or drops it: whatever happens to it, the item learns. Does
  // not block, except for as long as an inline run takes. `item` is not null.
  // True if the item was queued; it may have completed since.
  bool Submit(std::unique_ptr<BatchItem> item) ABSL_LOCKS_EXCLUDED(mutex_);

  // When to try again what was refused now, for whatever reason: as
  // Drop::retry_after.
  absl::Duration RetryDelay() const ABSL_LOCKS_EXCLUDED(mutex_);

  // From now on items are dropped with UNAVAILABLE. Returns when all that were
  // accepted have completed and are destroyed. May be called again.
  void Drain() ABSL_LOCKS_EXCLUDED(mutex_);

  // One consistent reading.
  Stats GetStats() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  Batcher(const BatcherOptions& options, const Clock* clock, Runner runner,
          BatchObserver* observer);

  // Why `ticket` may not enter now, if so.
  std::optional<Drop> Refusal(const BatchTicket& ticket) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<Drop> Unreachable(const BatchTicket& ticket) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Drops or queues the item and returns nothing, or takes a slot to run it
  // inline and returns it. Sets `queued` if it is queued.
  std::optional<BatchTicket> Enter(BatchTicket ticket, bool* queued)
      ABSL_LOCKS_EXCLUDED(mutex_);

  void WorkerLoop() ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits for work and a slot, and takes both. Nothing: time to end.
  std::optional<PulledBatch> NextBatch() ABSL_LOCKS_EXCLUDED(mutex_);
  void Process(PulledBatch batch) ABSL_LOCKS_EXCLUDED(mutex_);

  // Runs tickets that are all wanted, of which there is at least one, and
  // destroys their items. Returns when the run ended.
  absl::Time Run(absl::Span<BatchTicket> tickets, absl::Time start)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void DropItem(BatchTicket& ticket, const Drop& drop)
      ABSL_LOCKS_EXCLUDED(mutex_);

  bool HasFreeSlot() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsIdle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  double OperationsPerSecond() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const BatcherOptions options_;
  const Clock* const clock_;
  const Runner runner_;
  BatchObserver no_observer_;
  BatchObserver* const observer_;

  mutable absl::Mutex mutex_;
  // Signalled once for each item that a waiting worker should come for.
  absl::CondVar work_;
  BatchQueue queue_ ABSL_GUARDED_BY(mutex_);
  RateMeter slot_rate_ ABSL_GUARDED_BY(mutex_);  // Of one slot.
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> workers_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BATCHING_BATCHER_H_
