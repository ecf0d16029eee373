// SPDX-License-Identifier: Apache-2.0
//
// The negative log-likelihood under softmax(x). With m = max(x), a its first
// place and d = sum of exp(x_j - m) over j != a:
//
//   -log p_c = log1p(d) + (m - x_c)
//   p_c      = exp(x_c - m) / (1 + d)
//   1 - p_c  = (d if c = a else 1 + d - exp(x_c - m)) / (1 + d)
//
// so that neither the loss nor the target's gradient cancels however confident
// the row. d is exact in its first term and gathered block by block in one
// pass, in lanes of V, and across blocks in double.
//
// Class indices without smoothing: w_y * -log p_y, in lanes of the dtype.
// Otherwise the target is a mass a_c = w_c * q'_c on each class, and the loss
// is sum of a_c * -log p_c, in double lanes; a class of no mass adds nothing
// even where its logit is -infinity.
//
// A row that holds NaN or +infinity, or only -infinity, gives NaN. An ignored
// row gives exact zeros, whatever it holds. Source: ATen/native/LossNLL.cpp of
// PyTorch 2.15.0; the reformulation is lossd's.

namespace cross_entropy {

enum Slot { kInput, kTarget, kWeight };
enum Parameter { kIgnoreIndex, kLabelSmoothing };

// max and d of the elements seen so far; before the first, -infinity and -1.
// Whether one of them is NaN or infinite.
struct Softmax {
  double max = -__builtin_inf();
  double others = -1.0;
  bool broken = false;
};

// exp(x - m) for x <= m. The rounding of the difference is added back to first
// order; Max turns the NaN it is for infinite x into nothing.
template <class V>
LOSSD_FN V ExpDifference(V x, V m) {
  const V s = x - m;
  const V y = s - x;
  const V lost = (x - (s - y)) - (m + y);
  const V e = Exp(s);
  return Fma(e, Max(lost, V::Set(-1.0)), e);
}

template <class V>
struct BlockSum {
  V max, sum, ties;

  // Gives back exp(x - max).
  LOSSD_FN V Add(V x, typename V::Mask live) {
    const V zero = V::Set(0.0);
    const V e = ExpDifference(x, max);
    const auto tie = (x == max) & live;
    sum = sum + Select(live & Not(x == max), e, zero);
    ties = ties + Select(tie, V::Set(1.0), zero);
    return e;
  }
};

// The Softmax of one block of at most kLeaf elements, and, unless `e` is null,
// their exp(x - max), where max is that of the block.
template <class V>
inline Softmax ReduceBlock(const typename V::Lane* x, int64_t n,
                           typename V::Lane* e) {
  const V zero = V::Set(0.0);
  V max = V::Set(-__builtin_inf());
  V flag = zero;  // 0 * x is NaN where x is NaN or infinite
  int64_t i = 0;
  for (; i + V::kLanes <= n; i += V::kLanes) {
    const V logit = V::Load(x + i);
    max = Max(logit, max);
    flag = Fma(logit, zero, flag);
  }
  if (i < n) {
    const V logit = V::LoadFirst(x + i, n - i);
    max = Max(logit, max);
    flag = Fma(logit, zero, flag);
  }
  const double block_max = static_cast<double>(MaxOfLanes(max));

  BlockSum<V> block;
  const bool bottom = block_max == -__builtin_inf();
  block.max = V::Set(bottom ? 0.0 : block_max);
  block.sum = block.ties = V::Set(0.0);
  const auto all = V::FirstN(V::kLanes);
  for (i = 0; i + V::kLanes <= n; i += V::kLanes) {
    const V value = block.Add(V::Load(x + i), all);
    if (e) value.Store(e + i);
  }
  if (i < n) {
    const V value = block.Add(V::LoadFirst(x + i, n - i), V::FirstN(n - i));
    if (e) value.StoreFirst(e + i, n - i);
  }

  Softmax result;
  result.broken = MaxOfLanes(Select(flag == zero, zero, V::Set(1.0))) > 0;
  result.max = block_max;
  const double sum = SumOfLanes(Widen(block.sum));
  result.others = sum + (SumOfLanes(Widen(block.ties)) - 1.0);
  if (block_max == __builtin_inf()) result.others = __builtin_nan("");
  if (bottom) result.others = sum - 1.0;  // -1, or NaN if the block has NaN
  return result;
}

inline Softmax Merge(const Softmax& a, const Softmax& b) {
  const Softmax& high = a.max >= b.max ? a : b;
  const Softmax& low = a.max >= b.max ? b : a;
  const double shift =
      low.max == high.max ? 1.0 : ScalarExp(low.max - high.max);
  return {high.max, high.others + (low.others + 1.0) * shift,
          a.broken || b.broken};
}

// The Softmax of a row, and, unless `e` is null, each element's exponential
// within its block and each block's maximum.
template <class V>
inline Softmax Reduce(const typename V::Lane* x, int64_t n, typename V::Lane* e,
                      typename V::Lane* maxima) {
  using Lane = typename V::Lane;
  Softmax total;
  for (int64_t begin = 0; begin < n; begin += kLeaf) {
    const int64_t size = n - begin < kLeaf ? n - begin : kLeaf;
    const Softmax block =
        ReduceBlock<V>(x + begin, size, e ? e + begin : nullptr);
    if (e) maxima[begin / kLeaf] = static_cast<Lane>(block.max);
    total = Merge(total, block);
  }
  // Only -infinity, or nothing at all: there is no distribution.
  if (total.others < 0.0) total.others = __builtin_nan("");
  return total;
}

// 1 + d - exp(x - m) without cancellation for the maximum itself.
inline double Others(const Softmax& softmax, double x) {
  if (x == softmax.max) return softmax.others;
  return 1.0 + softmax.others - ScalarExp(x - softmax.max);
}

template <class V>
struct Math : RowLoss {
  using Lane = typename V::Lane;
  static constexpr bool kHasIgnoreIndex = true;
  static constexpr Operand kOperands[] = {Operand::kRow, Operand::kRowOrClass,
                                          Operand::kShared};
  static constexpr bool kFloatLanes = true;
  static constexpr bool kInspectsInput = true;
  static constexpr int kWorkspaceRows = 1;

