// SPDX-License-Identifier: Apache-2.0
//
// The order of every sum, which is part of the contract (numerics_version):
//
//   The values v[0], v[1], ... are cut into leaves of 1024. In a leaf, lane k
//   of 16 sums, in order, the values whose index is k modulo 16; the lanes are
//   then added as a tree, k with k + 8, + 4, + 2, + 1. Leaves are added in
//   order with Neumaier's compensation.
//
// All in double. The order is a function of the index alone: neither threads,
// batches nor chunks show in the bits of a sum.

#ifndef LOSSD_SERVER_BASE_ORDERED_SUM_H_
#define LOSSD_SERVER_BASE_ORDERED_SUM_H_

#include <cmath>
#include <cstdint>

namespace lossd {

// Elements of a leaf.
inline constexpr int64_t kLeaf = 1024;
// Lanes of a leaf.
inline constexpr int kSumLanes = 16;

// The lanes as a tree.
inline double AddLanes(const double* lanes) {
  double sums[kSumLanes];
  for (int i = 0; i < kSumLanes; ++i) sums[i] = lanes[i];
  for (int step = kSumLanes / 2; step > 0; step /= 2) {
    for (int i = 0; i < step; ++i) sums[i] += sums[i + step];
  }
  return sums[0];
}

// Leaves, or anything else that is added in order.
class CompensatedSum {
 public:
  void Add(double value) {
    const double total = sum_ + value;
    // Where the total is not finite the compensation would be NaN.
    if (std::isfinite(total)) {
      lost_ += std::abs(sum_) >= std::abs(value) ? (sum_ - total) + value
                                                 : (value - total) + sum_;
    }
    sum_ = total;
  }
  double Total() const { return std::isfinite(sum_) ? sum_ + lost_ : sum_; }

 private:
  double sum_ = 0;
  double lost_ = 0;
};

// A sum of single values in the order of the contract.
class OrderedSum {
 public:
  void Add(double value) {
    lanes_[count_ % kSumLanes] += value;
    if (++count_ == kLeaf) Close();
  }
  double Total() {
    if (count_ > 0) Close();
    return leaves_.Total();
  }

 private:
  void Close() {
    leaves_.Add(AddLanes(lanes_));
    for (double& lane : lanes_) lane = 0;
    count_ = 0;
  }

  double lanes_[kSumLanes] = {};
  int64_t count_ = 0;
  CompensatedSum leaves_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BASE_ORDERED_SUM_H_
