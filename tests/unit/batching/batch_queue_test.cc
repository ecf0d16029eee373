// SPDX-License-Identifier: Apache-2.0

#include "server/batching/batch_queue.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/batching/batching_test_support.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kNormal = BatchPriority::kNormal;
constexpr auto kLow = BatchPriority::kLow;
const absl::Time kNow = absl::FromUnixSeconds(1000);

void Push(BatchQueue& queue, ItemSpec spec) {
  queue.Push(
      BatchTicket(std::make_unique<TestItem>(std::move(spec), nullptr), kNow));
}

std::vector<int> Ids(const PulledBatch& batch) {
  std::vector<int> ids;
  for (const BatchTicket& ticket : batch.tickets) {
    ids.push_back(static_cast<TestItem*>(ticket.item.get())->spec().id);
  }
  return ids;
}

std::vector<int> UnwantedIds(const PulledBatch& batch) {
  std::vector<int> ids;
  for (const PulledBatch::Unwanted& each : batch.unwanted) {
    ids.push_back(static_cast<TestItem*>(each.ticket.item.get())->spec().id);
  }
  return ids;
}

std::vector<int> PullIds(BatchQueue& queue) { return Ids(queue.Pull(kNow)); }

TEST(BatchQueueTest, AStrangersKeyDoesNotSplitABatchAndKeepsItsPlace) {
  BatchQueue queue(SmallOptions());
  for (int id : {1, 2, 3, 4, 5}) {
    Push(queue, {.id = id, .key = id % 2 == 0 ? 7u : 9u});
  }
  EXPECT_THAT(PullIds(queue), ElementsAre(1, 3, 5));
  EXPECT_THAT(PullIds(queue), ElementsAre(2, 4));
  EXPECT_TRUE(queue.empty());
}

TEST(BatchQueueTest, TheOldestItemDecidesEvenIfItsKeyIsRare) {
  BatchQueue queue([] {
    BatcherOptions options = SmallOptions();
    options.max_batch_requests = 2;
    return options;
  }());
  Push(queue, {.id = 1, .key = 1});
  Push(queue, {.id = 2, .key = 1});
  Push(queue, {.id = 3, .key = 1});
  Push(queue, {.id = 4, .key = 2});
  Push(queue, {.id = 5, .key = 1});
  EXPECT_THAT(PullIds(queue), ElementsAre(1, 2));
  EXPECT_THAT(PullIds(queue), ElementsAre(3, 5));
  Push(queue, {.id = 6, .key = 1});
  EXPECT_THAT(PullIds(queue), ElementsAre(4));
  EXPECT_THAT(PullIds(queue), ElementsAre(6));
}

TEST(BatchQueueTest, ABatchMayReachEachBoundExactlyButNotPassIt) {
  for (int64_t last : {0, 1}) {
    BatcherOptions options = SmallOptions();
    options.max_batch_bytes = 64;
    BatchQueue by_bytes(options);
    Push(by_bytes, {.id = 1, .cost = {.bytes = 63}});
    Push(by_bytes, {.id = 2, .cost = {.bytes = 1 + last}});
    EXPECT_EQ(PullIds(by_bytes).size(), last == 0 ? 2u : 1u);

    options = SmallOptions();
    options.max_batch_units = 64;
    BatchQueue by_units(options);
    Push(by_units, {.id = 1, .cost = {.units = 63}});
    Push(by_units, {.id = 2, .cost = {.units = 1 + last}});
    EXPECT_EQ(PullIds(by_units).size(), last == 0 ? 2u : 1u);
  }
  BatcherOptions options = SmallOptions();
  options.max_batch_requests = 3;
  BatchQueue by_requests(options);
  for (int id : {1, 2, 3, 4}) Push(by_requests, {.id = id});
  EXPECT_THAT(PullIds(by_requests), ElementsAre(1, 2, 3));
}

