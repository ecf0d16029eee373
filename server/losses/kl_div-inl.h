// SPDX-License-Identifier: Apache-2.0
//
// t * log(t) - t * x for a probability t, and exp(t) * (t - x) for a logarithm
// t. Where the mass is 0 and the other factor infinite the product is 0. The
// gradient with respect to x is -t (-exp(t)); with respect to t it is log(t) +
// 1
// - x, or exp(t) * (t - x + 1), NaN where there is no mass as in PyTorch. NaN
// where t < 0. Computed in double: the two terms cancel where t is near exp(x),
// and the error is a rounding of the sum of their magnitudes. Source:
// ATen/native/Loss.cpp of PyTorch 2.15.0.

namespace kl_div {

enum Slot { kInput, kTarget };
enum Parameter { kLogTarget };

// mass * x, but 0 for no mass of an infinite x.
template <class V>
LOSSD_FN V Part(V mass, V x) {
  const V zero = V::Set(0.0);
  const auto nothing = (mass == zero) & (Abs(x) == V::Set(__builtin_inf()));
  return Select(nothing, zero, mass * x);
}

template <class V>
struct Math : ElementwiseLoss {
  static constexpr int kTensors = 2;
  static constexpr bool kHasProbabilities = false;

  static LOSSD_FN void Evaluate(const V* operand, const double* parameter,
                                Element<V>* out) {
    const V x = operand[kInput];
    const V t = operand[kTarget];
    const V one = V::Set(1.0);
    if (parameter[kLogTarget] != 0.0) {
      const V mass = Exp(t);
      // No mass adds nothing, unless x is NaN.
      out->loss =
          Select((mass == V::Set(0.0)) & (x == x), V::Set(0.0), mass * (t - x));
      out->gradient[kInput] = -mass;
      out->gradient[kTarget] = mass * ((t - x) + one);
      return;
    }
    const V log_t = Log(t);
    out->loss = Part(t, log_t) - Part(t, x);
    out->gradient[kInput] = -t;
    // t / t is 1, or NaN at 0 and infinity.
    out->gradient[kTarget] = (log_t + t / t) - x;
  }
};

}  // namespace kl_div
