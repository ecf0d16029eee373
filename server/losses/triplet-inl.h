// SPDX-License-Identifier: Apache-2.0
//
// What the triplet losses share: max(0, margin + d(a, p) - d(a, n)) for rows a,
// p, n of anchor, positive and negative; with swap the second distance is the
// smaller of d(a, n) and d(p, n). At the hinge (exactly 0) there is no
// gradient; an infinite distance gives NaN even beyond it. Where the two
// distances of swap are equal, each takes half. Computed in double for every
// dtype. Source: ATen/native/Loss.cpp of PyTorch 2.15.0.

enum TripletSlot { kAnchor, kPositive, kNegative };

// |u|^p for u >= 0, by exp and log.
template <class V>
LOSSD_FN V Power(V u, V p) {
  return Select(u == V::Set(0.0), u, Exp(p * Log(u)));
}

// The elements of x - y + eps.
template <class V>
struct RowDifference {
  using Lane = typename V::Lane;
  const Lane* x;
  const Lane* y;
  int64_t length;
  double eps;

  LOSSD_FN V At(int64_t i) const {
    const int64_t n = length - i;
    if (n >= V::kLanes) {
      return (V::Load(x + i) - V::Load(y + i)) + V::Set(eps);
    }
    const V u = (V::LoadFirst(x + i, n) - V::LoadFirst(y + i, n)) + V::Set(eps);
    return Select(V::FirstN(n), u, V::Set(0.0));
  }
};

template <class V>
LOSSD_CALL double SumOfSquares(const RowDifference<V>& difference) {
  V sum = V::Set(0.0);
  for (int64_t i = 0; i < difference.length; i += V::kLanes) {
    const V u = difference.At(i);
    sum = Fma(u, u, sum);
  }
  return SumOfLanes(Widen(sum));
}

// The norm of degree p of x - y + eps, and its gradient with respect to x as
// PyTorch has it (Distance.cpp, FunctionsManual.cpp), with u = x - y + eps:
// degree 2: u / |u|, 0 where |u| is 0; degree 1: sign(u); infinity: sign(u)
// shared evenly by the largest elements; otherwise sign(u) *
// (|u| / norm)^(p - 1).
template <class V>
struct NormDistance {
  using Lane = typename V::Lane;
  const RowDifference<V> difference;
  const double p;
  double value = 0.0;
  double largest = 0.0;        // with degree infinity
  double largest_count = 0.0;  // likewise

  LOSSD_CALL NormDistance(const Lane* x, const Lane* y, int64_t length,
                          double degree, double eps)
      : difference{x, y, length, eps}, p(degree) {
    if (p == 2.0) {
      value = ScalarSqrt(SumOfSquares(difference));
    } else if (p == 1.0) {
      value = Sum();
    } else if (p == __builtin_inf()) {
      FindLargest();
    } else {
      const double total = SumOfPowers();
      value = total == 0.0 ? 0.0 : ScalarExp(ScalarLog(total) / p);
    }
  }

  LOSSD_CALL double Sum() const {
    V sum = V::Set(0.0);
    for (int64_t i = 0; i < difference.length; i += V::kLanes) {
      sum = sum + Abs(difference.At(i));
    }
    return SumOfLanes(Widen(sum));
  }

  LOSSD_CALL double SumOfPowers() const {
    V sum = V::Set(0.0);
    for (int64_t i = 0; i < difference.length; i += V::kLanes) {
      sum = sum + Power(Abs(difference.At(i)), V::Set(p));
    }
    return SumOfLanes(Widen(sum));
  }

  LOSSD_CALL void FindLargest() {
    V most = V::Set(0.0);
    V nan = V::Set(0.0);
    for (int64_t i = 0; i < difference.length; i += V::kLanes) {
      const V u = Abs(difference.At(i));
      most = Max(u, most);
      nan = nan + Select(u == u, V::Set(0.0), u);
    }
    largest = static_cast<double>(MaxOfLanes(most));
    value = largest + SumOfLanes(Widen(nan));
    V count = V::Set(0.0);
    for (int64_t i = 0; i < difference.length; i += V::kLanes) {
      const auto hit = (Abs(difference.At(i)) == V::Set(largest)) &
                       LiveLanes<V>(difference.length - i);
      count = count + Select(hit, V::Set(1.0), V::Set(0.0));
    }
    largest_count = SumOfLanes(Widen(count));
  }

  // scale * the gradients with respect to x and y.
  LOSSD_FN void Gradient(int64_t i, double scale, V* of_x, V* of_y) const {
    *of_x = Slope(i, scale);
    *of_y = -*of_x;
  }

  LOSSD_FN V Slope(int64_t i, double scale) const {
    const V zero = V::Set(0.0);
    const V u = difference.At(i);
    const V s = V::Set(scale);
    if (p == 2.0) return value == 0.0 ? zero : u / V::Set(value) * s;
    // At NaN the sign is 0, as at 0.
    const V sign = Select(u > zero, s, Select(u < zero, -s, zero));
    if (p == 1.0) return sign;
    if (p == __builtin_inf()) {
      if (value != value) return V::Set(value);
      return Select(Abs(u) == V::Set(largest), sign / V::Set(largest_count),
                    zero);
    }
    if (value == 0.0) return zero;
    return Power(Abs(u) / V::Set(value), V::Set(p - 1.0)) * sign;
  }
};

// Loss and gradients of a row; measure(x, y) is the distance of two of its
// slots: an object with `value` and Gradient().
template <class V, class Measure>
LOSSD_CALL void EvaluateTriplet(const Row<V>& row, double margin, bool swap,
                                Measure measure, RowResult* result) {
  const auto positive = measure(kAnchor, kPositive);
  const auto negative = measure(kAnchor, kNegative);
  const auto swapped = swap ? measure(kPositive, kNegative) : negative;
  double far = negative.value;
  double share = 1.0;  // of `negative` in the gradient of the second distance
  if (swap) {
    if (swapped.value < far) {
      share = 0.0;
      far = swapped.value;
    } else if (swapped.value == far) {
      share = 0.5;
    } else if (swapped.value != swapped.value) {
      far = swapped.value;
    }
  }
  const double value = margin + positive.value - far;
  result->loss = value < 0.0 ? 0.0 : value;
  if (!row.gradient[kAnchor] && !row.gradient[kPositive] &&
      !row.gradient[kNegative]) {
    return;
  }
  const double scale = value > 0.0 ? row.scale : 0.0;
  const auto put = [&](int slot, V gradient, int64_t i) {
    if (!row.gradient[slot]) return;
    StoreUpTo(Canonical(gradient), row.gradient[slot] + i, row.length - i);
  };
  for (int64_t i = 0; i < row.length; i += V::kLanes) {
    const V zero = V::Set(0.0);
    V near_x, near_y;
    V far_x = zero, far_y = zero, other_x = zero, other_y = zero;
    positive.Gradient(i, scale, &near_x, &near_y);
    if (share != 0.0) negative.Gradient(i, scale * share, &far_x, &far_y);
    if (share != 1.0) {
      swapped.Gradient(i, scale * (1.0 - share), &other_x, &other_y);
    }
    put(kAnchor, near_x - far_x, i);
    put(kPositive, near_y - other_x, i);
    put(kNegative, -far_y - other_y, i);
  }
}