TEST(BatchQueueTest, EachWorkerTakesItsShareOfWhatWaits) {
  BatchQueue queue([] {
    BatcherOptions options = SmallOptions();
    options.workers = 3;
    return options;
  }());
  for (int id : {1, 2, 3, 4, 5, 6, 7}) Push(queue, {.id = id});
  EXPECT_THAT(PullIds(queue), ElementsAre(1, 2, 3));
  EXPECT_THAT(PullIds(queue), ElementsAre(4, 5));
  EXPECT_THAT(PullIds(queue), ElementsAre(6));
  EXPECT_THAT(PullIds(queue), ElementsAre(7));
}

TEST(BatchQueueTest, ASmallItemDoesNotOvertakeOneThatDoesNotFit) {
  BatchQueue queue(SmallOptions());
  Push(queue, {.id = 1, .cost = {.bytes = 600}});
  Push(queue, {.id = 2, .cost = {.bytes = 600}});
  Push(queue, {.id = 3, .cost = {.bytes = 1}});
  EXPECT_THAT(PullIds(queue), ElementsAre(1));
  EXPECT_THAT(PullIds(queue), ElementsAre(2, 3));
}

TEST(BatchQueueTest, AnItemLargerThanABatchIsABatchOfItsOwn) {
  constexpr int64_t kHuge = int64_t{1} << 60;
  BatchQueue queue(SmallOptions());
  Push(queue, {.id = 1, .cost = {.bytes = kHuge, .units = kHuge}});
  Push(queue, {.id = 2});
  EXPECT_THAT(PullIds(queue), ElementsAre(1));
  EXPECT_THAT(PullIds(queue), ElementsAre(2));
}

TEST(BatchQueueTest, NormalGoesFirstAndNeverSharesABatchWithLow) {
  BatchQueue queue(SmallOptions());
  Push(queue, {.id = 1, .priority = kLow});
  Push(queue, {.id = 2, .priority = kNormal});
  Push(queue, {.id = 3, .priority = kLow});
  EXPECT_THAT(PullIds(queue), ElementsAre(2));
  EXPECT_THAT(PullIds(queue), ElementsAre(1, 3));
}

TEST(BatchQueueTest, EveryNinthBatchIsLowWhileBothWait) {
  BatcherOptions options = SmallOptions();
  options.max_batch_requests = 1;
  BatchQueue queue(options);
  for (int id = 0; id < 18; ++id) Push(queue, {.id = id, .priority = kNormal});
  for (int id = 100; id < 103; ++id) Push(queue, {.id = id, .priority = kLow});
  std::vector<int> order;
  while (!queue.empty()) order.push_back(PullIds(queue).at(0));
  EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 100, 8, 9, 10, 11, 12,
                                 13, 14, 15, 101, 16, 17, 102));
}

TEST(BatchQueueTest, NormalBatchesCountOnlyWhileLowWaits) {
  BatcherOptions options = SmallOptions();
  options.max_batch_requests = 1;
  BatchQueue queue(options);
  for (int id = 0; id < 20; ++id) Push(queue, {.id = id, .priority = kNormal});
  for (int i = 0; i < 8; ++i) PullIds(queue);
  Push(queue, {.id = 100, .priority = kLow});
  for (int id = 8; id < 16; ++id) EXPECT_THAT(PullIds(queue), ElementsAre(id));
  EXPECT_THAT(PullIds(queue), ElementsAre(100));
}

TEST(BatchQueueTest, UnwantedItemsAreSortedOutAndTakeNoRoom) {
  BatcherOptions options = SmallOptions();
  options.max_batch_requests = 2;
  BatchQueue queue(options);
  const std::atomic<bool> cancelled = true;
  Push(queue, {.id = 1, .deadline = kNow});
  Push(queue, {.id = 2});
  Push(queue, {.id = 3, .cancelled = &cancelled});
  Push(queue, {.id = 4, .deadline = kNow + absl::Nanoseconds(1)});
  Push(queue, {.id = 5, .deadline = kNow});
  const PulledBatch batch = queue.Pull(kNow);
  EXPECT_THAT(Ids(batch), ElementsAre(2, 4));
  // The fifth, too, is met before the batch is found to be full.
  EXPECT_THAT(UnwantedIds(batch), ElementsAre(1, 3, 5));
  EXPECT_EQ(batch.unwanted[0].reason, DropReason::kDeadlineExceeded);
  EXPECT_EQ(batch.unwanted[1].reason, DropReason::kCancelled);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.bytes(), 0);
}

