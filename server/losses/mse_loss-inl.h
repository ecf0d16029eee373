// SPDX-License-Identifier: Apache-2.0
//
// w * (x - t)^2, with the gradient 2 * w * (x - t) with respect to x and its
// negative with respect to t. Two roundings in float: at most 2 ulp. With
// respect to w: (x - t)^2, less the mean where that is divided by the sum of w.
// NaN and infinity follow IEEE 754. Source: torch/nn/functional.py of
// PyTorch 2.15.0.

namespace mse_loss {

enum Slot { kInput, kTarget, kWeight };

template <class V>
struct Math : ElementwiseLoss {
  static constexpr int kTensors = 3;
  static constexpr int kOptional = 1;
  static constexpr bool kFloatLanes = true;
  static constexpr bool kHasProbabilities = false;

  static LOSSD_FN void Evaluate(const V* operand, const double* parameter,
                                Element<V>* out) {
    const V difference = operand[kInput] - operand[kTarget];
    const V weighted = operand[kWeight] * difference;
    out->loss = weighted * difference;
    out->gradient[kInput] = weighted + weighted;
    out->gradient[kTarget] = -(weighted + weighted);
    out->gradient[kWeight] =
        Fma(difference, difference, -V::Set(parameter[kMeanParameter]));
  }
};

}  // namespace mse_loss
