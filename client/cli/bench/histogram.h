// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_BENCH_HISTOGRAM_H_
#define LOSSD_CLIENT_CLI_BENCH_HISTOGRAM_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lossd::cli {

// How often which latency was seen, in nanoseconds: a high dynamic range (HDR)
// histogram. Below 2^11 ns a bucket is one value; above, each power of two has
// 2^10 buckets, so that a bucket is at most 1/1024 of its values wide.
//
// Recording is a few instructions and never allocates. Not thread-safe: one a
// thread, merged at the end. 270 KB each.
class LatencyHistogram {
 public:
  // The largest value that is told apart, over an hour.
  static constexpr int64_t kLargestNs = (int64_t{1} << 42) - 1;

  LatencyHistogram();

  // A value below 0 counts as 0, one above kLargestNs as kLargestNs.
  void Record(int64_t ns) {
    ns = ns < 0 ? 0 : ns > kLargestNs ? kLargestNs : ns;
    ++buckets_[Bucket(ns)];
    ++count_;
    if (ns > max_ns_) max_ns_ = ns;
  }
  void Merge(const LatencyHistogram& other);

  int64_t count() const { return count_; }
  // Exact.
  int64_t max_ns() const { return max_ns_; }
  // The least bound that at least `share` (0 to 1) of the values do not exceed:
  // the end of its bucket, so at most 1/1024 above the exact quantile, and at
  // most max_ns(). 0 if nothing was recorded.
  int64_t QuantileNs(double share) const;

 private:
  static constexpr int kBits = 10;

  static size_t Bucket(int64_t ns) {
    const int width = std::bit_width(static_cast<uint64_t>(ns));
    const int shift = width > kBits + 1 ? width - (kBits + 1) : 0;
    return (static_cast<size_t>(shift) << kBits) +
           static_cast<size_t>(ns >> shift);
  }
  // The last value of a bucket.
  static int64_t LastOf(size_t bucket);

  std::vector<int64_t> buckets_;
  int64_t count_ = 0;
  int64_t max_ns_ = 0;
};

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_BENCH_HISTOGRAM_H_
