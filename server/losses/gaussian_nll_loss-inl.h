// SPDX-License-Identifier: Apache-2.0
//
// (log(v) + (x - t)^2 / v) / 2 with v = max(var, eps), and log(2 * pi) / 2
// besides with full. The gradient with respect to x is (x - t) / v, and its
// negative with respect to t; with respect to var it is
// (1 / v - (x - t)^2 / v^2) / 2, at the clamped v but not zeroed there, as in
// PyTorch. Computed in double: the terms cancel, and the error is a rounding of
// the sum of their magnitudes. Source: torch/nn/functional.py of PyTorch
// 2.15.0.

namespace gaussian_nll_loss {

enum Slot { kInput, kTarget, kVar };
enum Parameter { kFull, kEps };

constexpr double kHalfLogTwoPi = 0x1.d67f1c864beb5p-1;

template <class V>
struct Math : ElementwiseLoss {
  static constexpr int kTensors = 3;
  static constexpr bool kHasProbabilities = false;

  static LOSSD_FN void Evaluate(const V* operand, const double* parameter,
                                Element<V>* out) {
    const V half = V::Set(0.5);
    const V v = Max(operand[kVar], V::Set(parameter[kEps]));
    const V difference = operand[kInput] - operand[kTarget];
    const V slope = difference / v;
    const V spread = difference * slope;
    const V constant = V::Set(parameter[kFull] != 0.0 ? kHalfLogTwoPi : 0.0);
    out->loss = half * (Log(v) + spread) + constant;
    out->gradient[kInput] = slope;
    out->gradient[kTarget] = -slope;
    out->gradient[kVar] = half * ((V::Set(1.0) - spread) / v);
  }
};

}  // namespace gaussian_nll_loss