  static void Evaluate(const Row<V>& row, RowResult* result) {
    const Lane* x = row.operand[kInput];
    const bool index = row.operand[kTarget] == nullptr &&
                       row.parameters[kLabelSmoothing] == 0.0;
    const Softmax softmax = Reduce<V>(
        x, row.length, index ? row.gradient[kInput] : nullptr, row.workspace);
    result->broken = softmax.broken;
    const double log1p_d = ScalarLog1p(softmax.others);
    if (index) {
      const double y = static_cast<double>(x[row.label]);
      const double w = WeightOf(row, row.label);
      result->loss = w * (log1p_d + (softmax.max - y));
      if (row.gradient[kInput])
        IndexGradient(row, softmax, w * row.scale, result);
    } else if constexpr (sizeof(Lane) == 8) {
      Dense(row, softmax, log1p_d, result);
    }
    Activations(row, softmax, log1p_d, result);
  }

 private:
  static double WeightOf(const Row<V>& row, int64_t c) {
    return row.operand[kWeight] ? static_cast<double>(row.operand[kWeight][c])
                                : 1.0;
  }

  // Scales the exponentials that Reduce left, block by block.
  static void IndexGradient(const Row<V>& row, const Softmax& softmax,
                            double scale, RowResult* result) {
    Lane* g = row.gradient[kInput];
    const V zero = V::Set(0.0);
    V zeros = zero;
    for (int64_t begin = 0; begin < row.length; begin += kLeaf) {
      const int64_t end =
          row.length - begin < kLeaf ? row.length : begin + kLeaf;
      const double max = static_cast<double>(row.workspace[begin / kLeaf]);
      const double shift =
          max == softmax.max ? 1.0 : ScalarExp(max - softmax.max);
      const V factor = V::Set(scale * shift / (1.0 + softmax.others));
      for (int64_t i = begin; i < end; i += V::kLanes) {
        const V value = LoadUpTo<V>(g + i, end - i) * factor;
        const auto none = (value == zero) & LiveLanes<V>(end - i);
        zeros = zeros + Select(none, V::Set(1.0), zero);
        StoreUpTo(Canonical(value), g + i, end - i);
      }
    }
    const double others =
        Others(softmax, static_cast<double>(row.operand[kInput][row.label]));
    const double exact = -(others * scale / (1.0 + softmax.others));
    if (SumOfLanes(Widen(zeros)) > 0 && scale != 0) {
      result->underflow += LostElements(row);
    }
    g[row.label] = CanonicalLane(static_cast<Lane>(exact));
    result->underflow += g[row.label] == 0 && exact != 0;
  }

  // Gradients beside the label's that are 0 for a logit above -infinity.
  static int64_t LostElements(const Row<V>& row) {
    int64_t lost = 0;
    for (int64_t i = 0; i < row.length; ++i) {
      const bool above =
          static_cast<double>(row.operand[kInput][i]) > -__builtin_inf();
      lost += i != row.label && row.gradient[kInput][i] == 0 && above;
    }
    return lost;
  }

  // The mass on the classes from i on without weights: (1 - e) * q_c + e / C.
  static LOSSD_FN V Share(const Row<V>& row, int64_t i, int64_t n) {
    const double smoothing = row.parameters[kLabelSmoothing];
    const V spread = V::Set(smoothing / static_cast<double>(row.length));
    V mass = spread;
    if (row.operand[kTarget]) {
      const V q = LoadUpTo<V>(row.operand[kTarget] + i, n);
      mass = smoothing == 0.0 ? q : Fma(q, V::Set(1.0 - smoothing), spread);
    } else if (row.label >= i && row.label < i + V::kLanes) {
      const auto from = LaneIndexAtLeast<V>(row.label - i);
      const auto after = LaneIndexAtLeast<V>(row.label - i + 1);
      mass =
          Select(from & Not(after), V::Set((1.0 - smoothing)) + spread, spread);
    }
    return mass;
  }

