// SPDX-License-Identifier: Apache-2.0
//
// What does not run, why, and what the observer hears.

#include <atomic>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/batching/batcher.h"
#include "tests/unit/batching/batching_test_support.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class RecordingObserver final : public BatchObserver {
 public:
  void OnBatch(int requests, int64_t units) override {
    absl::MutexLock lock(&mutex_);
    batches_.emplace_back(requests, units);
  }
  void OnQueued(absl::Duration queued) override {
    absl::MutexLock lock(&mutex_);
    queued_.push_back(queued);
  }
  void OnDropped(DropReason reason, DropStage stage) override {
    absl::MutexLock lock(&mutex_);
    dropped_.emplace_back(reason, stage);
  }

  std::vector<std::pair<int, int64_t>> batches() const {
    absl::MutexLock lock(&mutex_);
    return batches_;
  }
  std::vector<absl::Duration> queued() const {
    absl::MutexLock lock(&mutex_);
    return queued_;
  }
  std::vector<std::pair<DropReason, DropStage>> dropped() const {
    absl::MutexLock lock(&mutex_);
    return dropped_;
  }

 private:
  mutable absl::Mutex mutex_;
  std::vector<std::pair<int, int64_t>> batches_ ABSL_GUARDED_BY(mutex_);
  std::vector<absl::Duration> queued_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::pair<DropReason, DropStage>> dropped_
      ABSL_GUARDED_BY(mutex_);
};

void ExpectDropped(const Journal::Outcome& outcome, DropReason reason,
                   DropStage stage, absl::StatusCode code) {
  EXPECT_EQ(outcome.runs, 0);
  ASSERT_EQ(outcome.drops, 1);
  EXPECT_EQ(outcome.drop->reason, reason);
  EXPECT_EQ(outcome.drop->stage, stage);
  EXPECT_EQ(outcome.drop->status.code(), code) << outcome.drop->status;
}

TEST(BatcherDropTest, EachBoundOfTheQueueRefusesTheItemThatPassesIt) {
  struct Case {
    const char* bound;
    int64_t bytes;
    double operations;
    int requests;
  };
  for (const Case& each :
       {Case{"bytes", 19, 1e9, 100}, Case{"operations", 1000, 19, 100},
        Case{"requests", 1000, 1e9, 1}}) {
    BatcherOptions options = SmallOptions();
    options.max_queue_bytes = each.bytes;
    options.max_queue_operations = each.operations;
    options.max_queue_requests = each.requests;
    BatcherHarness harness(options);
    Gate gate;
    harness.Occupy(0, &gate);
    harness.Submit({.id = 1, .cost = {.bytes = 10, .operations = 10}});
    harness.Submit({.id = 2, .cost = {.bytes = 10, .operations = 10}});
    ExpectDropped(harness.journal().of(2), DropReason::kQueueFull,
                  DropStage::kSubmit, absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(harness.journal().of(2).drop->status.message()),
                HasSubstr(each.bound));
    gate.Open();
    harness.batcher().Drain();
    EXPECT_EQ(harness.journal().of(1).runs, 1);
  }
}

TEST(BatcherDropTest, WhatRunsTakesNoRoomInTheQueue) {
  BatcherOptions options = SmallOptions();
  options.max_queue_requests = 1;
  BatcherHarness harness(options);
  Gate gate;
  harness.Occupy(0, &gate);
  harness.Submit({.id = 1});
  gate.Open();
  harness.batcher().Drain();
  EXPECT_EQ(harness.journal().of(1).runs, 1);
}

TEST(BatcherDropTest, AnItemLargerThanTheQueueRunsWhenNothingIsQueued) {
  BatcherOptions options = SmallOptions();
  options.max_queue_bytes = 10;
  BatcherHarness harness(options);
  Gate gate;
  harness.Occupy(0, &gate);
  harness.Submit({.id = 1, .cost = {.bytes = 1 << 30}});
  gate.Open();
  harness.batcher().Drain();
  EXPECT_EQ(harness.journal().of(1).runs, 1);
}

