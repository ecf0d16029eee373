// SPDX-License-Identifier: Apache-2.0

#include "server/base/buffer_pool.h"

#include <cstdint>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace lossd {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

bool IsAligned(const AlignedBuffer& buffer) {
  return reinterpret_cast<uintptr_t>(buffer.data()) % 64 == 0;
}

TEST(BufferPoolTest, EverySizeIsAlignedAndWritableToItsLastByte) {
  BufferPool pool(64 * kMiB);
  for (const int64_t about :
       {int64_t{64}, BufferPool::kPooledBytes, int64_t{9000},
        BufferPool::kMappedBytes, kMiB, 2 * kMiB, 5 * kMiB}) {
    for (const int64_t bytes : {about - 1, about, about + 1}) {
      AlignedBuffer buffer = pool.Allocate(bytes);
      ASSERT_NE(buffer.data(), nullptr) << bytes;
      EXPECT_TRUE(IsAligned(buffer)) << bytes;
      EXPECT_EQ(buffer.size(), bytes);
      std::memset(buffer.data(), 1, static_cast<size_t>(bytes));
      EXPECT_EQ(buffer.data()[bytes - 1], 1);
    }
  }
}

TEST(BufferPoolTest, NoBytesAreNoMemory) {
  BufferPool pool(kMiB);
  EXPECT_EQ(pool.Allocate(0).data(), nullptr);
}

TEST(BufferPoolTest, ABufferIsUsedAgainForASizeOfItsStep) {
  BufferPool pool(64 * kMiB);
  const uint8_t* first = pool.Allocate(kMiB).data();
  // An eighth of an octave apart at most.
  EXPECT_EQ(pool.Allocate(kMiB - 1000).data(), first);
  EXPECT_NE(pool.Allocate(2 * kMiB).data(), first);
  EXPECT_EQ(pool.GetStats().made, 2);
}

TEST(BufferPoolTest, RoundsUpByAnEighthAtMost) {
  for (int64_t bytes = BufferPool::kPooledBytes; bytes < 9 * kMiB;
       bytes += bytes / 7 + 1) {
    BufferPool pool(64 * kMiB);
    const AlignedBuffer buffer = pool.Allocate(bytes);
    const int64_t used = pool.GetStats().used_bytes;
    EXPECT_GE(used, bytes);
    EXPECT_LE(used, bytes + bytes / 8 + 1) << bytes;
  }
}

TEST(BufferPoolTest, SmallBuffersAreNotCounted) {
  BufferPool pool(kMiB);
  const AlignedBuffer small = pool.Allocate(BufferPool::kPooledBytes - 1);
  EXPECT_EQ(pool.GetStats().used_bytes, 0);
  EXPECT_EQ(pool.GetStats().made, 0);
}

TEST(BufferPoolTest, KeepsNoMoreThanItMay) {
  BufferPool pool(3 * kMiB);
  {
    std::vector<AlignedBuffer> buffers;
    for (int i = 0; i < 5; ++i) buffers.push_back(pool.Allocate(kMiB));
    EXPECT_EQ(pool.GetStats().used_bytes, 5 * kMiB);
    EXPECT_EQ(pool.GetStats().idle_bytes, 0);
  }
  EXPECT_EQ(pool.GetStats().used_bytes, 0);
  EXPECT_EQ(pool.GetStats().idle_bytes, 3 * kMiB);
}

TEST(BufferPoolTest, TrimLetsGoOfWhatWasIdleSinceTheLastOne) {
  BufferPool pool(64 * kMiB);
  {
    const AlignedBuffer a = pool.Allocate(kMiB);
    const AlignedBuffer b = pool.Allocate(kMiB);
    const AlignedBuffer c = pool.Allocate(kMiB);
  }
  pool.Trim();
  EXPECT_EQ(pool.GetStats().idle_bytes, 3 * kMiB) << "they were in use";
  {
    const AlignedBuffer a = pool.Allocate(kMiB);
    const AlignedBuffer b = pool.Allocate(kMiB);
  }
  pool.Trim();
  EXPECT_EQ(pool.GetStats().idle_bytes, 2 * kMiB) << "one was idle";
  pool.Trim();
  EXPECT_EQ(pool.GetStats().idle_bytes, 0) << "all were";
}

TEST(BufferPoolTest, ABufferOutlivesItsPool) {
  std::optional<BufferPool> pool(std::in_place, kMiB);
  AlignedBuffer buffer = pool->Allocate(kMiB);
  pool.reset();
  std::memset(buffer.data(), 1, kMiB);
}

TEST(BufferPoolTest, AMovedBufferIsGivenBackOnce) {
  BufferPool pool(64 * kMiB);
  {
    AlignedBuffer first = pool.Allocate(kMiB);
    AlignedBuffer second = std::move(first);
    first = std::move(second);
  }
  EXPECT_EQ(pool.GetStats().idle_bytes, kMiB);
}

TEST(BufferPoolTest, ThreadsNeverShareABuffer) {
  BufferPool pool(8 * kMiB);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < 500; ++i) {
        const int64_t bytes = 4096 + (i % 7) * 1000;
        AlignedBuffer buffer = pool.Allocate(bytes);
        std::memset(buffer.data(), t, static_cast<size_t>(bytes));
        if (i % 50 == 0) pool.Trim();
        for (int64_t k = 0; k < bytes; k += 97) {
          ASSERT_EQ(buffer.data()[k], t);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool.GetStats().used_bytes, 0);
}

#if !defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__)
TEST(BufferPoolTest, WhatComesBackIsOverwritten) {
  BufferPool pool(kMiB);
  {
    AlignedBuffer buffer = pool.Allocate(8192);
    std::memset(buffer.data(), 1, 8192);
  }
  const AlignedBuffer again = pool.Allocate(8192);
  for (int64_t i = 0; i < again.size(); ++i) ASSERT_EQ(again.data()[i], 0xa5);
}
#endif

}  // namespace
}  // namespace lossd
