// SPDX-License-Identifier: Apache-2.0
//
// w * ((1 - t) * softplus(x) + pw * t * softplus(-x)), with softplus(x) =
// max(x, 0) + log1p(exp(-|x|)): no term cancels, so the relative error stays
// below 4 ulp in float however confident the logit. Infinite logits give the
// limit: 0 * infinity counts as 0. Source: ATen/native/Loss.cpp and
// FunctionsManual.cpp of PyTorch 2.15.0, whose form it reorders.

namespace binary_cross_entropy_with_logits {

enum Slot { kInput, kTarget, kWeight, kPosWeight };

// log(1 + y) for y in [0, 1]; in float y + y^2 * q(y) with q the Chebyshev
// interpolation of degree 8, at most 1.1 ulp.
template <class V>
LOSSD_FN V Log1pOfUnit(V y) {
  if constexpr (sizeof(typename V::Lane) == 8) {
    return Log1p(y);
  } else {
    V q = V::Set(-0.004466211423277855);
    q = Fma(q, y, V::Set(0.025224054232239723));
    q = Fma(q, y, V::Set(-0.06675772368907928));
    q = Fma(q, y, V::Set(0.11561845242977142));
    q = Fma(q, y, V::Set(-0.15847565233707428));
    q = Fma(q, y, V::Set(0.198541060090065));
    q = Fma(q, y, V::Set(-0.24986526370048523));
    q = Fma(q, y, V::Set(0.3333284258842468));
    q = Fma(q, y, V::Set(-0.4999999701976776));
    return Fma(y * y, q, y);
  }
}

template <class V>
struct Math : ElementwiseLoss {
  static constexpr int kTensors = 4;
  static constexpr int kOptional = 2;
  static constexpr bool kFloatLanes = true;
  static constexpr bool kHasProbabilities = true;

  static LOSSD_FN void Evaluate(const V* operand, const double*,
                                Element<V>* out) {
    const V zero = V::Set(0.0);
    const V one = V::Set(1.0);
    const V x = operand[kInput];
    const V t = operand[kTarget];
    const V w = operand[kWeight];
    const V negative = one - t;
    const V positive = operand[kPosWeight] * t;
    const V e = ExpUpToZero(-Abs(x));
    const V log1p_e = Log1pOfUnit(e);
    const V softplus = Max(x, zero) + log1p_e;         // -log(1 - p)
    const V softplus_minus = Max(-x, zero) + log1p_e;  // -log(p)
    out->loss = w * (MulOrZero(negative, softplus) +
                     MulOrZero(positive, softplus_minus));

    const V inverse = one / (one + e);
    const V small = e * inverse;  // sigmoid(-|x|)
    const auto up = x > zero;
    const V p = Select(up, inverse, Select(x == x, small, x));
    const V q = Select(up, small, Select(x == x, inverse, x));  // 1 - p
    out->gradient[kInput] = w * (negative * p - positive * q);
    // pw * softplus(-x) - softplus(x), which is exactly -x where pw is 1.
    const V pw = operand[kPosWeight];
    const V linear = MulOrZero(pw, Max(-x, zero)) - Max(x, zero);
    out->gradient[kTarget] = w * Fma(pw - one, log1p_e, linear);
    out->probability = p;
    out->log_probability = -softplus_minus;
    out->predicted = up;
  }
};

}  // namespace binary_cross_entropy_with_logits