TEST(BatcherDropTest, TheRetryDelayIsTheTimeInWhichTheQueueEmpties) {
  struct Case {
    double queued;
    absl::Duration delay;
  };
  for (const Case& each :
       {Case{1, Batcher::kMinRetryDelay}, Case{250, absl::Milliseconds(250)},
        Case{5000, Batcher::kMaxRetryDelay}}) {
    BatcherOptions options = SmallOptions();
    options.max_queue_requests = 1;
    BatcherHarness harness(options);
    Gate gate;
    harness.MeasureRate(1000, absl::Seconds(1), &gate);
    harness.Submit({.id = 1, .cost = {.operations = each.queued}});
    harness.Submit({.id = 2});
    EXPECT_EQ(harness.journal().of(2).drop->retry_after, each.delay);
    gate.Open();
  }
}

TEST(BatcherDropTest, TheRetryDelayIsLongestBeforeARateIsMeasured) {
  BatcherOptions options = SmallOptions();
  options.max_queue_requests = 1;
  BatcherHarness harness(options);
  Gate gate;
  harness.Occupy(0, &gate);
  harness.Submit({.id = 1});
  harness.Submit({.id = 2});
  EXPECT_EQ(harness.journal().of(2).drop->retry_after, Batcher::kMaxRetryDelay);
  gate.Open();
}

