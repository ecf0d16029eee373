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

// How the rounding of x - m is found, for the elements x of a block and their
// maximum m.
enum class Rounding {
  kAny,   // whatever they are
  kTame,  // finite, and far from overflow, or NaN
  kFast,  // besides, no x has a greater exponent than m
};

// exp(x - m) for x <= m. The rounding of the difference is added back to first
// order. Where x is infinite or the difference overflows, the rounding is NaN,
// which Max turns into nothing; elsewhere it is below -1 only where the
// exponential is 0.
template <class V, Rounding rounding = Rounding::kAny>
LOSSD_FN V ExpDifference(V x, V m) {
  const V s = x - m;
  const V e = ExpUpToZero(s);
  if constexpr (rounding == Rounding::kFast) {
    return Fma(e, x - (s + m), e);
  }
  const V y = s - x;
  const V lost = (x - (s - y)) - (m + y);
  if constexpr (rounding == Rounding::kTame) return Fma(e, lost, e);
  return Fma(e, Max(lost, V::Set(-1.0)), e);
}

// The sums of a block, and the exponentials that they are of.
template <class V>
struct BlockSum {
  using Lane = typename V::Lane;
  using Block = typename V::Block;
  double max;
  V sum, ties;

  LOSSD_FN explicit BlockSum(double block_max) : max(block_max) {
    sum = ties = V::Set(0.0);
  }

  // Adds the lanes of e, exp(x - max); or those that are live.
  LOSSD_FN void Add(const V& x, const V& e) {
    const auto tie = x == V::Set(max);
    sum = Select(tie, sum, sum + e);
    ties = Select(tie, ties + V::Set(1.0), ties);
  }
  LOSSD_FN void Add(const V& x, const V& e, typename V::Mask live) {
    const auto tie = x == V::Set(max);
    sum = Select(Not(tie) & live, sum + e, sum);
    ties = Select(tie & live, ties + V::Set(1.0), ties);
  }

  // Reads n elements, and writes exp(x - max) of each to e unless it is null.
  template <Rounding rounding>
  LOSSD_FN void Run(const Lane* x, int64_t n, Lane* e) {
    const Block maximum = Block::Set(max);
    int64_t i = 0;
    for (; i + Block::kLanes <= n; i += Block::kLanes) {
      const Block logit = Block::Load(x + i);
      const Block value = ExpDifference<Block, rounding>(logit, maximum);
      // While this block is computed the next one is on its way.
      Prefetch<Block>(x + i + kLeaf);
      if (e) value.Store(e + i);
      for (int part = 0; part < Block::kLanes / V::kLanes; ++part) {
        Add(logit.Part(part), value.Part(part));
      }
    }
    for (; i < n; i += V::kLanes) {
      const V logit = LoadUpTo<V>(x + i, n - i);
      const V value = ExpDifference(logit, V::Set(max));
      Add(logit, value, LiveLanes<V>(n - i));
      if (e) StoreUpTo(value, e + i, n - i);
    }
  }
};

// The least and the greatest of elements, NaN aside; infinity and -infinity for
// none.
struct Range {
  double low, high;

  LOSSD_FN Rounding rounding() const {
    constexpr double kTame = 0x1p126;
    if (!(low > -kTame && high < kTame)) return Rounding::kAny;
    // Then all bits of m are at or above the last of x - m.
    const bool covered =
        high > 0 && low > -2.0 * LeadingBit(static_cast<float>(high));
    return covered ? Rounding::kFast : Rounding::kTame;
  }

 private:
  static LOSSD_FN double LeadingBit(float x) {
    return static_cast<double>(
        std::bit_cast<float>(std::bit_cast<uint32_t>(x) & 0x7f800000u));
  }
};

template <class V>
LOSSD_CALL Range RangeOf(const typename V::Lane* x, int64_t n) {
  using Block = typename V::Block;
  Block most = Block::Set(-__builtin_inf());
  Block least = Block::Set(__builtin_inf());
  int64_t i = 0;
  for (; i + Block::kLanes <= n; i += Block::kLanes) {
    const Block logit = Block::Load(x + i);
    most = Max(logit, most);
    least = Min(logit, least);
  }
  V high = most.Part(0);
  V low = least.Part(0);
  for (int part = 1; part < Block::kLanes / V::kLanes; ++part) {
    high = Max(most.Part(part), high);
    low = Min(least.Part(part), low);
  }
  for (; i < n; i += V::kLanes) {
    const V logit = LoadUpTo<V>(x + i, n - i);
    high = Max(logit, high);
    low = Min(logit, low);
  }
  return {-static_cast<double>(MaxOfLanes(-low)),
          static_cast<double>(MaxOfLanes(high))};
}