TEST(BatchQueueTest, APullOfUnwantedItemsOnlyIsEmpty) {
  BatchQueue queue(SmallOptions());
  Push(queue, {.id = 1, .key = 1, .deadline = kNow});
  Push(queue, {.id = 2, .key = 2});
  PulledBatch batch = queue.Pull(kNow);
  EXPECT_THAT(Ids(batch), IsEmpty());
  EXPECT_THAT(UnwantedIds(batch), ElementsAre(1));
  EXPECT_THAT(PullIds(queue), ElementsAre(2));
}

TEST(BatchQueueTest, SumsFollowWhatIsQueued) {
  BatchQueue queue(SmallOptions());
  Push(queue, {.cost = {.bytes = 10, .operations = 0.1}, .key = 1});
  Push(queue, {.cost = {.bytes = 20, .operations = 0.2}, .key = 2});
  Push(queue, {.cost = {.bytes = 5, .operations = 4}, .priority = kLow});
  EXPECT_EQ(queue.requests(), 3);
  EXPECT_EQ(queue.bytes(), 35);
  EXPECT_DOUBLE_EQ(queue.operations(), 4.3);
  EXPECT_DOUBLE_EQ(queue.OperationsAhead(kNormal), 0.3);
  EXPECT_DOUBLE_EQ(queue.OperationsAhead(kLow), 4.3);
  queue.Pull(kNow);
  queue.Pull(kNow);
  EXPECT_EQ(queue.OperationsAhead(kNormal), 0);  // Exactly, without a residue.
  queue.Pull(kNow);
  EXPECT_EQ(queue.bytes(), 0);
  EXPECT_EQ(queue.operations(), 0);
}

TEST(BatchQueueTest, ImpossibleCostsCannotSpoilTheSums) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  BatchQueue queue(SmallOptions());
  Push(queue, {.cost = {.bytes = -1, .units = -1, .operations = -1}});
  Push(queue, {.cost = {.operations = std::nan("")}});
  EXPECT_EQ(queue.bytes(), 0);
  EXPECT_EQ(queue.operations(), 0);
  Push(queue, {.cost = {.operations = kInfinity}, .key = 1});
  Push(queue, {.cost = {.operations = kInfinity}, .key = 2});
  queue.Pull(kNow);
  queue.Pull(kNow);
  EXPECT_GT(queue.operations(), 1e200);
  queue.Pull(kNow);
  EXPECT_EQ(queue.operations(), 0);
}

TEST(BatchQueueTest, EachBoundMayBeReachedButNotPassed) {
  BatcherOptions options = SmallOptions();
  options.max_queue_bytes = 100;
  options.max_queue_operations = 1000;
  options.max_queue_requests = 2;
  BatchQueue queue(options);
  Push(queue, {.cost = {.bytes = 60, .operations = 600}});
  EXPECT_TRUE(queue.CheckRoom({.bytes = 40, .operations = 400}, kNormal).ok());
  const absl::Status bytes = queue.CheckRoom({.bytes = 41}, kNormal);
  EXPECT_EQ(bytes.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(bytes.message()),
              HasSubstr("60 bytes wait, this request adds 41, and the bound "
                        "is 100"));
  EXPECT_THAT(
      std::string(queue.CheckRoom({.operations = 400.5}, kNormal).message()),
      HasSubstr("600 operations wait"));
  Push(queue, {.cost = {}});
  EXPECT_THAT(std::string(queue.CheckRoom({}, kNormal).message()),
              HasSubstr("2 requests wait"));
}

