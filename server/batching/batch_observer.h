// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_BATCHING_BATCH_OBSERVER_H_
#define LOSSD_SERVER_BATCHING_BATCH_OBSERVER_H_

#include <cstdint>

#include "absl/time/time.h"
#include "server/batching/batch_item.h"

namespace lossd {

// What a batcher tells about its work, for metrics. The defaults do nothing.
//
// Called from any thread, several at a time, without a lock held, and before
// the item concerned completes: who has an answer finds it counted. The calls
// lie on the path of every item, so they should cost tens of nanoseconds.
class BatchObserver {
 public:
  virtual ~BatchObserver() = default;

  // A batch is about to run. Inline runs are batches of one.
  virtual void OnBatch(int /*requests*/, int64_t /*units*/) {}

  // Once for each item of a batch that is about to run: how long it waited,
  // never negative.
  virtual void OnQueued(absl::Duration /*queued*/) {}

  // Once for each item that completes without having run.
  virtual void OnDropped(DropReason /*reason*/, DropStage /*stage*/) {}
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BATCHING_BATCH_OBSERVER_H_
