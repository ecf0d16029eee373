// SPDX-License-Identifier: Apache-2.0

#include "server/base/worker_pool.h"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/barrier.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "gtest/gtest.h"

namespace lossd {
namespace {

// How often each index was called.
std::vector<int> CallsOf(WorkerPool* pool, int64_t count) {
  std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
  pool->ParallelFor(count, [&](int64_t i) { ++calls[i]; });
  return {calls.begin(), calls.end()};
}

class WorkerPoolTest : public testing::TestWithParam<int> {};

TEST_P(WorkerPoolTest, CallsEachIndexOnce) {
  WorkerPool pool(GetParam());
  EXPECT_EQ(pool.threads(), GetParam());
  for (const int64_t count : {0, 1, 2, 3, 7, 8, 9, 1000}) {
    EXPECT_EQ(CallsOf(&pool, count), std::vector<int>(count, 1)) << count;
  }
}

TEST_P(WorkerPoolTest, ConcurrentCallersEachGetTheirOwn) {
  WorkerPool pool(GetParam());
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&pool] {
      for (int64_t count = 0; count < 200; ++count) {
        EXPECT_EQ(CallsOf(&pool, count), std::vector<int>(count, 1));
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST_P(WorkerPoolTest, WhatTasksWroteIsSeenAfterTheCall) {
  WorkerPool pool(GetParam());
  for (int round = 0; round < 200; ++round) {
    std::vector<int64_t> values(64);  // not atomic: a race would be a finding
    pool.ParallelFor(64, [&](int64_t i) { values[i] = i + round; });
    for (int64_t i = 0; i < 64; ++i) ASSERT_EQ(values[i], i + round);
  }
}

// A helper that wakes only now finds its loop finished and its caller gone.
TEST_P(WorkerPoolTest, CanBeDestroyedWhileHelpersAreLate) {
  for (int round = 0; round < 300; ++round) {
    auto pool = std::make_unique<WorkerPool>(GetParam());
    std::atomic<int> calls = 0;
    pool->ParallelFor(2, [&](int64_t) { ++calls; });
    pool->ParallelFor(3, [&](int64_t) { ++calls; });
    pool.reset();
    ASSERT_EQ(calls, 5);
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, WorkerPoolTest, testing::Values(1, 2, 3, 8));

TEST(WorkerPoolOfOneTest, RunsOnTheCallerInOrder) {
  WorkerPool pool(1);
  const std::thread::id caller = std::this_thread::get_id();
  std::vector<int64_t> order;
  pool.ParallelFor(5, [&](int64_t i) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    order.push_back(i);
  });
  EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2, 3, 4}));
}

TEST(WorkerPoolOfManyTest, ThreadsWorkAtTheSameTime) {
  WorkerPool pool(3);
  absl::Barrier* const barrier = new absl::Barrier(3);
  // Returns only if three tasks wait in it at once.
  pool.ParallelFor(3, [&](int64_t) {
    if (barrier->Block()) delete barrier;
  });
}

TEST(WorkerPoolOfManyTest, TheCallerWorksEvenIfEveryHelperIsBusy) {
  WorkerPool pool(2);
  absl::Notification helper_is_busy;
  absl::Notification finish;
  std::thread other([&] {
    // Both of this caller's tasks wait: one here, one on the only helper.
    absl::BlockingCounter waiting(2);
    pool.ParallelFor(2, [&](int64_t) {
      if (waiting.DecrementCount()) helper_is_busy.Notify();
      finish.WaitForNotification();
    });
  });
  helper_is_busy.WaitForNotification();
  std::vector<int64_t> order;
  pool.ParallelFor(4, [&](int64_t i) { order.push_back(i); });
  EXPECT_EQ(order, (std::vector<int64_t>{0, 1, 2, 3}));
  finish.Notify();
  other.join();
}

}  // namespace
}  // namespace lossd
