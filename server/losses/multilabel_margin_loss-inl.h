// SPDX-License-Identifier: Apache-2.0
//
// The sum over the classes y of the target and the classes i that are not in it
// of max(0, 1 - (x_y - x_i)) / C. The gradient is 1 / C at i and -1 / C at y
// for each pair whose term is greater than 0. As in PyTorch, a term of NaN is
// none. Computed in double. Source: ATen/native/LossMultiLabelMargin.cpp of
// PyTorch 2.15.0.

namespace multilabel_margin_loss {

enum Slot { kInput, kTarget };

template <class V>
struct Math : RowLoss {
  using Lane = typename V::Lane;
  static constexpr Operand kOperands[] = {Operand::kRow, Operand::kClasses};
  static constexpr int kWorkspaceRows = 2;

  static LOSSD_CALL void Evaluate(const Row<V>& row, RowResult* result) {
    // 1 where a class is not in the target, and how often it was too near.
    Lane* other = row.workspace;
    Lane* near = row.workspace + row.stride;
    for (int64_t i = FirstOf<V>(); i < row.length; i += StrideOf<V>()) {
      other[i] = 1;
    }
    for (int64_t k = 0; k < row.class_count; ++k) {
      if (Owns<V>(row.classes[k])) other[row.classes[k]] = 0;
    }
    FillZero<V>(near, row.length);
    V sum = V::Set(0.0);
    for (int64_t k = 0; k < row.class_count; ++k) {
      const int64_t y = row.classes[k];
      // A class of the target has no other pairs: its count is its own.
      const double pairs =
          AddPairs(row, static_cast<double>(row.operand[kInput][y]), &sum);
      if (Owns<V>(y)) near[y] -= static_cast<Lane>(pairs);
    }
    const double share = 1.0 / static_cast<double>(row.length);
    result->loss = share * SumOfLanes(Widen(sum));
    Lane* g = row.gradient[kInput];
    const V factor = V::Set(share * row.scale);
    for (int64_t i = 0; g && i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      StoreUpTo(Canonical(LoadUpTo<V>(near + i, n) * factor), g + i, n);
    }
  }

 private:
  // Adds the terms of a class of score x_y to `sum` and to the counts of the
  // other classes; the number of terms greater than 0.
  static LOSSD_CALL double AddPairs(const Row<V>& row, double x_y, V* sum) {
    const V zero = V::Set(0.0);
    const V one = V::Set(1.0);
    const Lane* x = row.operand[kInput];
    const Lane* other = row.workspace;
    Lane* near = row.workspace + row.stride;
    const V rest = one - V::Set(x_y);
    V count = zero;
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      const V z = rest + LoadUpTo<V>(x + i, n);
      const auto active =
          (z > zero) & (LoadUpTo<V>(other + i, n) > zero) & LiveLanes<V>(n);
      const V hit = Select(active, one, zero);
      *sum = *sum + Select(active, z, zero);
      count = count + hit;
      StoreUpTo(LoadUpTo<V>(near + i, n) + hit, near + i, n);
    }
    return SumOfLanes(Widen(count));
  }
};

}  // namespace multilabel_margin_loss