// The Softmax of elements of that range, of which `ties` are the maximum, and
// the others' exp(x - max) add up to `sum`.
LOSSD_FN Softmax SoftmaxOf(const Range& range, double sum, double ties) {
  Softmax result;
  result.max = range.high;
  result.others = sum + (ties - 1.0);
  if (result.max == __builtin_inf()) result.others = __builtin_nan("");
  // Only -infinity gives -1; or NaN if there is NaN besides.
  if (result.max == -__builtin_inf()) result.others = sum - 1.0;
  result.broken = sum != sum || range.low == -__builtin_inf() ||
                  range.high == __builtin_inf();
  return result;
}

// The Softmax of one block of at most kLeaf elements, and, unless `e` is null,
// their exp(x - max), where max is that of the block.
template <class V>
LOSSD_CALL Softmax ReduceBlock(const typename V::Lane* x, int64_t n,
                               typename V::Lane* e) {
  const Range range = RangeOf<V>(x, n);
  const bool bottom = range.high == -__builtin_inf();
  BlockSum<V> block(bottom ? 0.0 : range.high);
  switch (range.rounding()) {
    case Rounding::kAny:
      block.template Run<Rounding::kAny>(x, n, e);
      break;
    case Rounding::kTame:
      block.template Run<Rounding::kTame>(x, n, e);
      break;
    default:
      block.template Run<Rounding::kFast>(x, n, e);
  }
  const double sum = SumOfLanes(Widen(block.sum));
  return SoftmaxOf(range, sum, SumOfLanes(Widen(block.ties)));
}

// The Softmax of a row: only -infinity, or nothing at all, is no distribution.
LOSSD_FN Softmax Distribution(Softmax softmax) {
  if (softmax.others < 0.0) softmax.others = __builtin_nan("");
  return softmax;
}

