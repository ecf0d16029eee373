// SPDX-License-Identifier: Apache-2.0

#include "server/kernels/cpu/cpu_kernels.h"
#include "server/kernels/kernel_prelude.h"

#define LOSSD_FN inline

namespace lossd {
namespace portable {
namespace {

#include "server/kernels/kernel-inl.h"
#include "server/kernels/lane_loops-inl.h"
#include "server/kernels/lanes-inl.h"
#include "server/kernels/single-inl.h"
#include "server/losses/math-inl.h"

}  // namespace
}  // namespace portable

KernelTable PortableKernels() {
  return {
      "PORTABLE",
      portable::AllKernels<portable::Lanes<float>, portable::Lanes<double>>()};
}

}  // namespace lossd
