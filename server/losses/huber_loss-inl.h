// SPDX-License-Identifier: Apache-2.0
//
// With r = |x - t|: w * r^2 / 2 where r < delta, else w * delta * (r - delta /
// 2), which does not cancel. The gradient with respect to x is w * (x - t),
// clamped at w * delta, and its negative with respect to t; with respect to w
// it is the loss without w. At most 2 ulp in float. Source:
// ATen/native/Loss.cpp of PyTorch 2.15.0.

namespace huber_loss {

enum Slot { kInput, kTarget, kWeight };
enum Parameter { kDelta };

template <class V>
struct Math : ElementwiseLoss {
  static constexpr int kTensors = 3;
  static constexpr int kOptional = 1;
  static constexpr bool kFloatLanes = true;
  static constexpr bool kHasProbabilities = false;

  static LOSSD_FN void Evaluate(const V* operand, const double* parameter,
                                Element<V>* out) {
    const V w = operand[kWeight];
    const V delta = V::Set(parameter[kDelta]);
    const V difference = operand[kInput] - operand[kTarget];
    const V size = Abs(difference);
    const V half = V::Set(0.5);
    const auto beyond = size >= delta;
    const V loss = Select(beyond, delta * (size - half * delta),
                          half * difference * difference);
    const V line = Select(difference > V::Set(0.0), delta, -delta);
    const V slope = w * Select(beyond, line, difference);
    out->loss = w * loss;
    out->gradient[kInput] = slope;
    out->gradient[kTarget] = -slope;
    out->gradient[kWeight] = loss;
  }
};

}  // namespace huber_loss
