// SPDX-License-Identifier: Apache-2.0
//
// The triplet loss of triplet-inl.h with d(x, y) the norm of degree `p` of x -
// y + eps.

namespace triplet_margin_loss {

enum Parameter { kMargin, kP, kEps, kSwap };

template <class V>
struct Math : RowLoss {
  static constexpr Operand kOperands[] = {Operand::kRow, Operand::kRow,
                                          Operand::kRow};

  static LOSSD_CALL void Evaluate(const Row<V>& row, RowResult* result) {
    const double* parameter = row.parameters;
    const auto measure = [&](TripletSlot x, TripletSlot y) {
      return NormDistance<V>(row.operand[x], row.operand[y], row.length,
                             parameter[kP], parameter[kEps]);
    };
    EvaluateTriplet(row, parameter[kMargin], parameter[kSwap] != 0.0, measure,
                    result);
  }
};

}  // namespace triplet_margin_loss
