// SPDX-License-Identifier: Apache-2.0
//
// max(0, -t * (x1 - x2) + margin), with the gradient -t with respect to x1, t
// with respect to x2 and -(x1 - x2) with respect to t where it is greater than
// 0, and none elsewhere, a tie included. Computed in double: the terms cancel,
// and the error is a rounding of the sum of their magnitudes. Source:
// ATen/native/Loss.cpp of PyTorch 2.15.0.

namespace margin_ranking_loss {

enum Slot { kInput1, kInput2, kTarget };
enum Parameter { kMargin };

template <class V>
struct Math : ElementwiseLoss {
  static constexpr int kTensors = 3;
  static constexpr bool kHasProbabilities = false;

  static LOSSD_FN void Evaluate(const V* operand, const double* parameter,
                                Element<V>* out) {
    const V zero = V::Set(0.0);
    const V t = operand[kTarget];
    const V difference = operand[kInput1] - operand[kInput2];
    const V value = V::Set(parameter[kMargin]) - t * difference;
    const V active = Select(value > zero, V::Set(1.0), zero);
    const V slope = active * t;
    out->loss = Select(value < zero, zero, value);
    out->gradient[kInput1] = -slope;
    out->gradient[kInput2] = slope;
    out->gradient[kTarget] = -(active * difference);
  }
};

}  // namespace margin_ranking_loss
