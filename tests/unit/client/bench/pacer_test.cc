// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench/pacer.h"

#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "client/cli/bench/histogram.h"

namespace lossd::cli {
namespace {

constexpr int64_t kMs = 1'000'000;

// The intended starts of all that may start at `now_ns`.
std::vector<int64_t> StartAll(Pacer& pacer, int64_t now_ns) {
  std::vector<int64_t> starts;
  while (const auto start = pacer.Start(now_ns)) starts.push_back(*start);
  return starts;
}

TEST(Pacer, StartsEachCallWhenItIsDueAndNotBefore) {
  Pacer pacer(1000, /*first_ns=*/5 * kMs, /*end_ns=*/8 * kMs, /*max_open=*/9);
  EXPECT_EQ(pacer.next_ns(), 5 * kMs);
  EXPECT_EQ(StartAll(pacer, 5 * kMs - 1), std::vector<int64_t>{});
  EXPECT_EQ(StartAll(pacer, 5 * kMs), std::vector<int64_t>{5 * kMs});
  EXPECT_EQ(pacer.next_ns(), 6 * kMs);
  EXPECT_EQ(StartAll(pacer, 6 * kMs), std::vector<int64_t>{6 * kMs});
  EXPECT_EQ(StartAll(pacer, 7 * kMs), std::vector<int64_t>{7 * kMs});
  EXPECT_EQ(pacer.next_ns(), Pacer::kNever) << "8 ms is the end";
  EXPECT_EQ(StartAll(pacer, 100 * kMs), std::vector<int64_t>{});
}

TEST(Pacer, AfterAPauseStartsAllThatIsDueWithItsIntendedStart) {
  Pacer pacer(1000, 0, 10 * kMs, 100);
  EXPECT_EQ(StartAll(pacer, 0).size(), 1u);
  EXPECT_EQ(StartAll(pacer, 4 * kMs),
            (std::vector<int64_t>{1 * kMs, 2 * kMs, 3 * kMs, 4 * kMs}));
}

TEST(Pacer, HoldsBackWhatIsOverMaxOpenAndKeepsItsIntendedStart) {
  Pacer pacer(1000, 0, 10 * kMs, /*max_open=*/2);
  EXPECT_EQ(StartAll(pacer, 3 * kMs), (std::vector<int64_t>{0, 1 * kMs}));
  EXPECT_TRUE(pacer.full());
  pacer.End();
  EXPECT_EQ(StartAll(pacer, 5 * kMs), std::vector<int64_t>{2 * kMs});
  EXPECT_EQ(pacer.open(), 2);
}

TEST(Pacer, CountsWhatIsLeft) {
  for (const double rate : {0.5, 3.0, 1000.0, 76'543.2}) {
    Pacer pacer(rate, 0, 3'000 * kMs, 1 << 30);
    const int64_t left = pacer.left();
    EXPECT_EQ(StartAll(pacer, 3'000 * kMs).size(), static_cast<size_t>(left));
    EXPECT_EQ(pacer.left(), 0);
    EXPECT_NEAR(static_cast<double>(left), 3 * rate, 1);
  }
}

TEST(Pacer, DoesNotDrift) {
  // A period of 333,333.3 ns: rounded anew for each call it would be 0.1 s off
  // at the end.
  Pacer pacer(3000, 0, int64_t{3'600'000} * kMs, 1);
  int64_t last = 0;
  int64_t calls = 0;
  while (const auto start = pacer.Start(Pacer::kNever)) {
    last = *start;
    ++calls;
    pacer.End();
  }
  EXPECT_EQ(calls, 3600 * 3000);
  EXPECT_EQ(last, int64_t{3'600'000} * kMs - 333'333);
}

// A server with a fake clock that takes 0.1 ms for each call, one at a time,
// and answers nothing in [stall_ns, stall_ns + 500 ms).
LatencyHistogram LatenciesOf(int max_open, int64_t stall_ns) {
  constexpr int64_t kService = kMs / 10;
  Pacer pacer(1000, 0, 10'000 * kMs, max_open);
  LatencyHistogram latencies;
  std::deque<int64_t> waiting;  // intended starts
  int64_t free_at = 0;
  for (int64_t now = 0; pacer.next_ns() != Pacer::kNever || !waiting.empty();
       now += kService / 2) {
    const bool stalled = now >= stall_ns && now < stall_ns + 500 * kMs;
    if (!waiting.empty() && now >= free_at && !stalled) {
      latencies.Record(now + kService - waiting.front());
      waiting.pop_front();
      free_at = now + kService;
      pacer.End();
    }
    for (const int64_t start : StartAll(pacer, now)) waiting.push_back(start);
  }
  return latencies;
}

TEST(Pacer, AStallShowsInTheP99HoweverFewCallsItHoldsUp) {
  constexpr int64_t kNoStall = int64_t{1} << 60;
  EXPECT_LT(LatenciesOf(1, kNoStall).QuantileNs(0.99), kMs / 2);
  // Of 10 s at 1000/s, 500 calls should have started in the stall. With one
  // call open at a time the server sees one of them wait.
  for (const int max_open : {1, 4096}) {
    const LatencyHistogram latencies = LatenciesOf(max_open, 5'000 * kMs);
    EXPECT_EQ(latencies.count(), 10'000);
    EXPECT_LT(latencies.QuantileNs(0.5), kMs / 2);
    EXPECT_GT(latencies.QuantileNs(0.99), 350 * kMs) << max_open;
    EXPECT_GT(latencies.max_ns(), 499 * kMs);
  }
}

}  // namespace
}  // namespace lossd::cli
