// SPDX-License-Identifier: Apache-2.0

#include "server/kernels/cpu/cpu_kernels.h"
#include "server/kernels/kernel_prelude.h"

#define LOSSD_FN inline

namespace lossd {
namespace portable {
namespace {

// In the order in which they need one another.
// clang-format off
#include "server/kernels/single-inl.h"
#include "server/kernels/lanes-inl.h"
#include "server/losses/math-inl.h"
#include "server/kernels/lane_loops-inl.h"
#include "server/kernels/kernel-inl.h"
// clang-format on

}  // namespace
}  // namespace portable

KernelTable PortableKernels() {
  return {
      "PORTABLE",
      portable::AllKernels<portable::Lanes<float>, portable::Lanes<double>>()};
}

}  // namespace lossd
