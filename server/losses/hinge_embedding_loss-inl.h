// SPDX-License-Identifier: Apache-2.0
//
// x where t is not -1, plus max(0, margin - x) where t is not 1, so that a t
// that is neither gets both. The gradient with respect to x is 1 and -1 where
// the terms are there and greater than 0. Computed in double: margin - x is
// rounded once. Source: ATen/native/Loss.cpp of PyTorch 2.15.0.

namespace hinge_embedding_loss {

enum Slot { kInput, kTarget };
enum Parameter { kMargin };

template <class V>
struct Math : ElementwiseLoss {
  static constexpr int kTensors = 2;
  static constexpr bool kHasProbabilities = false;

  static LOSSD_FN void Evaluate(const V* operand, const double* parameter,
                                Element<V>* out) {
    const V zero = V::Set(0.0);
    const V one = V::Set(1.0);
    const V x = operand[kInput];
    const V t = operand[kTarget];
    const V rest = V::Set(parameter[kMargin]) - x;
    const auto like = t == one;
    const auto unlike = t == V::Set(-1.0);
    const V hinge = Select(like, zero, Select(rest < zero, zero, rest));
    out->loss = hinge + Select(unlike, zero, x);
    out->gradient[kInput] = Select(unlike, zero, one) -
                            Select(Not(like) & (rest > zero), one, zero);
    out->gradient[kTarget] = zero;
  }
};

}  // namespace hinge_embedding_loss
