// SPDX-License-Identifier: Apache-2.0
//
// -w[t] * x[t] for a row x of log-probabilities; the gradient is -w[t] at t and
// 0 elsewhere. An ignored row gives exact zeros, whatever it holds. Source:
// ATen/native/LossNLL.cpp of PyTorch 2.15.0.

namespace nll_loss {

enum Slot { kInput, kTarget, kWeight };
enum Parameter { kIgnoreIndex };

template <class V>
struct Math : RowLoss {
  static constexpr bool kHasIgnoreIndex = true;
  static constexpr Operand kOperands[] = {Operand::kRow, Operand::kClass,
                                          Operand::kShared};
  static constexpr bool kUsesLabelOnly = true;

  static LOSSD_FN double EvaluateLabel(double x, double w, double scale,
                                       double* gradient) {
    *gradient = -(w * scale);
    return -(w * x);
  }

  static LOSSD_CALL void Evaluate(const Row<V>& row, RowResult* result) {
    using Lane = typename V::Lane;
    const Lane* x = row.operand[kInput];
    const double w = row.operand[kWeight]
                         ? static_cast<double>(row.operand[kWeight][row.label])
                         : 1.0;
    double gradient;
    result->loss = EvaluateLabel(static_cast<double>(x[row.label]), w,
                                 row.scale, &gradient);
    if (Lane* g = row.gradient[kInput]) {
      FillZero<V>(g, row.length);
      const Lane stored = CanonicalLane(static_cast<Lane>(gradient));
      if (Owns<V>(row.label)) g[row.label] = stored;
      result->underflow += stored == 0 && w != 0 && row.scale != 0;
    }
    if (row.log_probability) Copy<V>(x, row.log_probability, row.length);
    if (row.probability) {
      for (int64_t i = 0; i < row.length; i += V::kLanes) {
        const int64_t n = row.length - i;
        StoreUpTo(Exp(LoadUpTo<V>(x + i, n)), row.probability + i, n);
      }
    }
    if (row.wants_predicted) result->predicted = FirstMaximum<V>(x, row.length);
  }
};

}  // namespace nll_loss
