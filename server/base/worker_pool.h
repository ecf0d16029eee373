// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_BASE_WORKER_POOL_H_
#define LOSSD_SERVER_BASE_WORKER_POOL_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"

namespace lossd {

// Threads that help whoever has more to do than one thread should. The caller
// always works too, so progress never depends on a helper being free, and
// concurrent calls share the helpers. Thread-safe.
class WorkerPool {
 public:
  // `threads` counts the caller: threads - 1 helpers are started.
  explicit WorkerPool(int threads);
  ~WorkerPool();

  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  // Calls task(i) for each i in [0, count), in any order, on this thread and on
  // whichever helpers are idle, and returns when all have returned. Tasks must
  // not call ParallelFor on the same pool.
  void ParallelFor(int64_t count, absl::FunctionRef<void(int64_t)> task);

 private:
  struct Loop;
  void HelperMain();

  absl::Mutex mutex_;
  std::deque<std::shared_ptr<Loop>> loops_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> helpers_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BASE_WORKER_POOL_H_
