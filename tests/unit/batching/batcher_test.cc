// SPDX-License-Identifier: Apache-2.0
//
// Where items run, with whom, and how a batcher ends.

#include "server/batching/batcher.h"

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/batching/batching_test_support.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

BatcherOptions InlineOptions(double inline_operations) {
  BatcherOptions options = SmallOptions();
  options.inline_operations = inline_operations;
  return options;
}

TEST(BatcherTest, AnIdleBatcherRunsASmallItemOnTheSubmittingThread) {
  BatcherHarness harness(InlineOptions(10));
  harness.Submit({.id = 1, .cost = {.units = 3, .operations = 10}});
  const Journal::Outcome outcome = harness.journal().of(1);
  EXPECT_EQ(outcome.runs, 1);  // Before Submit() returned.
  EXPECT_EQ(outcome.thread, std::this_thread::get_id());
  EXPECT_EQ(outcome.placement.queued, absl::ZeroDuration());
  EXPECT_EQ(outcome.placement.batch_requests, 1);
  EXPECT_EQ(outcome.placement.batch_units, 3);
}

TEST(BatcherTest, AnIdleBatcherHandsALargeItemToAWorker) {
  BatcherHarness harness(InlineOptions(10));
  Gate gate;
  harness.Submit(
      {.id = 1, .cost = {.operations = 10.5}, .on_run = gate.Hold()});
  // Submit() returned although the item still runs.
  gate.WaitUntilEntered();
  EXPECT_NE(harness.journal().of(1).thread, std::this_thread::get_id());
  gate.Open();
}

TEST(BatcherTest, ABusyBatcherQueuesEvenASmallItem) {
  BatcherHarness harness(InlineOptions(10));
  Gate gate;
  harness.Occupy(1, &gate);
  harness.Submit({.id = 2});
  EXPECT_EQ(harness.journal().of(2).runs, 0);
  EXPECT_EQ(harness.batcher().GetStats().queued_requests, 1);
  gate.Open();
  harness.batcher().Drain();
  EXPECT_EQ(harness.journal().of(2).runs, 1);
  EXPECT_NE(harness.journal().of(2).thread, std::this_thread::get_id());
}

TEST(BatcherTest, ASecondSlotServesASmallItemInlineWhileTheFirstIsTaken) {
  BatcherOptions options = InlineOptions(10);
  options.workers = 2;
  BatcherHarness harness(options);
  Gate gate;
  harness.Occupy(1, &gate);
  harness.Submit({.id = 2});
  EXPECT_EQ(harness.journal().of(2).thread, std::this_thread::get_id());
  gate.Open();
}

TEST(BatcherTest, AnInlineRunTakesASlot) {
  BatcherHarness harness(InlineOptions(10));
  Gate gate;
  std::thread submitter(
      [&] { harness.Submit({.id = 1, .on_run = gate.Hold()}); });
  gate.WaitUntilEntered();
  EXPECT_EQ(harness.batcher().GetStats().running, 1);
  // Neither inline nor by the idle worker: the only slot is taken.
  harness.Submit({.id = 2});
  EXPECT_EQ(harness.batcher().GetStats().queued_requests, 1);
  EXPECT_EQ(harness.journal().of(2).runs, 0);
  gate.Open();
  submitter.join();
  // The end of the inline run woke a worker.
  harness.batcher().Drain();
  EXPECT_EQ(harness.journal().of(2).runs, 1);
  EXPECT_NE(harness.journal().of(2).thread, std::this_thread::get_id());
}

TEST(BatcherTest, TheSubmittingThreadLeavesWhatWasQueuedMeanwhileToAWorker) {
  BatcherHarness harness(InlineOptions(10));
  absl::Notification done;
  harness.Submit({.id = 1, .on_run = [&] {
                    harness.Submit(
                        {.id = 2, .on_destroy = [&] { done.Notify(); }});
                  }});
  done.WaitForNotification();
  EXPECT_EQ(harness.journal().of(1).thread, std::this_thread::get_id());
  EXPECT_NE(harness.journal().of(2).thread, std::this_thread::get_id());
}

TEST(BatcherTest, AsManyBatchesRunAtOnceAsThereAreWorkers) {
  BatcherOptions options = SmallOptions();
  options.workers = 2;
  BatcherHarness harness(options);
  Gate first, second, third;
  harness.Occupy(1, &first);
  harness.Occupy(2, &second);
  harness.Submit({.id = 3, .on_run = third.Hold()});
  EXPECT_EQ(harness.batcher().GetStats().running, 2);
  EXPECT_EQ(harness.batcher().GetStats().queued_requests, 1);
  first.Open();
  third.WaitUntilEntered();
  second.Open();
  third.Open();
}

