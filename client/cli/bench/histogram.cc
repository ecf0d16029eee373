// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench/histogram.h"

#include <algorithm>
#include <cmath>

namespace lossd::cli {

LatencyHistogram::LatencyHistogram() : buckets_(Bucket(kLargestNs) + 1) {}

void LatencyHistogram::Merge(const LatencyHistogram& other) {
  for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  max_ns_ = std::max(max_ns_, other.max_ns_);
}

int64_t LatencyHistogram::LastOf(size_t bucket) {
  constexpr size_t kExact = size_t{2} << kBits;
  const size_t shift = bucket < kExact ? 0 : (bucket >> kBits) - 1;
  const auto mantissa = static_cast<int64_t>(bucket - (shift << kBits));
  return ((mantissa + 1) << shift) - 1;
}

int64_t LatencyHistogram::QuantileNs(double share) const {
  const auto wanted = std::clamp<int64_t>(
      static_cast<int64_t>(std::ceil(share * static_cast<double>(count_))), 1,
      std::max<int64_t>(count_, 1));
  int64_t seen = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= wanted) return std::min(LastOf(i), max_ns_);
  }
  return 0;
}

}  // namespace lossd::cli
