// SPDX-License-Identifier: Apache-2.0

#include "benchmarks/memory_bandwidth.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace lossd {
namespace {

constexpr int64_t kPart = int64_t{256} << 10;
constexpr int64_t kWords = kPart / 8;

// Eight sums, so that no addition waits for the one before it.
uint64_t SumOf(const uint8_t* part) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i < kWords; i += 8) {
    uint64_t words[8];
    std::memcpy(words, part + i * 8, sizeof(words));
    for (int k = 0; k < 8; ++k) sums[k] += words[k];
  }
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

void Stream(const uint8_t* from, uint8_t* to) {
#if defined(__SSE2__)
  const auto* in = reinterpret_cast<const __m128i*>(from);
  auto* out = reinterpret_cast<__m128i*>(to);
  for (int64_t i = 0; i < kPart / 16; i += 4) {
    const __m128i a = _mm_load_si128(in + i);
    const __m128i b = _mm_load_si128(in + i + 1);
    const __m128i c = _mm_load_si128(in + i + 2);
    const __m128i d = _mm_load_si128(in + i + 3);
    _mm_stream_si128(out + i, a);
    _mm_stream_si128(out + i + 1, b);
    _mm_stream_si128(out + i + 2, c);
    _mm_stream_si128(out + i + 3, d);
  }
  _mm_sfence();
#else
  std::memcpy(to, from, kPart);
#endif
}

}  // namespace

MemoryBandwidth::MemoryBandwidth(int64_t bytes, int threads)
    : from_(bytes), to_(bytes), pool_(threads) {
  std::memset(from_.data(), 1, static_cast<size_t>(bytes));
  std::memset(to_.data(), 1, static_cast<size_t>(bytes));
}

void MemoryBandwidth::Read() {
  std::atomic<uint64_t> total{0};
  pool_.ParallelFor(bytes() / kPart, [&](int64_t part) {
    total += SumOf(from_.data() + part * kPart);
  });
  // Every byte is 1: the sum is used, so that it is computed.
  if (total == 0) std::abort();
}

void MemoryBandwidth::ReadAndWrite() {
  pool_.ParallelFor(bytes() / kPart, [&](int64_t part) {
    Stream(from_.data() + part * kPart, to_.data() + part * kPart);
  });
}

}  // namespace lossd
