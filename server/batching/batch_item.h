// SPDX-License-Identifier: Apache-2.0
//
// The vocabulary of batching: one piece of work, where it was placed, and why
// it may be dropped.

#ifndef LOSSD_SERVER_BATCHING_BATCH_ITEM_H_
#define LOSSD_SERVER_BATCHING_BATCH_ITEM_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace lossd {

enum class BatchPriority {
  kNormal,
  kLow,  // Work that can wait: see the class comment of Batcher.
};

// Why an item completes without having run. The code is that of Drop::status.
enum class DropReason {
  kQueueFull,            // RESOURCE_EXHAUSTED: a bound of the queue is reached.
  kDeadlineUnreachable,  // RESOURCE_EXHAUSTED: the queue ahead takes too long.
  kDeadlineExceeded,     // DEADLINE_EXCEEDED: the deadline has passed.
  kCancelled,            // CANCELLED: cancelled() returned true.
  kDraining,             // UNAVAILABLE: submitted after Drain() began.
};

// Where the item was when it was dropped.
enum class DropStage {
  kSubmit,  // In Submit(); it was never queued.
  kForm,    // Taken from the queue while a batch was formed.
  kRun,     // Member of a formed batch that was about to run.
};

// An item's outcome when it does not run.
struct Drop {
  DropReason reason;
  DropStage stage;

  // Never OK. The message names the bound and the values, and what to do.
  absl::Status status;

  // When to try again: the time in which the queue empties at the measured
  // rate, between Batcher::kMinRetryDelay and Batcher::kMaxRetryDelay. Zero
  // unless `reason` is kQueueFull or kDeadlineUnreachable.
  absl::Duration retry_after;
};

// Where an item that runs was placed.
struct BatchPlacement {
  absl::Duration queued;    // From Submit() until the run began; zero inline.
  int batch_requests = 0;   // Items in its batch, itself included.
  int64_t batch_units = 0;  // Sum of their units.
};

// One piece of work, implemented by the room that submits it.
//
// Every item completes exactly once: either the runner is given it, or
// OnDropped() is called. Both happen on any thread, the submitting one
// included, and while no lock of the batcher is held. The batcher destroys the
// item soon after, also without a lock.
class BatchItem {
 public:
  // What the item costs, known before it runs. Negative numbers count as zero.
  struct Cost {
    // Memory that the item holds while it waits and needs while it runs.
    int64_t bytes = 0;
    // Size along the axis that batches grow in; rows, for tensors.
    int64_t units = 0;
    // Estimated work, in any unit that is proportional to time, the fixed
    // overhead of one item included.
    double operations = 0;
  };

  BatchItem() = default;
  BatchItem(const BatchItem&) = delete;
  BatchItem& operator=(const BatchItem&) = delete;
  virtual ~BatchItem() = default;

  // These four are read once, in Submit().
  virtual Cost cost() const = 0;
  // Items with equal keys may share a batch. The value means nothing else.
  virtual uint64_t batch_key() const = 0;
  virtual BatchPriority priority() const { return BatchPriority::kNormal; }
  // The item is not run at this time or later.
  virtual absl::Time deadline() const { return absl::InfiniteFuture(); }

  // True once nobody waits for the answer; must stay true from then on. Called
  // repeatedly, from any thread, also with the batcher's lock held: a read of a
  // flag, which neither blocks nor calls the batcher.
  virtual bool cancelled() const { return false; }

  // Completes the item unrun. May call Submit() for other items.
  virtual void OnDropped(const Drop& drop) = 0;

  // Set before the runner is called; the runner may read it from then on.
  const BatchPlacement& placement() const { return placement_; }

 private:
  friend class Batcher;
  BatchPlacement placement_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BATCHING_BATCH_ITEM_H_
