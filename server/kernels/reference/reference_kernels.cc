// SPDX-License-Identifier: Apache-2.0

#include "server/kernels/reference/reference_kernels.h"

#include "server/kernels/kernel_prelude.h"

#define LOSSD_FN inline

namespace lossd {
namespace reference {
namespace {

#include "server/kernels/single-inl.h"

Single Exp(Single x) { return {std::exp(x.v)}; }
Single Log(Single x) { return {std::log(x.v)}; }
Single Log1p(Single x) { return {std::log1p(x.v)}; }
Single SoftplusOfMinusAbs(Single x, Single* exp_of_minus_abs) {
  *exp_of_minus_abs = Exp({-std::abs(x.v)});
  return Log1p(*exp_of_minus_abs);
}
Single MulOrZero(Single a, Single b) { return {a.v == 0 ? 0 : a.v * b.v}; }

#include "server/kernels/lane_loops-inl.h"

#include "server/kernels/kernel-inl.h"

}  // namespace
}  // namespace reference

const KernelTable& ReferenceKernels() {
  static const KernelTable table = {
      "reference",
      reference::AllKernels<reference::Single, reference::Single>()};
  return table;
}

}  // namespace lossd
