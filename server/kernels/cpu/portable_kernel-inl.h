// SPDX-License-Identifier: Apache-2.0
//
// The kernels of one loss, LOSSD_THIS_LOSS, in plain C++: a source file of one
// loss defines it and LOSSD_THIS_MATH, and includes this.

#include "server/kernels/kernel_prelude.h"

#define LOSSD_FN inline
#define LOSSD_CALL inline

namespace lossd::LOSSD_THIS_LOSS {
namespace portable {
namespace {

// In the order in which they need one another.
// clang-format off
#include "server/kernels/single-inl.h"
#include "server/kernels/lanes-inl.h"
#include "server/losses/math-inl.h"
#include "server/kernels/lane_loops-inl.h"
#include "server/kernels/kernel-inl.h"
#include LOSSD_THIS_MATH
// clang-format on

}  // namespace
}  // namespace portable

LossKernels PortableKernels() {
  return portable::KernelsOf<portable::LOSSD_THIS_LOSS::Math,
                             portable::Lanes<float>, portable::Lanes<double>>();
}

}  // namespace lossd::LOSSD_THIS_LOSS
