// SPDX-License-Identifier: Apache-2.0
//
// exp(x) - t * x, or x - t * log(x + eps) without log_input; with full, where t
// > 1, Stirling's t * log(t) - t + log(2 * pi * t) / 2 besides. The gradient
// with respect to x is exp(x) - t, or 1 - t / (x + eps); with respect to t it
// is -x, or -log(x + eps), and with full log(t) + 1 / (2 * t) times 1 where t >
// 1 and times 0 elsewhere, which is NaN for t <= 0 as in PyTorch. Computed in
// double: the terms cancel, and the error is a rounding of the sum of their
// magnitudes. Source: ATen/native/Loss.cpp of PyTorch 2.15.0.

namespace poisson_nll_loss {

enum Slot { kInput, kTarget };
enum Parameter { kLogInput, kFull, kEps };

constexpr double kLogTwoPi = 0x1.d67f1c864beb5p0;

template <class V>
struct Math : ElementwiseLoss {
  static constexpr int kTensors = 2;
  static constexpr bool kHasProbabilities = false;

  static LOSSD_FN void Evaluate(const V* operand, const double* parameter,
                                Element<V>* out) {
    const V x = operand[kInput];
    const V t = operand[kTarget];
    const V one = V::Set(1.0);
    if (parameter[kLogInput] != 0.0) {
      const V rate = Exp(x);
      out->loss = rate - t * x;
      out->gradient[kInput] = rate - t;
      out->gradient[kTarget] = -x;
    } else {
      const V rate = x + V::Set(parameter[kEps]);
      const V log_rate = Log(rate);
      out->loss = x - t * log_rate;
      out->gradient[kInput] = one - t / rate;
      out->gradient[kTarget] = -log_rate;
    }
    if (parameter[kFull] == 0.0) return;
    const V zero = V::Set(0.0);
    const V half = V::Set(0.5);
    const V log_t = Log(t);
    const V stirling = (t * log_t - t) + half * (V::Set(kLogTwoPi) + log_t);
    const auto counts = t > one;
    out->loss = out->loss + Select(counts, stirling, zero);
    out->gradient[kTarget] =
        out->gradient[kTarget] +
        Select(counts, one, zero) * ((log_t + (t / t - one)) + half / t);
  }
};

}  // namespace poisson_nll_loss
