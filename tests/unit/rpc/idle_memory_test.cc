// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/idle_memory.h"

#include "gtest/gtest.h"

namespace lossd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST(IdleMemoryTest, NothingIsTrimmedBeforeThereWasWork) {
  BufferPool pool(kMiB);
  IdleMemory memory(&pool);
  memory.Tick(0);
  memory.Tick(0);
  EXPECT_EQ(memory.trims(), 0);
}

TEST(IdleMemoryTest, TheHeapIsTrimmedOnceWhenWorkHasEnded) {
  BufferPool pool(kMiB);
  IdleMemory memory(&pool);
  memory.Tick(10);
  memory.Tick(20);
  EXPECT_EQ(memory.trims(), 0);
  memory.Tick(20);
  EXPECT_EQ(memory.trims(), 1);
  memory.Tick(20);
  EXPECT_EQ(memory.trims(), 1);
  memory.Tick(21);
  memory.Tick(21);
  EXPECT_EQ(memory.trims(), 2);
}

TEST(IdleMemoryTest, BuffersThatStayIdleLeaveThePoolWhateverElseHappens) {
  BufferPool pool(8 * kMiB);
  IdleMemory memory(&pool);
  pool.Allocate(kMiB);
  memory.Tick(1);
  EXPECT_EQ(pool.GetStats().idle_bytes, kMiB);
  memory.Tick(2);
  EXPECT_EQ(pool.GetStats().idle_bytes, 0);
}

}  // namespace
}  // namespace lossd
