// SPDX-License-Identifier: Apache-2.0
//
// With r = |x - t|: w * r^2 / (2 * beta) where r < beta, else w * (r - beta /
// 2), which does not cancel. The gradient with respect to x is w * (x - t) /
// beta, clamped at w, and its negative with respect to t; with respect to w it
// is the loss without w. With beta 0 there is a tie, where the gradient is 0.
// At most 2.5 ulp in float. Source: ATen/native/Loss.cpp of PyTorch 2.15.0; w
// as in huber_loss.

namespace smooth_l1_loss {

enum Slot { kInput, kTarget, kWeight };
enum Parameter { kBeta };

template <class V>
struct Math : ElementwiseLoss {
  static constexpr int kTensors = 3;
  static constexpr int kOptional = 1;
  static constexpr bool kFloatLanes = true;
  static constexpr bool kHasProbabilities = false;

  static LOSSD_FN void Evaluate(const V* operand, const double* parameter,
                                Element<V>* out) {
    const V w = operand[kWeight];
    const V zero = V::Set(0.0);
    const V one = V::Set(1.0);
    const V beta = V::Set(parameter[kBeta]);
    const V difference = operand[kInput] - operand[kTarget];
    const V size = Abs(difference);
    const V half = V::Set(0.5);
    const auto beyond = size >= beta;
    const V loss = Select(beyond, size - half * beta,
                          half * difference * difference / beta);
    const V line =
        Select(difference > zero, one, Select(difference < zero, -one, zero));
    // NaN has no slope where the loss is l1_loss.
    const V square = Select(beta == zero, zero, difference / beta);
    const V slope = w * Select(beyond, line, square);
    out->loss = w * loss;
    out->gradient[kInput] = slope;
    out->gradient[kTarget] = -slope;
    out->gradient[kWeight] = loss;
  }
};

}  // namespace smooth_l1_loss
