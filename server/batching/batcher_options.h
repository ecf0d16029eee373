// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_BATCHING_BATCHER_OPTIONS_H_
#define LOSSD_SERVER_BATCHING_BATCHER_OPTIONS_H_

#include <cstdint>

#include "absl/status/status.h"

namespace lossd {

// The settings of a Batcher. All bounds are inclusive.
struct BatcherOptions {
  // Execution slots: batches that run at the same time, inline runs included.
  // As many threads are started. At least 1.
  int workers = 1;

  // An item of at most this many operations runs on the submitting thread when
  // a slot is free and nothing is queued. Should be the work of some tens of
  // microseconds, the cost of a handoff; negative: no item ever does.
  double inline_operations = 0;

  // Bounds of one batch, each at least 1. An item that exceeds the first two on
  // its own runs in a batch of one.
  int64_t max_batch_bytes = int64_t{64} << 20;
  int64_t max_batch_units = int64_t{1} << 16;
  int max_batch_requests = 64;

  // Bounds of what waits, not counting what runs, each at least 1. An item that
  // exceeds them on its own is still accepted when nothing is queued.
  int64_t max_queue_bytes = int64_t{512} << 20;
  double max_queue_operations = 1e12;
  int max_queue_requests = 1024;
};

// OK, or INVALID_ARGUMENT that names every setting out of range.
absl::Status ValidateBatcherOptions(const BatcherOptions& options);

}  // namespace lossd

#endif  // LOSSD_SERVER_BATCHING_BATCHER_OPTIONS_H_
