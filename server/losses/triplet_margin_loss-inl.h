// SPDX-License-Identifier: Apache-2.0
//
// max(0, margin + d(a, p) - d(a, n)) for rows a, p, n, with d(x, y) the norm of
// degree `p` of x - y + eps; with swap the second distance is the smaller of
// d(a, n) and d(p, n). Computed in double for every dtype.
//
// Gradient of a norm, as PyTorch has it: degree 2: u / |u|, 0 where |u| is 0;
// degree 1: sign(u); infinity: sign(u) shared evenly by the largest elements;
// otherwise sign(u) * (|u| / norm)^(p - 1). At the hinge (exactly 0) there is
// none; an infinite distance gives NaN even beyond it. Where the two distances
// of swap are equal, each takes half. Source: ATen/native/Loss.cpp,
// Distance.cpp and FunctionsManual.cpp of PyTorch 2.15.0.

namespace triplet_margin_loss {

enum Slot { kAnchor, kPositive, kNegative };
enum Parameter { kMargin, kP, kEps, kSwap };

// |u|^p for u >= 0, by exp and log.
template <class V>
LOSSD_FN V Power(V u, V p) {
  return Select(u == V::Set(0.0), u, Exp(p * Log(u)));
}

template <class V>
struct Math : RowLoss {
  using Lane = typename V::Lane;
  static constexpr Operand kOperands[] = {Operand::kRow, Operand::kRow,
                                          Operand::kRow};

  struct Distance {
    const Lane* x;
    const Lane* y;
    double norm = 0.0;
    double largest = 0.0;
    double largest_count = 0.0;
  };

  static LOSSD_FN V Difference(const Row<V>& row, const Distance& d,
                               int64_t i) {
    const int64_t n = row.length - i;
    const V u = (LoadUpTo<V>(d.x + i, n) - LoadUpTo<V>(d.y + i, n)) +
                V::Set(row.parameters[kEps]);
    return Select(LiveLanes<V>(n), u, V::Set(0.0));
  }

  static Distance Measure(const Row<V>& row, Slot x, Slot y) {
    Distance d{row.operand[x], row.operand[y]};
    const double p = row.parameters[kP];
    V sum = V::Set(0.0);
    V largest = V::Set(0.0);
    V nan = V::Set(0.0);
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const V u = Abs(Difference(row, d, i));
      largest = Max(u, largest);
      nan = nan + Select(u == u, V::Set(0.0), u);
      if (p == 2.0) sum = Fma(u, u, sum);
      if (p == 1.0) sum = sum + u;
      if (p != 1.0 && p != 2.0 && p < __builtin_inf()) {
        sum = sum + Power(u, V::Set(p));
      }
    }
    d.largest = static_cast<double>(MaxOfLanes(largest));
    const double total = SumOfLanes(Widen(sum));
    d.norm = p == 2.0   ? ScalarSqrt(total)
             : p == 1.0 ? total
             : p == __builtin_inf()
                 ? d.largest + SumOfLanes(Widen(nan))
                 : (total == 0.0 ? 0.0 : ScalarExp(ScalarLog(total) / p));
    if (p == __builtin_inf()) d.largest_count = CountLargest(row, d);
    return d;
  }

  static double CountLargest(const Row<V>& row, const Distance& d) {
    V count = V::Set(0.0);
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const auto hit = (Abs(Difference(row, d, i)) == V::Set(d.largest)) &
                       LiveLanes<V>(row.length - i);
      count = count + Select(hit, V::Set(1.0), V::Set(0.0));
    }
    return SumOfLanes(Widen(count));
  }

  // scale * the gradient of d's norm with respect to its first argument.
  static LOSSD_FN V NormGradient(const Row<V>& row, const Distance& d,
                                 int64_t i, double scale) {
    const V zero = V::Set(0.0);
    const V u = Difference(row, d, i);
    const double p = row.parameters[kP];
    const V s = V::Set(scale);
    const V sign = Select(u > zero, s, Select(u < zero, -s, u * s));
    if (p == 1.0) return sign;
    if (p == 2.0) return d.norm == 0.0 ? zero : u / V::Set(d.norm) * s;
    if (p == __builtin_inf()) {
      return Select(Abs(u) == V::Set(d.largest), sign / V::Set(d.largest_count),
                    zero);
    }
    if (d.norm == 0.0) return zero;
    return Power(Abs(u) / V::Set(d.norm), V::Set(p - 1.0)) * sign;
  }

  static void Evaluate(const Row<V>& row, RowResult* result) {
    const Distance positive = Measure(row, kAnchor, kPositive);
    const Distance negative = Measure(row, kAnchor, kNegative);
    Distance swapped = negative;
    double far = negative.norm;
    double share = 1.0;  // of `negative` in the gradient of the second distance
    if (row.parameters[kSwap] != 0.0) {
      swapped = Measure(row, kPositive, kNegative);
      if (swapped.norm < far) {
        share = 0.0;
        far = swapped.norm;
      } else if (swapped.norm == far) {
        share = 0.5;
      } else if (swapped.norm != swapped.norm) {
        far = swapped.norm;
      }
    }
    const double value = row.parameters[kMargin] + positive.norm - far;
    result->loss = value < 0.0 ? 0.0 : value;
    const double scale = value <= 0.0 ? 0.0 : row.scale;
    Gradients(row, positive, negative, swapped, share, scale);
  }

  static void Gradients(const Row<V>& row, const Distance& positive,
                        const Distance& negative, const Distance& swapped,
                        double share, double scale) {
    if (!row.gradient[kAnchor] && !row.gradient[kPositive] &&
        !row.gradient[kNegative]) {
      return;
    }
    const V zero = V::Set(0.0);
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      const V to_positive = NormGradient(row, positive, i, scale);
      const V to_negative =
          share == 0.0 ? zero : NormGradient(row, negative, i, scale * share);
      const V to_swapped =
          share == 1.0 ? zero
                       : NormGradient(row, swapped, i, scale * (1.0 - share));
      if (Lane* g = row.gradient[kAnchor]) {
        StoreUpTo(Canonical(to_positive - to_negative), g + i, n);
      }
      if (Lane* g = row.gradient[kPositive]) {
        StoreUpTo(Canonical(-to_positive - to_swapped), g + i, n);
      }
      if (Lane* g = row.gradient[kNegative]) {
        StoreUpTo(Canonical(to_negative + to_swapped), g + i, n);
      }
    }
  }
};

}  // namespace triplet_margin_loss
