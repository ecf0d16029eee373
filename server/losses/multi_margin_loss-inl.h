// SPDX-License-Identifier: Apache-2.0
//
// The sum over i != y of w_y * max(0, margin - x_y + x_i)^p / C for a row x of
// class y. With h = w_y / C, or 2 * w_y * z / C where p is 2, the gradient is h
// at each i whose term is greater than 0, and minus their sum at y. As in
// PyTorch, a term of NaN is none. Computed in double. Source:
// ATen/native/LossMultiMargin.cpp of PyTorch 2.15.0.

namespace multi_margin_loss {

enum Slot { kInput, kTarget, kWeight };
enum Parameter { kP, kMargin };

template <class V>
struct Math : RowLoss {
  using Lane = typename V::Lane;
  static constexpr Operand kOperands[] = {Operand::kRow, Operand::kClass,
                                          Operand::kShared};

  static LOSSD_CALL void Evaluate(const Row<V>& row, RowResult* result) {
    const Lane* x = row.operand[kInput];
    const V zero = V::Set(0.0);
    const bool square = row.parameters[kP] == 2.0;
    const double w = row.operand[kWeight]
                         ? static_cast<double>(row.operand[kWeight][row.label])
                         : 1.0;
    const double share = w / static_cast<double>(row.length);
    const V margin = V::Set(row.parameters[kMargin]);
    const V own = V::Set(static_cast<double>(x[row.label]));
    const V factor = V::Set(share * row.scale);
    Lane* g = row.gradient[kInput];
    V sum = zero;
    V slopes = zero;
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      const V z = (margin - own) + LoadUpTo<V>(x + i, n);
      const auto active =
          (z > zero) & LiveLanes<V>(n) & Not(LaneAt<V>(row.label - i));
      const V term = Select(active, z, zero);
      sum = sum + (square ? term * term : term);
      if (!g) continue;
      const V slope =
          square ? (term + term) * factor : Select(active, factor, zero);
      slopes = slopes + slope;
      StoreUpTo(Canonical(slope), g + i, n);
    }
    result->loss = share * SumOfLanes(Widen(sum));
    if (g) {
      const double total = -SumOfLanes(Widen(slopes));
      if (Owns<V>(row.label)) {
        g[row.label] = CanonicalLane(static_cast<Lane>(total));
      }
    }
  }
};

}  // namespace multi_margin_loss