  // And with them.
  static LOSSD_FN V Mass(const Row<V>& row, int64_t i, int64_t n) {
    const V share = Share(row, i, n);
    return row.operand[kWeight]
               ? share * LoadUpTo<V>(row.operand[kWeight] + i, n)
               : share;
  }

  static void Dense(const Row<V>& row, const Softmax& softmax, double log1p_d,
                    RowResult* result) {
    const Lane* x = row.operand[kInput];
    const V zero = V::Set(0.0);
    const V max = V::Set(softmax.max);
    V far = zero;   // sum of a_c * (m - x_c)
    V mass = zero;  // sum of a_c
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      const auto live = LiveLanes<V>(n);
      const V a = Mass(row, i, n);
      far = far + Select(live, MulOrZero(a, max - LoadUpTo<V>(x + i, n)), zero);
      mass = mass + Select(live, a, zero);
    }
    const double total = SumOfLanes(Widen(mass));
    result->loss = SumOfLanes(Widen(far)) + total * log1p_d;
    if (row.gradient[kInput]) InputGradient(row, softmax, total, result);
    if (row.gradient[kTarget]) TargetGradient(row, softmax, log1p_d);
    if (row.gradient[kWeight]) WeightGradient(row, softmax, log1p_d);
  }

  // p_c * (A - a_c) - (1 - p_c) * a_c, with A the sum of a.
  static void InputGradient(const Row<V>& row, const Softmax& softmax,
                            double total, RowResult* result) {
    const Lane* x = row.operand[kInput];
    const V zero = V::Set(0.0);
    const V max = V::Set(softmax.max);
    const V inverse = V::Set(1.0 / (1.0 + softmax.others));
    const V beside_max = V::Set(softmax.others / (1.0 + softmax.others));
    const V scale = V::Set(row.scale);
    V lost = zero;
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      const V logit = LoadUpTo<V>(x + i, n);
      const V a = Mass(row, i, n);
      const V p = ExpDifference(logit, max) * inverse;
      const V q = Select(logit == max, beside_max, V::Set(1.0) - p);
      const V unscaled = p * (V::Set(total) - a) - q * a;
      const V value = unscaled * scale;
      const auto underflow = (value == zero) & Not(unscaled == zero) &
                             Not(scale == zero) & LiveLanes<V>(n);
      lost = lost + Select(underflow, V::Set(1.0), zero);
      StoreUpTo(Canonical(value), row.gradient[kInput] + i, n);
    }
    result->underflow += static_cast<int64_t>(SumOfLanes(Widen(lost)));
  }

  // (1 - e) * w_c * -log p_c.
  static void TargetGradient(const Row<V>& row, const Softmax& softmax,
                             double log1p_d) {
    const Lane* x = row.operand[kInput];
    const V max = V::Set(softmax.max);
    const V scale = V::Set(row.scale * (1.0 - row.parameters[kLabelSmoothing]));
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      V value = (max - LoadUpTo<V>(x + i, n)) + V::Set(log1p_d);
      if (row.operand[kWeight]) {
        value = MulOrZero(LoadUpTo<V>(row.operand[kWeight] + i, n), value);
      }
      StoreUpTo(Canonical(value * scale), row.gradient[kTarget] + i, n);
    }
  }

  // ((1 - e) * q_c + e / C) * -log p_c.
  static void WeightGradient(const Row<V>& row, const Softmax& softmax,
                             double log1p_d) {
    const V max = V::Set(softmax.max);
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      const V loss =
          (max - LoadUpTo<V>(row.operand[kInput] + i, n)) + V::Set(log1p_d);
      const V value = MulOrZero(Share(row, i, n), loss) * V::Set(row.scale);
      StoreUpTo(Canonical(value), row.gradient[kWeight] + i, n);
    }
  }

  static void Activations(const Row<V>& row, const Softmax& softmax,
                          double log1p_d, RowResult* result) {
    const Lane* x = row.operand[kInput];
    const V max = V::Set(softmax.max);
    const V inverse = V::Set(1.0 / (1.0 + softmax.others));
    for (int64_t i = 0; row.probability && i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      const V p = ExpDifference(LoadUpTo<V>(x + i, n), max) * inverse;
      StoreUpTo(Canonical(p), row.probability + i, n);
    }
    for (int64_t i = 0; row.log_probability && i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      const V p = (LoadUpTo<V>(x + i, n) - max) - V::Set(log1p_d);
      StoreUpTo(Canonical(p), row.log_probability + i, n);
    }
    if (row.wants_predicted) result->predicted = FirstMaximum<V>(x, row.length);
  }
};

}  // namespace cross_entropy
