// SPDX-License-Identifier: Apache-2.0
//
// Random traffic from several threads. Whatever the interleaving, the promises
// of the class comment hold.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "server/batching/batcher.h"
#include "tests/unit/base/fake_clock.h"

namespace lossd {
namespace {

constexpr int kSubmitters = 4;
constexpr int kItemsEach = 3000;

// Counts and checks what a batcher does. Thread-safe.
class Witness {
 public:
  explicit Witness(const BatcherOptions& options)
      : options_(options), completions_(kSubmitters * kItemsEach) {}

  void Completed(int id) { ++completions_[id]; }
  void Dropped(const Drop& drop) {
    EXPECT_FALSE(drop.status.ok());
    ++drops_[static_cast<int>(drop.reason)];
  }
  void Destroyed() { ++destroyed_; }
  void RunBegins() {
    const int now = ++running_;
    EXPECT_LE(now, options_.workers);
    ++runs_;
  }
  void RunEnds() { --running_; }

  // Items of one submitter, key and priority must start in order.
  void Started(int submitter, uint64_t key, BatchPriority priority, int id) {
    absl::MutexLock lock(&mutex_);
    int& last = last_.try_emplace({submitter, key, priority}, -1).first->second;
    EXPECT_LT(last, id);
    last = id;
  }

  void ExpectEachCompletedOnce() const {
    for (const std::atomic<int>& each : completions_) EXPECT_EQ(each, 1);
    EXPECT_EQ(destroyed_, kSubmitters * kItemsEach);
    EXPECT_EQ(running_, 0);
  }
  int runs() const { return runs_; }
  int drops(DropReason reason) const {
    return drops_[static_cast<int>(reason)];
  }

 private:
  const BatcherOptions options_;
  std::vector<std::atomic<int>> completions_;
  std::atomic<int> drops_[5] = {};
  std::atomic<int> destroyed_ = 0;
  std::atomic<int> running_ = 0;
  std::atomic<int> runs_ = 0;
  absl::Mutex mutex_;
  std::map<std::tuple<int, uint64_t, BatchPriority>, int> last_
      ABSL_GUARDED_BY(mutex_);
};

struct StressItem final : public BatchItem {
  ~StressItem() override { witness->Destroyed(); }
  Cost cost() const override { return the_cost; }
  uint64_t batch_key() const override { return key; }
  BatchPriority priority() const override { return the_priority; }
  absl::Time deadline() const override { return the_deadline; }
  // Cancelled when asked for the n-th time, and from then on.
  bool cancelled() const override {
    return cancelled_at >= 0 && questions++ >= cancelled_at;
  }
  void OnDropped(const Drop& drop) override {
    witness->Dropped(drop);
    witness->Completed(id);
  }

  Witness* witness;
  int submitter;
  int id;
  Cost the_cost;
  uint64_t key;
  BatchPriority the_priority;
  absl::Time the_deadline;
  int cancelled_at = -1;
  mutable std::atomic<int> questions = 0;
};

class BatcherStressTest : public testing::TestWithParam<int> {
 protected:
  BatcherStressTest()
      : options_{.workers = GetParam(),
                 .inline_operations = 5,
                 .max_batch_bytes = 64,
                 .max_batch_units = 32,
                 .max_batch_requests = 5,
                 .max_queue_bytes = 500,
                 .max_queue_operations = 2000,
                 .max_queue_requests = 40},
        witness_(options_) {}

  void RunBatch(absl::Span<BatchItem* const> batch) {
    witness_.RunBegins();
    CheckBatch(batch);
    clock_.Advance(absl::Microseconds(10));
    for (BatchItem* each : batch) {
      auto* item = static_cast<StressItem*>(each);
      // With several slots, batches may overtake one another on their way from
      // the queue to here.
      if (options_.workers == 1) {
        witness_.Started(item->submitter, item->key, item->the_priority,
                         item->id);
      }
      witness_.Completed(item->id);
    }
    if (batch.size() == 1) std::this_thread::yield();
    witness_.RunEnds();
  }