TEST(BatchQueueTest, AnythingIsAcceptedWhenNothingIsQueued) {
  BatcherOptions options = SmallOptions();
  options.max_queue_bytes = 1;
  options.max_queue_operations = 1;
  options.max_queue_requests = 1;
  BatchQueue queue(options);
  const BatchItem::Cost huge = {.bytes = std::numeric_limits<int64_t>::max(),
                                .operations = 1e18};
  EXPECT_TRUE(queue.CheckRoom(huge, kNormal).ok());
  EXPECT_TRUE(queue.CheckRoom(huge, kLow).ok());
  Push(queue, {.cost = huge});
  EXPECT_FALSE(queue.CheckRoom({}, kNormal).ok());
  EXPECT_FALSE(queue.CheckRoom(huge, kNormal).ok());
}

TEST(BatchQueueTest, LowPriorityHasHalfOfEachBound) {
  BatcherOptions options = SmallOptions();
  options.max_queue_bytes = 100;
  options.max_queue_operations = 1000;
  options.max_queue_requests = 4;
  BatchQueue queue(options);
  Push(queue, {.cost = {.bytes = 20, .operations = 200}, .priority = kLow});
  EXPECT_TRUE(queue.CheckRoom({.bytes = 30, .operations = 300}, kLow).ok());
  EXPECT_FALSE(queue.CheckRoom({.bytes = 31}, kLow).ok());
  EXPECT_FALSE(queue.CheckRoom({.operations = 301}, kLow).ok());
  EXPECT_TRUE(queue.CheckRoom({.bytes = 80, .operations = 800}, kNormal).ok());
  Push(queue, {.cost = {}, .priority = kLow});
  EXPECT_FALSE(queue.CheckRoom({}, kLow).ok());
  EXPECT_TRUE(queue.CheckRoom({}, kNormal).ok());
}

// The policy said again, without regard to cost: one list per priority.
class ModelQueue {
 public:
  explicit ModelQueue(const BatcherOptions& options) : options_(options) {}

  void Push(const ItemSpec& spec) {
    levels_[spec.priority == kLow ? 1 : 0].push_back(spec);
  }

  std::vector<int> Pull() {
    std::vector<ItemSpec>& level = levels_[NextLevel()];
    const uint64_t key = level.front().key;
    std::vector<int> ids;
    int64_t bytes = 0;
    int64_t units = 0;
    bool open = true;
    std::vector<ItemSpec> rest;
    for (const ItemSpec& spec : level) {
      if (spec.key == key && open) {
        bytes += spec.cost.bytes;
        units += spec.cost.units;
        open = ids.empty() ||
               (bytes <= options_.max_batch_bytes &&
                units <= options_.max_batch_units &&
                ids.size() + 1 <=
                    static_cast<size_t>(options_.max_batch_requests));
        if (open) {
          ids.push_back(spec.id);
          continue;
        }
      }
      rest.push_back(spec);
    }
    level = std::move(rest);
    return ids;
  }

 private:
  int NextLevel() {
    const bool low_waits = !levels_[1].empty();
    const bool normal_waits = !levels_[0].empty();
    if (normal_waits && !(low_waits && streak_ == 8)) {
      streak_ = low_waits ? streak_ + 1 : 0;
      return 0;
    }
    streak_ = 0;
    return 1;
  }

  const BatcherOptions options_;
  std::array<std::vector<ItemSpec>, 2> levels_;
  int streak_ = 0;
};

TEST(BatchQueueTest, AgreesWithAModelOnRandomTraffic) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&random](int n) {
    return std::uniform_int_distribution<int>(0, n - 1)(random);
  };
  BatcherOptions options = SmallOptions();
  options.max_batch_bytes = 100;
  options.max_batch_units = 50;
  options.max_batch_requests = 6;
  BatchQueue queue(options);
  ModelQueue model(options);
  for (int id = 0; id < 20000; ++id) {
    const ItemSpec spec = {.id = id,
                           .cost = {.bytes = below(45), .units = below(23)},
                           .key = static_cast<uint64_t>(below(4)),
                           .priority = below(3) == 0 ? kLow : kNormal};
    Push(queue, spec);
    model.Push(spec);
    while (!queue.empty() && below(3) == 0) {
      ASSERT_EQ(PullIds(queue), model.Pull());
    }
  }
  while (!queue.empty()) ASSERT_EQ(PullIds(queue), model.Pull());
}

}  // namespace
}  // namespace lossd