TEST(BatcherTest, AFreeWorkerTakesAllThatIsCompatible) {
  BatcherHarness harness(SmallOptions());
  Gate gate;
  harness.Occupy(0, &gate);
  harness.Submit({.id = 1, .cost = {.units = 5}, .key = 7});
  harness.clock().Advance(absl::Milliseconds(3));
  harness.Submit({.id = 2, .cost = {.units = 1}, .key = 8});
  harness.Submit({.id = 3, .cost = {.units = 6}, .key = 7});
  harness.clock().Advance(absl::Milliseconds(1));
  gate.Open();
  harness.batcher().Drain();
  EXPECT_THAT(harness.journal().batches(),
              ElementsAre(ElementsAre(0), ElementsAre(1, 3), ElementsAre(2)));
  const BatchPlacement first = harness.journal().of(1).placement;
  EXPECT_EQ(first.queued, absl::Milliseconds(4));
  EXPECT_EQ(first.batch_requests, 2);
  EXPECT_EQ(first.batch_units, 11);
  const BatchPlacement last = harness.journal().of(3).placement;
  EXPECT_EQ(last.queued, absl::Milliseconds(1));
  EXPECT_EQ(last.batch_requests, 2);
  EXPECT_EQ(last.batch_units, 11);
}

TEST(BatcherTest, TheBoundsOfABatchAreThoseOfTheOptions) {
  struct Case {
    int64_t bytes, units;
    int requests;
    std::vector<std::vector<int>> batches;
  };
  for (const Case& each : std::vector<Case>{
           {1000, 1000, 100, {{0}, {1, 2, 3}}},
           {20, 1000, 100, {{0}, {1, 2}, {3}}},
           {1000, 1, 100, {{0}, {1}, {2}, {3}}},
           {1000, 1000, 2, {{0}, {1, 2}, {3}}},
       }) {
    BatcherOptions options = SmallOptions();
    options.max_batch_bytes = each.bytes;
    options.max_batch_units = each.units;
    options.max_batch_requests = each.requests;
    BatcherHarness harness(options);
    Gate gate;
    harness.Occupy(0, &gate);
    for (int id : {1, 2, 3}) {
      harness.Submit({.id = id, .cost = {.bytes = 10, .units = 1}});
    }
    gate.Open();
    harness.batcher().Drain();
    EXPECT_EQ(harness.journal().batches(), each.batches);
  }
}

TEST(BatcherTest, ALowPriorityBatchGoesAfterTheNormalOnes) {
  BatcherHarness harness(SmallOptions());
  Gate gate;
  harness.Occupy(0, &gate);
  harness.Submit({.id = 1, .priority = BatchPriority::kLow});
  harness.Submit({.id = 2});
  gate.Open();
  harness.batcher().Drain();
  EXPECT_THAT(harness.journal().batches(),
              ElementsAre(ElementsAre(0), ElementsAre(2), ElementsAre(1)));
}

TEST(BatcherTest, ABackwardStepOfTheClockCountsAsNoTimeQueued) {
  BatcherHarness harness(SmallOptions());
  Gate gate;
  harness.Occupy(0, &gate);
  harness.Submit({.id = 1});
  harness.clock().Advance(-absl::Hours(1));
  gate.Open();
  harness.batcher().Drain();
  EXPECT_EQ(harness.journal().of(1).placement.queued, absl::ZeroDuration());
}

TEST(BatcherTest, StatsShowWhatWaitsAndRuns) {
  BatcherHarness harness(SmallOptions());
  Gate gate;
  harness.Occupy(0, &gate);
  harness.Submit({.id = 1, .cost = {.bytes = 10, .operations = 100}});
  harness.Submit({.id = 2, .cost = {.bytes = 20, .operations = 200}});
  Batcher::Stats stats = harness.batcher().GetStats();
  EXPECT_EQ(stats.queued_requests, 2);
  EXPECT_EQ(stats.queued_bytes, 30);
  EXPECT_EQ(stats.queued_operations, 300);
  EXPECT_EQ(stats.running, 1);
  EXPECT_EQ(stats.operations_per_second, 0);
  gate.Open();
  harness.batcher().Drain();
  stats = harness.batcher().GetStats();
  EXPECT_EQ(stats.queued_requests, 0);
  EXPECT_EQ(stats.queued_bytes, 0);
  EXPECT_EQ(stats.queued_operations, 0);
  EXPECT_EQ(stats.running, 0);
}