  void CheckBatch(absl::Span<BatchItem* const> batch) {
    ASSERT_FALSE(batch.empty());
    int64_t bytes = 0;
    int64_t units = 0;
    for (const BatchItem* item : batch) {
      EXPECT_EQ(item->batch_key(), batch[0]->batch_key());
      EXPECT_EQ(item->priority(), batch[0]->priority());
      bytes += item->cost().bytes;
      units += item->cost().units;
    }
    for (const BatchItem* item : batch) {
      EXPECT_EQ(item->placement().batch_requests,
                static_cast<int>(batch.size()));
      EXPECT_EQ(item->placement().batch_units, units);
      EXPECT_GE(item->placement().queued, absl::ZeroDuration());
    }
    if (batch.size() == 1) return;
    EXPECT_LE(static_cast<int>(batch.size()), options_.max_batch_requests);
    EXPECT_LE(bytes, options_.max_batch_bytes);
    EXPECT_LE(units, options_.max_batch_units);
  }

  std::unique_ptr<StressItem> RandomItem(int submitter, int id,
                                         std::mt19937& random) {
    const auto below = [&random](int n) {
      return std::uniform_int_distribution<int>(0, n - 1)(random);
    };
    auto item = std::make_unique<StressItem>();
    item->witness = &witness_;
    item->submitter = submitter;
    item->id = id;
    item->the_cost = {.bytes = below(40),
                      .units = below(20),
                      .operations = static_cast<double>(below(20))};
    if (below(100) == 0) item->the_cost.bytes = 5000;
    item->key = below(3);
    item->the_priority =
        below(4) == 0 ? BatchPriority::kLow : BatchPriority::kNormal;
    item->the_deadline = below(4) == 0
                             ? clock_.Now() + absl::Microseconds(below(200))
                             : absl::InfiniteFuture();
    if (below(8) == 0) item->cancelled_at = below(4);
    return item;
  }

  void SubmitAll(int submitter, uint32_t seed, Batcher& batcher) {
    std::mt19937 random(seed + submitter);
    for (int i = 0; i < kItemsEach; ++i) {
      batcher.Submit(RandomItem(submitter, submitter * kItemsEach + i, random));
      const Batcher::Stats stats = batcher.GetStats();
      EXPECT_LE(stats.running, options_.workers);
      EXPECT_LE(stats.queued_requests, options_.max_queue_requests);
      // Beyond the bound is one item, and it waits alone.
      if (stats.queued_requests > 1) {
        EXPECT_LE(stats.queued_bytes, options_.max_queue_bytes);
        EXPECT_LE(stats.queued_operations, options_.max_queue_operations);
      }
      // Bursts and pauses, so that the batcher is idle now and full then.
      if (random() % 64 == 0) {
        while (batcher.GetStats().queued_requests > 0) {
          std::this_thread::yield();
        }
      }
    }
  }

  const BatcherOptions options_;
  FakeClock clock_;
  Witness witness_;
};

TEST_P(BatcherStressTest, KeepsItsPromises) {
  const uint32_t seed = std::random_device()();
  RecordProperty("seed", static_cast<int>(seed));
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::unique_ptr<Batcher> batcher =
      Batcher::Create(
          options_, &clock_,
          [this](absl::Span<BatchItem* const> batch) { RunBatch(batch); },
          nullptr)
          .value();
  std::vector<std::thread> submitters;
  for (int i = 0; i < kSubmitters; ++i) {
    submitters.emplace_back([&, i] { SubmitAll(i, seed, *batcher); });
  }
  for (std::thread& each : submitters) each.join();
  batcher->Drain();
  witness_.ExpectEachCompletedOnce();
  // The traffic was such that the checks had something to check.
  EXPECT_GT(witness_.runs(), 0);
  EXPECT_GT(witness_.drops(DropReason::kCancelled), 0);
  EXPECT_GT(witness_.drops(DropReason::kDeadlineExceeded), 0);
}

TEST_P(BatcherStressTest, ADrainAmidTheTrafficLosesNothing) {
  const uint32_t seed = std::random_device()();
  RecordProperty("seed", static_cast<int>(seed));
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::unique_ptr<Batcher> batcher =
      Batcher::Create(
          options_, &clock_,
          [this](absl::Span<BatchItem* const> batch) { RunBatch(batch); },
          nullptr)
          .value();
  std::vector<std::thread> submitters;
  for (int i = 0; i < kSubmitters; ++i) {
    submitters.emplace_back([&, i] { SubmitAll(i, seed, *batcher); });
  }
  while (witness_.runs() < 100) std::this_thread::yield();
  batcher->Drain();
  const int runs = witness_.runs();
  for (std::thread& each : submitters) each.join();
  EXPECT_EQ(witness_.runs(), runs);
  witness_.ExpectEachCompletedOnce();
}

INSTANTIATE_TEST_SUITE_P(Slots, BatcherStressTest, testing::Values(1, 2, 4));

}  // namespace
}  // namespace lossd
