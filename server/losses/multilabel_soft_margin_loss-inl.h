// SPDX-License-Identifier: Apache-2.0
//
// The mean over the classes of w_c * ((1 - t_c) * softplus(x_c) + t_c *
// softplus(-x_c)), as binary_cross_entropy_with_logits has it: no term cancels,
// and infinite logits give the limit. The gradients are those of a class,
// divided by C; with respect to w_c it is the class's loss without w_c.
// Computed in double. Source: torch/nn/functional.py of PyTorch 2.15.0.

namespace multilabel_soft_margin_loss {

enum Slot { kInput, kTarget, kWeight };

template <class V>
struct Math : RowLoss {
  using Lane = typename V::Lane;
  static constexpr Operand kOperands[] = {Operand::kRow, Operand::kRow,
                                          Operand::kShared};

  static LOSSD_CALL void Evaluate(const Row<V>& row, RowResult* result) {
    const V zero = V::Set(0.0);
    const V one = V::Set(1.0);
    const double classes = static_cast<double>(row.length);
    const V scale = V::Set(row.scale / classes);
    V sum = zero;
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      const V x = LoadUpTo<V>(row.operand[kInput] + i, n);
      const V t = LoadUpTo<V>(row.operand[kTarget] + i, n);
      const V w =
          row.operand[kWeight] ? LoadUpTo<V>(row.operand[kWeight] + i, n) : one;
      V e;
      const V log1p_e = SoftplusOfMinusAbs(x, &e);
      const V softplus = Max(x, zero) + log1p_e;
      const V softplus_minus = Max(-x, zero) + log1p_e;
      const V loss =
          MulOrZero(one - t, softplus) + MulOrZero(t, softplus_minus);
      sum = sum + Select(LiveLanes<V>(n), w * loss, zero);
      if (Lane* g = row.gradient[kInput]) {
        const V inverse = one / (one + e);
        const V small = e * inverse;
        const auto up = x > zero;
        const V p = Select(up, inverse, Select(x == x, small, x));
        const V q = Select(up, small, Select(x == x, inverse, x));
        Put((w * ((one - t) * p - t * q)) * scale, g + i, n);
      }
      if (Lane* g = row.gradient[kTarget]) Put(-(w * x) * scale, g + i, n);
      if (Lane* g = row.gradient[kWeight]) Put(loss * scale, g + i, n);
    }
    result->loss = SumOfLanes(Widen(sum)) / classes;
  }

 private:
  static LOSSD_FN void Put(const V& gradient, Lane* to, int64_t n) {
    StoreUpTo(Canonical(gradient), to, n);
  }
};

}  // namespace multilabel_soft_margin_loss