TEST(BatcherTest, TheRateIsThatOfAllSlotsTogether) {
  BatcherOptions options = SmallOptions();
  options.workers = 4;
  BatcherHarness harness(options);
  harness.Submit({.cost = {.operations = 500}, .on_run = [&] {
                    harness.clock().Advance(absl::Milliseconds(100));
                  }});
  harness.batcher().Drain();
  EXPECT_DOUBLE_EQ(harness.batcher().GetStats().operations_per_second,
                   4 * 5000);
}

TEST(BatcherTest, InlineRunsDoNotCountTowardsTheRate) {
  BatcherHarness harness(InlineOptions(1000));
  harness.Submit({.cost = {.operations = 500}, .on_run = [&] {
                    harness.clock().Advance(absl::Milliseconds(100));
                  }});
  EXPECT_EQ(harness.batcher().GetStats().operations_per_second, 0);
}

TEST(BatcherTest, DrainFinishesWhatIsQueuedAndRefusesWhatComesLater) {
  BatcherHarness harness(SmallOptions());
  Gate gate;
  harness.Occupy(0, &gate);
  harness.Submit({.id = 1, .key = 1});
  harness.Submit({.id = 2, .key = 2, .priority = BatchPriority::kLow});
  absl::Notification drained;
  std::thread drainer([&] {
    harness.batcher().Drain();
    drained.Notify();
  });
  // The drain begins at some time from now on. Expired items find out when,
  // since they are never queued.
  int id = 100;
  do {
    std::this_thread::yield();
    harness.Submit({.id = ++id, .deadline = absl::InfinitePast()});
  } while (harness.journal().of(id).drop->reason != DropReason::kDraining);
  harness.Submit({.id = ++id});
  EXPECT_FALSE(drained.HasBeenNotified());
  const Drop drop = *harness.journal().of(id).drop;
  EXPECT_EQ(drop.reason, DropReason::kDraining);
  EXPECT_EQ(drop.stage, DropStage::kSubmit);
  EXPECT_EQ(drop.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(drop.retry_after, absl::ZeroDuration());
  gate.Open();
  drainer.join();
  EXPECT_EQ(harness.journal().of(1).runs, 1);
  EXPECT_EQ(harness.journal().of(2).runs, 1);
  harness.batcher().Drain();  // Again: returns at once.
}

TEST(BatcherTest, DrainWaitsUntilItemsAreDestroyed) {
  BatcherHarness harness(SmallOptions());
  bool destroyed = false;
  harness.Submit({.on_destroy = [&] { destroyed = true; }});
  harness.batcher().Drain();
  EXPECT_TRUE(destroyed);
}

TEST(BatcherTest, DestructionFinishesWhatIsQueued) {
  BatcherHarness harness(SmallOptions());
  Gate gate;
  harness.Occupy(0, &gate);
  for (int id : {1, 2, 3}) {
    harness.Submit({.id = id, .key = static_cast<uint64_t>(id)});
  }
  gate.Open();
  harness.Destroy();
  for (int id : {0, 1, 2, 3}) EXPECT_EQ(harness.journal().of(id).runs, 1);
}

TEST(BatcherTest, AnUnusedBatcherCanBeDestroyed) {
  BatcherOptions options = SmallOptions();
  options.workers = 3;
  BatcherHarness harness(options);
  harness.Destroy();
  EXPECT_THAT(harness.journal().batches(), IsEmpty());
}

TEST(BatcherTest, CompletionsMaySubmitAndAskForStats) {
  BatcherHarness harness(InlineOptions(10));
  absl::Notification done;
  harness.Submit({.id = 1,
                  .cost = {.operations = 100},
                  .on_run =
                      [&] {
                        harness.Submit(
                            {.id = 2,
                             .deadline = absl::InfinitePast(),
                             .on_drop = [&] { harness.batcher().GetStats(); },
                             .on_destroy = [&] { harness.Submit({.id = 3}); }});
                      },
                  .on_destroy = [&] { done.Notify(); }});
  done.WaitForNotification();
  harness.batcher().Drain();
  EXPECT_EQ(harness.journal().of(2).drops, 1);
  EXPECT_EQ(harness.journal().of(3).runs, 1);
}

}  // namespace
}  // namespace lossd
