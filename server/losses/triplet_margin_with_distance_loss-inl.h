// SPDX-License-Identifier: Apache-2.0
//
// The triplet loss of triplet-inl.h with one of these distances: PAIRWISE, the
// Euclidean norm of x - y + 1e-6; SQUARED_EUCLIDEAN, the sum of (x - y)^2;
// MANHATTAN and CHEBYSHEV, the norms of degree 1 and infinity of x - y; COSINE,
// 1 - x . y / (max(|x|, 1e-8) * max(|y|, 1e-8)), whose gradient holds the clamp
// constant. Source: torch/nn/functional.py, ATen/native/Distance.cpp of PyTorch
// 2.15.0.

namespace triplet_margin_with_distance_loss {

enum Parameter { kDistanceFunction, kMargin, kSwap };
enum DistanceFunction {
  kPairwise = 1,
  kSquaredEuclidean,
  kManhattan,
  kChebyshev,
  kCosine
};

template <class V>
struct SquaredDistance {
  using Lane = typename V::Lane;
  const RowDifference<V> difference;
  const double value;

  LOSSD_CALL SquaredDistance(const Lane* x, const Lane* y, int64_t length)
      : difference{x, y, length, 0.0}, value(SumOfSquares(difference)) {}

  LOSSD_FN void Gradient(int64_t i, double scale, V* of_x, V* of_y) const {
    *of_x = difference.At(i) * V::Set(2.0 * scale);
    *of_y = -*of_x;
  }
};

template <class V>
struct CosineDistance {
  using Lane = typename V::Lane;
  static constexpr double kEpsilon = 1e-8;
  const Lane* x;
  const Lane* y;
  int64_t length;
  double x_norm, y_norm;  // as they are
  double x_size, y_size;  // clamped
  double dot;
  double value;

  LOSSD_CALL CosineDistance(const Lane* from, const Lane* to, int64_t n)
      : x(from), y(to), length(n) {
    const DotProducts<V> dots(x, y, n);
    x_norm = ScalarSqrt(dots.xx);
    y_norm = ScalarSqrt(dots.yy);
    x_size = x_norm < kEpsilon ? kEpsilon : x_norm;
    y_size = y_norm < kEpsilon ? kEpsilon : y_norm;
    dot = dots.xy;
    value = 1.0 - dot / (x_size * y_size);
  }

  // -(other / (|own| * |other|) - own * dot / (|own|^3 * |other|)).
  LOSSD_FN V Slope(const Lane* own, const Lane* other, double own_norm,
                   double own_size, double other_size, int64_t i,
                   double scale) const {
    const int64_t n = length - i;
    const V towards = LoadUpTo<V>(other + i, n) / V::Set(own_size * other_size);
    if (own_norm == 0.0) return towards * V::Set(-scale);
    const double share = dot / (own_size * other_size) / own_size / own_norm;
    return (towards - LoadUpTo<V>(own + i, n) * V::Set(share)) * V::Set(-scale);
  }

  LOSSD_FN void Gradient(int64_t i, double scale, V* of_x, V* of_y) const {
    *of_x = Slope(x, y, x_norm, x_size, y_size, i, scale);
    *of_y = Slope(y, x, y_norm, y_size, x_size, i, scale);
  }
};

template <class V>
struct Math : RowLoss {
  static constexpr Operand kOperands[] = {Operand::kRow, Operand::kRow,
                                          Operand::kRow};

  static LOSSD_CALL void Evaluate(const Row<V>& row, RowResult* result) {
    const double margin = row.parameters[kMargin];
    const bool swap = row.parameters[kSwap] != 0.0;
    switch (static_cast<int>(row.parameters[kDistanceFunction])) {
      case kSquaredEuclidean:
        return EvaluateTriplet(row, margin, swap, Of<SquaredDistance<V>>(row),
                               result);
      case kCosine:
        return EvaluateTriplet(row, margin, swap, Of<CosineDistance<V>>(row),
                               result);
      case kManhattan:
        return EvaluateTriplet(row, margin, swap, Norm(row, 1.0, 0.0), result);
      case kChebyshev:
        return EvaluateTriplet(row, margin, swap,
                               Norm(row, __builtin_inf(), 0.0), result);
      default:
        return EvaluateTriplet(row, margin, swap, Norm(row, 2.0, 1e-6), result);
    }
  }

 private:
  template <class D>
  static LOSSD_CALL auto Of(const Row<V>& row) {
    return [&row](TripletSlot x, TripletSlot y) {
      return D(row.operand[x], row.operand[y], row.length);
    };
  }
  static LOSSD_CALL auto Norm(const Row<V>& row, double degree, double eps) {
    return [&row, degree, eps](TripletSlot x, TripletSlot y) {
      return NormDistance<V>(row.operand[x], row.operand[y], row.length, degree,
                             eps);
    };
  }
};

}  // namespace triplet_margin_with_distance_loss