TEST(BatcherDropTest, ADeadlineWithinTheEstimatedWaitIsRefused) {
  BatcherHarness harness(SmallOptions());
  Gate gate;
  harness.MeasureRate(1000, absl::Seconds(1), &gate);
  harness.Submit({.id = 1, .cost = {.operations = 500}});
  const absl::Time reachable = harness.clock().Now() + absl::Milliseconds(500);
  harness.Submit({.id = 2, .deadline = reachable - absl::Milliseconds(1)});
  harness.Submit({.id = 3, .cost = {}, .deadline = reachable});
  ExpectDropped(harness.journal().of(2), DropReason::kDeadlineUnreachable,
                DropStage::kSubmit, absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(harness.journal().of(2).drop->retry_after, absl::Milliseconds(500));
  EXPECT_THAT(std::string(harness.journal().of(2).drop->status.message()),
              HasSubstr("about 500ms and the deadline is in 499ms"));
  gate.Open();
  harness.batcher().Drain();
  EXPECT_EQ(harness.journal().of(3).runs, 1);
}

TEST(BatcherDropTest, ADeadlineIsReachableWhileNothingIsQueuedOrMeasured) {
  const auto soon = [](BatcherHarness& harness) {
    return harness.clock().Now() + absl::Nanoseconds(1);
  };
  BatcherHarness measured(SmallOptions());
  Gate gate;
  measured.MeasureRate(1, absl::Hours(1), &gate);
  measured.Submit({.id = 1, .deadline = soon(measured)});
  EXPECT_EQ(measured.batcher().GetStats().queued_requests, 1);
  gate.Open();

  BatcherHarness unmeasured(SmallOptions());
  Gate other;
  unmeasured.Occupy(0, &other);
  unmeasured.Submit({.id = 1, .cost = {.operations = 1e9}});
  unmeasured.Submit({.id = 2, .deadline = soon(unmeasured)});
  EXPECT_EQ(unmeasured.batcher().GetStats().queued_requests, 2);
  other.Open();
}

TEST(BatcherDropTest, LowPriorityWorkDoesNotMakeANormalDeadlineUnreachable) {
  BatcherHarness harness(SmallOptions());
  Gate gate;
  harness.MeasureRate(1000, absl::Seconds(1), &gate);
  const absl::Time soon = harness.clock().Now() + absl::Milliseconds(1);
  harness.Submit(
      {.id = 1, .cost = {.operations = 500}, .priority = BatchPriority::kLow});
  harness.Submit({.id = 2, .deadline = soon});
  harness.Submit({.id = 3, .priority = BatchPriority::kLow, .deadline = soon});
  EXPECT_EQ(harness.journal().of(2).drops, 0);
  EXPECT_EQ(harness.journal().of(3).drop->reason,
            DropReason::kDeadlineUnreachable);
  gate.Open();
}

TEST(BatcherDropTest, AnExpiredOrCancelledItemIsNotQueued) {
  BatcherHarness harness(SmallOptions());
  const std::atomic<bool> cancelled = true;
  harness.Submit({.id = 1, .deadline = harness.clock().Now()});
  harness.Submit({.id = 2, .cancelled = &cancelled});
  harness.Submit(
      {.id = 3, .deadline = harness.clock().Now(), .cancelled = &cancelled});
  ExpectDropped(harness.journal().of(1), DropReason::kDeadlineExceeded,
                DropStage::kSubmit, absl::StatusCode::kDeadlineExceeded);
  ExpectDropped(harness.journal().of(2), DropReason::kCancelled,
                DropStage::kSubmit, absl::StatusCode::kCancelled);
  ExpectDropped(harness.journal().of(3), DropReason::kCancelled,
                DropStage::kSubmit, absl::StatusCode::kCancelled);
  EXPECT_EQ(harness.journal().of(1).drop->retry_after, absl::ZeroDuration());
}

TEST(BatcherDropTest, TheDeadlineIsTheFirstInstantTooLate) {
  BatcherOptions options = SmallOptions();
  options.inline_operations = 1;
  BatcherHarness harness(options);
  harness.Submit(
      {.id = 1, .deadline = harness.clock().Now() + absl::Nanoseconds(1)});
  EXPECT_EQ(harness.journal().of(1).runs, 1);
}

TEST(BatcherDropTest, ItemsThatExpireOrAreCancelledInTheQueueDoNotRun) {
  RecordingObserver observer;
  BatcherHarness harness(SmallOptions(), &observer);
  Gate gate;
  harness.Occupy(0, &gate);
  std::atomic<bool> cancelled = false;
  const absl::Time soon = harness.clock().Now() + absl::Milliseconds(1);
  harness.Submit({.id = 1, .deadline = soon});
  harness.Submit({.id = 2, .cost = {.units = 4}});
  harness.Submit({.id = 3, .cancelled = &cancelled});
  harness.clock().Advance(absl::Milliseconds(1));
  cancelled = true;
  gate.Open();
  harness.batcher().Drain();
  ExpectDropped(harness.journal().of(1), DropReason::kDeadlineExceeded,
                DropStage::kForm, absl::StatusCode::kDeadlineExceeded);
  ExpectDropped(harness.journal().of(3), DropReason::kCancelled,
                DropStage::kForm, absl::StatusCode::kCancelled);
  EXPECT_EQ(harness.journal().of(2).placement.batch_requests, 1);
  EXPECT_THAT(observer.dropped(),
              ElementsAre(Pair(DropReason::kDeadlineExceeded, DropStage::kForm),
                          Pair(DropReason::kCancelled, DropStage::kForm)));
  EXPECT_THAT(observer.batches(), ElementsAre(Pair(1, 0), Pair(1, 4)));
}

TEST(BatcherDropTest, ABatchIsCheckedAgainJustBeforeItRuns) {
  RecordingObserver observer;
  BatcherHarness harness(SmallOptions(), &observer);
  Gate gate;
  harness.Occupy(0, &gate);
  const absl::Time soon = harness.clock().Now() + absl::Milliseconds(2);
  std::atomic<bool> first_cancelled = false;
  std::atomic<bool> third_cancelled = false;
  // The completion of the first, dropped as the batch is formed, takes time in
  // which the second expires and the third is cancelled.
  harness.Submit({.id = 1, .cancelled = &first_cancelled, .on_drop = [&] {
                    harness.clock().Advance(absl::Milliseconds(2));
                    third_cancelled = true;
                  }});
  harness.Submit({.id = 2, .deadline = soon});
  harness.Submit({.id = 3, .cancelled = &third_cancelled});
  harness.Submit({.id = 4, .cost = {.units = 4}});
  first_cancelled = true;
  gate.Open();
  harness.batcher().Drain();
  ExpectDropped(harness.journal().of(2), DropReason::kDeadlineExceeded,
                DropStage::kRun, absl::StatusCode::kDeadlineExceeded);
  ExpectDropped(harness.journal().of(3), DropReason::kCancelled,
                DropStage::kRun, absl::StatusCode::kCancelled);
  const BatchPlacement placement = harness.journal().of(4).placement;
  EXPECT_EQ(placement.queued, absl::Milliseconds(2));
  EXPECT_EQ(placement.batch_requests, 1);
  EXPECT_EQ(placement.batch_units, 4);
  EXPECT_THAT(observer.batches(), ElementsAre(Pair(1, 0), Pair(1, 4)));
}

TEST(BatcherDropTest, NothingRunsWhenAllOfABatchIsUnwanted) {
  RecordingObserver observer;
  BatcherHarness harness(SmallOptions(), &observer);
  Gate gate;
  harness.Occupy(0, &gate);
  const absl::Time soon = harness.clock().Now() + absl::Milliseconds(1);
  for (int id : {1, 2}) harness.Submit({.id = id, .deadline = soon});
  harness.clock().Advance(absl::Milliseconds(1));
  gate.Open();
  harness.batcher().Drain();
  EXPECT_THAT(harness.journal().batches(), ElementsAre(ElementsAre(0)));
  EXPECT_THAT(observer.batches(), ElementsAre(Pair(1, 0)));
}

TEST(BatcherDropTest, TheObserverHearsOfBatchesWaitsAndRefusals) {
  RecordingObserver observer;
  BatcherOptions options = SmallOptions();
  options.inline_operations = 10;
  options.max_queue_requests = 2;
  BatcherHarness harness(options, &observer);
  harness.Submit({.id = 1, .cost = {.units = 2}});
  EXPECT_THAT(observer.batches(), ElementsAre(Pair(1, 2)));
  EXPECT_THAT(observer.queued(), ElementsAre(absl::ZeroDuration()));
  EXPECT_THAT(observer.dropped(), IsEmpty());

  Gate gate;
  harness.Occupy(0, &gate);
  harness.Submit({.id = 2, .cost = {.units = 3}});
  harness.clock().Advance(absl::Seconds(1));
  harness.Submit({.id = 3, .cost = {.units = 4}});
  harness.Submit({.id = 4});
  EXPECT_THAT(observer.dropped(),
              ElementsAre(Pair(DropReason::kQueueFull, DropStage::kSubmit)));
  gate.Open();
  harness.batcher().Drain();
  EXPECT_THAT(observer.batches(),
              ElementsAre(Pair(1, 2), Pair(1, 0), Pair(2, 7)));
  EXPECT_THAT(observer.queued(),
              ElementsAre(absl::ZeroDuration(), absl::ZeroDuration(),
                          absl::Seconds(1), absl::ZeroDuration()));
}

TEST(BatcherDropTest, TheObserverHearsBeforeTheItemCompletes) {
  RecordingObserver observer;
  BatcherOptions options = SmallOptions();
  options.inline_operations = 10;
  BatcherHarness harness(options, &observer);
  size_t batches = 0;
  size_t dropped = 0;
  harness.Submit({.on_run = [&] { batches = observer.batches().size(); }});
  harness.Submit({.deadline = absl::InfinitePast(),
                  .on_drop = [&] { dropped = observer.dropped().size(); }});
  EXPECT_EQ(batches, 1u);
  EXPECT_EQ(dropped, 1u);
}

}  // namespace
}  // namespace lossd
