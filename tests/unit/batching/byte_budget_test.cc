// SPDX-License-Identifier: Apache-2.0

#include "server/batching/byte_budget.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace lossd {
namespace {

TEST(ByteBudgetTest, GrantsUpToItsBound) {
  ByteBudget budget(100);
  EXPECT_TRUE(budget.TryTake(60));
  EXPECT_FALSE(budget.TryTake(41));
  EXPECT_TRUE(budget.TryTake(40));
  EXPECT_EQ(budget.taken(), 100);
  budget.Return(60);
  EXPECT_TRUE(budget.TryTake(60));
}

TEST(ByteBudgetTest, WhoeverComesAloneIsLetIn) {
  ByteBudget budget(100);
  EXPECT_TRUE(budget.TryTake(1000));
  EXPECT_FALSE(budget.TryTake(1));
  budget.Return(1000);
  EXPECT_TRUE(budget.TryTake(1));
}

TEST(ByteBudgetTest, SizesCannotOverflow) {
  ByteBudget budget(100);
  EXPECT_TRUE(budget.TryTake(1));
  EXPECT_FALSE(budget.TryTake(INT64_MAX));
  EXPECT_EQ(budget.taken(), 1);
}

TEST(ByteGrantTest, IsRaisedAndReturned) {
  ByteBudget budget(100);
  {
    ByteGrant grant(&budget);
    EXPECT_TRUE(grant.RaiseTo(40));
    EXPECT_TRUE(grant.RaiseTo(10));
    EXPECT_EQ(budget.taken(), 40);
    EXPECT_TRUE(grant.RaiseTo(100));
    EXPECT_FALSE(grant.RaiseTo(101));
    EXPECT_EQ(budget.taken(), 100);
  }
  EXPECT_EQ(budget.taken(), 0);
}

TEST(ByteBudgetTest, ThreadsNeverExceedIt) {
  ByteBudget budget(100);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&budget] {
      for (int i = 0; i < 5000; ++i) {
        if (!budget.TryTake(30)) continue;
        EXPECT_LE(budget.taken(), 100);
        budget.Return(30);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(budget.taken(), 0);
}

}  // namespace
}  // namespace lossd
