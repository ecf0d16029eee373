// SPDX-License-Identifier: Apache-2.0
//
// w * |x - t|, with the gradient w * sign(x - t) with respect to x, 0 at a tie
// and at NaN, and its negative with respect to t; one rounding for each of x -
// t and the product: at most 1.5 ulp in float. With respect to w: |x - t|, less
// the mean where that is divided by the sum of w. Source:
// ATen/native/Loss.cpp and torch/nn/functional.py of PyTorch 2.15.0.

namespace l1_loss {

enum Slot { kInput, kTarget, kWeight };

template <class V>
struct Math : ElementwiseLoss {
  static constexpr int kTensors = 3;
  static constexpr int kOptional = 1;
  static constexpr bool kFloatLanes = true;
  static constexpr bool kHasProbabilities = false;

  static LOSSD_FN void Evaluate(const V* operand, const double* parameter,
                                Element<V>* out) {
    const V zero = V::Set(0.0);
    const V w = operand[kWeight];
    const V difference = operand[kInput] - operand[kTarget];
    const V size = Abs(difference);
    const V slope =
        Select(difference > zero, w, Select(difference < zero, -w, w * zero));
    out->loss = w * size;
    out->gradient[kInput] = slope;
    out->gradient[kTarget] = -slope;
    out->gradient[kWeight] = size - V::Set(parameter[kMeanParameter]);
  }
};

}  // namespace l1_loss
