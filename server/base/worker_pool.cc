// SPDX-License-Identifier: Apache-2.0

#include "server/base/worker_pool.h"

#include <algorithm>
#include <atomic>

namespace lossd {

// One ParallelFor call. It outlives the call for as long as a late helper holds
// it; `task` is only touched for an index below `count`, all of which are
// finished before the call returns.
struct WorkerPool::Loop {
  Loop(int64_t n, absl::FunctionRef<void(int64_t)> t) : count(n), task(t) {}

  // Works until no index is left.
  void Work() {
    int64_t done = 0;
    for (;;) {
      const int64_t i = next.fetch_add(1, std::memory_order_relaxed);
      if (i >= count) break;
      task(i);
      ++done;
    }
    if (done == 0) return;
    absl::MutexLock lock(&mutex);
    finished += done;
  }

  void Wait() {
    absl::MutexLock lock(&mutex);
    mutex.Await(absl::Condition(
        +[](Loop* loop) ABSL_EXCLUSIVE_LOCKS_REQUIRED(loop->mutex) {
          return loop->finished == loop->count;
        },
        this));
  }

  const int64_t count;
  const absl::FunctionRef<void(int64_t)> task;
  std::atomic<int64_t> next{0};
  absl::Mutex mutex;
  int64_t finished ABSL_GUARDED_BY(mutex) = 0;
};

WorkerPool::WorkerPool(int threads) {
  for (int i = 1; i < threads; ++i) {
    helpers_.emplace_back([this] { HelperMain(); });
  }
}

WorkerPool::~WorkerPool() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  for (std::thread& helper : helpers_) helper.join();
}

void WorkerPool::ParallelFor(int64_t count,
                             absl::FunctionRef<void(int64_t)> task) {
  if (count <= 1 || helpers_.empty()) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  auto loop = std::make_shared<Loop>(count, task);
  {
    absl::MutexLock lock(&mutex_);
    const int64_t wanted =
        std::min<int64_t>(count - 1, static_cast<int64_t>(helpers_.size()));
    for (int64_t i = 0; i < wanted; ++i) loops_.push_back(loop);
  }
  loop->Work();
  loop->Wait();
}

void WorkerPool::HelperMain() {
  for (;;) {
    std::shared_ptr<Loop> loop;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(
          +[](WorkerPool* pool) ABSL_EXCLUSIVE_LOCKS_REQUIRED(pool->mutex_) {
            return pool->stopping_ || !pool->loops_.empty();
          },
          this));
      if (stopping_) return;
      loop = std::move(loops_.front());
      loops_.pop_front();
    }
    loop->Work();
  }
}

}  // namespace lossd
