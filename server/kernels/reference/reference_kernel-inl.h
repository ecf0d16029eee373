// SPDX-License-Identifier: Apache-2.0
//
// The reference kernels of one loss, LOSSD_THIS_LOSS: a source file of one loss
// defines it and LOSSD_THIS_MATH, and includes this.

#include "server/kernels/kernel_prelude.h"

#define LOSSD_FN inline
#define LOSSD_CALL inline

namespace lossd::LOSSD_THIS_LOSS {
namespace reference {
namespace {

#include "server/kernels/single-inl.h"

inline Single Exp(Single x) { return {std::exp(x.v)}; }
inline Single ExpUpToZero(Single x) { return Exp(x); }
inline Single Log(Single x) { return {std::log(x.v)}; }
inline Single Log1p(Single x) { return {std::log1p(x.v)}; }
inline Single SoftplusOfMinusAbs(Single x, Single* exp_of_minus_abs) {
  *exp_of_minus_abs = Exp({-std::abs(x.v)});
  return Log1p(*exp_of_minus_abs);
}
inline Single MulOrZero(Single a, Single b) {
  return {a.v == 0 ? 0 : a.v * b.v};
}

// In the order in which they need one another.
// clang-format off
#include "server/kernels/lane_loops-inl.h"
#include "server/kernels/kernel-inl.h"
#include LOSSD_THIS_MATH
// clang-format on

}  // namespace
}  // namespace reference

LossKernels ReferenceKernels() {
  return reference::KernelsOf<reference::LOSSD_THIS_LOSS::Math,
                              reference::Single, reference::Single>();
}

}  // namespace lossd::LOSSD_THIS_LOSS
