// SPDX-License-Identifier: Apache-2.0
//
// -w * (t * max(log(p), -100) + (1 - t) * max(log(1 - p), -100)); the gradient
// is not tied to the clamp: w * (p - t) / max((1 - p) * p, 1e-12), the constant
// being the float nearest to 1e-12. The target's gradient is -w * logit(p), not
// clamped. Computed in double for every dtype. Source: ATen/native/Loss.cpp and
// FunctionsManual.cpp of PyTorch 2.15.0.

namespace binary_cross_entropy {

enum Slot { kInput, kTarget, kWeight };

template <class V>
struct Math : ElementwiseLoss {
  static constexpr int kTensors = 3;
  static constexpr int kOptional = 1;
  static constexpr bool kHasProbabilities = true;

  static LOSSD_FN void Evaluate(const V* operand, const double*,
                                Element<V>* out) {
    const V one = V::Set(1.0);
    const V floor = V::Set(-100.0);
    const V p = operand[kInput];
    const V t = operand[kTarget];
    const V w = operand[kWeight];
    const V log_p = Log(p);
    const V log_q = Log1p(-p);
    const V positive = Select(log_p < floor, floor, log_p);
    const V negative = Select(log_q < floor, floor, log_q);
    out->loss = w * ((t - one) * negative - t * positive);
    const V spread = (one - p) * p;
    const V epsilon = V::Set(static_cast<double>(1e-12f));
    out->gradient[kInput] =
        w * ((p - t) / Select(spread < epsilon, epsilon, spread));
    out->gradient[kTarget] = w * (log_q - log_p);
    out->probability = p;
    out->log_probability = log_p;
    out->predicted = p > V::Set(0.5);
  }
};

}  // namespace binary_cross_entropy