LOSSD_CALL Softmax Merge(const Softmax& a, const Softmax& b) {
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
LOSSD_CALL Softmax Reduce(const typename V::Lane* x, int64_t n,
                          typename V::Lane* e, typename V::Lane* maxima) {
  using Lane = typename V::Lane;
  Softmax total;
  for (int64_t begin = 0; begin < n; begin += kLeaf) {
    const int64_t size = n - begin < kLeaf ? n - begin : kLeaf;
    const Softmax block =
        ReduceBlock<V>(x + begin, size, e ? e + begin : nullptr);
    if (e && Leads<V>()) maxima[begin / kLeaf] = static_cast<Lane>(block.max);
    total = Merge(total, block);
  }
  return Distribution(total);
}

// 1 + d - exp(x - m) without cancellation for the maximum itself.
LOSSD_CALL double Others(const Softmax& softmax, double x) {
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
  static constexpr int kWorkspaceRows = 2;
  static constexpr bool kStreams = true;

  static LOSSD_CALL void Evaluate(const Row<V>& row, RowResult* result) {
    const Lane* x = row.operand[kInput];
    const bool index = row.operand[kTarget] == nullptr &&
                       row.parameters[kLabelSmoothing] == 0.0;
    // Where the gradient goes past the caches, the exponentials must not.
    Lane* e = index ? row.gradient[kInput] : nullptr;
    if (e && row.streams) e = row.workspace + row.stride;
    const Softmax softmax = Reduce<V>(x, row.length, e, row.workspace);
    result->broken = softmax.broken;
    const double log1p_d = ScalarLog1p(softmax.others);
    if (index) {
      const double y = static_cast<double>(x[row.label]);
      const double w = WeightOf(row, row.label);
      result->loss = w * (log1p_d + (softmax.max - y));
      if (e) IndexGradient(row, e, softmax, w * row.scale, result);
    } else if constexpr (sizeof(Lane) == 8) {
      Dense(row, softmax, log1p_d, result);
    }
    Activations(row, softmax, log1p_d, result);
  }

 private:
  static LOSSD_FN double WeightOf(const Row<V>& row, int64_t c) {
    return row.operand[kWeight] ? static_cast<double>(row.operand[kWeight][c])
                                : 1.0;
  }

  // Scales the exponentials e that Reduce left, block by block.
  static LOSSD_CALL void IndexGradient(const Row<V>& row, const Lane* e,
                                       const Softmax& softmax, double scale,
                                       RowResult* result) {
    Sync<V>();  // for the maxima
    Scaled scaled;
    for (int64_t begin = 0; begin < row.length; begin += kLeaf) {
      const double max = static_cast<double>(row.workspace[begin / kLeaf]);
      const double shift =
          max == softmax.max ? 1.0 : ScalarExp(max - softmax.max);
      const double factor = scale * shift / (1.0 + softmax.others);
      const int64_t n = row.length - begin < kLeaf ? row.length - begin : kLeaf;
      if (row.streams) {
        scaled.template Run<true>(e + begin, n, factor,
                                  row.gradient[kInput] + begin);
      } else {
        scaled.template Run<false>(e + begin, n, factor,
                                   row.gradient[kInput] + begin);
      }
    }
    Lane* g = row.gradient[kInput];
    const double others =
        Others(softmax, static_cast<double>(row.operand[kInput][row.label]));
    const double exact = -(others * scale / (1.0 + softmax.others));
    if (scaled.HasZero() && scale != 0) result->underflow += LostElements(row);
    const Lane stored = static_cast<Lane>(exact);
    if (Owns<V>(row.label)) g[row.label] = stored;
    result->underflow += stored == 0 && exact != 0;
    result->inspected = true;
    result->broken_gradient = scaled.IsBroken() || exact - exact != 0;
  }

  // Products of the exponentials with a factor, and what was noticed of them.
  struct Scaled {
    using Block = typename V::Block;
    Block flag, zeros;  // NaN, and above 0, where there is one

    LOSSD_FN Scaled() { flag = zeros = Block::Set(0.0); }
    LOSSD_FN bool IsBroken() const { return Any(Not(flag == Block::Set(0.0))); }
    LOSSD_FN bool HasZero() const { return Any(Not(zeros == Block::Set(0.0))); }

    LOSSD_FN void Note(const Block& value) {
      flag = Fma(value, Block::Set(0.0), flag);
      zeros = Select(value == Block::Set(0.0), Block::Set(1.0), zeros);
    }
    template <bool streams>
    LOSSD_FN void Run(const Lane* e, int64_t n, double factor, Lane* to) {
      const Block f = Block::Set(factor);
      int64_t i = 0;
      for (; i + Block::kLanes <= n; i += Block::kLanes) {
        const Block value = Block::Load(e + i) * f;
        Note(value);
        if constexpr (streams) {
          value.Stream(to + i);
        } else {
          value.Store(to + i);
        }
      }
      if (i < n) {
        const Block value = Block::LoadFirst(e + i, n - i) * f;
        Note(value);
        value.StoreFirst(to + i, n - i);
      }
    }
  };

  // Gradients beside the label's that are 0 for a logit above -infinity.
  static LOSSD_CALL int64_t LostElements(const Row<V>& row) {
    const Lane* x = row.operand[kInput];
    const Lane* g = row.gradient[kInput];
    const V zero = V::Set(0.0);
    V lost = zero;
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      const auto none = (LoadUpTo<V>(g + i, n) == zero) &
                        (LoadUpTo<V>(x + i, n) > V::Set(-__builtin_inf()));
      const auto beside = LiveLanes<V>(n) & Not(LaneAt<V>(row.label - i));
      lost = lost + Select(none & beside, V::Set(1.0), zero);
    }
    return static_cast<int64_t>(SumOfLanes(Widen(lost)));
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

  static LOSSD_CALL void Dense(const Row<V>& row, const Softmax& softmax,
                               double log1p_d, RowResult* result) {
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
  static LOSSD_CALL void InputGradient(const Row<V>& row,
                                       const Softmax& softmax, double total,
                                       RowResult* result) {
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
  static LOSSD_CALL void TargetGradient(const Row<V>& row,
                                        const Softmax& softmax,
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
  static LOSSD_CALL void WeightGradient(const Row<V>& row,
                                        const Softmax& softmax,
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

  static LOSSD_CALL void Activations(const Row<V>& row, const Softmax& softmax,
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
