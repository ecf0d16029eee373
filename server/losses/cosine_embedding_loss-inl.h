// SPDX-License-Identifier: Apache-2.0
//
// 1 - cos where t = 1, max(0, cos - margin) where t = -1, and 0 elsewhere, with
// cos = a . b / sqrt((|a|^2 + eps) * (|b|^2 + eps)) and PyTorch's eps, the
// float 1e-12. The gradient of cos with respect to a is b / sqrt(...) - cos * a
// /
// (|a|^2 + eps). Computed in double: the products cancel, and the error is a
// rounding of the sum of their magnitudes. Source: ATen/native/Loss.cpp of
// PyTorch 2.15.0.

namespace cosine_embedding_loss {

enum Slot { kInput1, kInput2, kTarget };
enum Parameter { kMargin };

constexpr double kEpsilon = static_cast<double>(1e-12f);

template <class V>
struct Math : RowLoss {
  using Lane = typename V::Lane;
  static constexpr Operand kOperands[] = {Operand::kRow, Operand::kRow,
                                          Operand::kScalar};

  static LOSSD_CALL void Evaluate(const Row<V>& row, RowResult* result) {
    const double t = row.scalar[kTarget];
    const DotProducts<V> dots(row.operand[kInput1], row.operand[kInput2],
                              row.length);
    const double aa = dots.xx + kEpsilon;
    const double bb = dots.yy + kEpsilon;
    const double root = ScalarSqrt(aa * bb);
    const double cosine = dots.xy / root;
    double slope = 0.0;  // of the loss, by the cosine
    if (t == 1.0) {
      result->loss = 1.0 - cosine;
      slope = -1.0;
    } else if (t == -1.0) {
      const double beyond = cosine - row.parameters[kMargin];
      result->loss = beyond < 0.0 ? 0.0 : beyond;
      slope = beyond > 0.0 ? 1.0 : 0.0;
    }
    slope *= row.scale;
    Gradient(row, kInput1, kInput2, slope, root, cosine / aa);
    Gradient(row, kInput2, kInput1, slope, root, cosine / bb);
  }

 private:
  // slope * (other / root - own * share).
  static LOSSD_CALL void Gradient(const Row<V>& row, Slot own, Slot other,
                                  double slope, double root, double share) {
    Lane* g = row.gradient[own];
    if (!g) return;
    for (int64_t i = 0; i < row.length; i += V::kLanes) {
      const int64_t n = row.length - i;
      const V towards = LoadUpTo<V>(row.operand[other] + i, n) / V::Set(root) -
                        LoadUpTo<V>(row.operand[own] + i, n) * V::Set(share);
      StoreUpTo(Canonical(V::Set(slope) * towards), g + i, n);
    }
  }
};

}  // namespace cosine_embedding_loss
