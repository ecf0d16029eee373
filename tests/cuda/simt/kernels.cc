// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/simt/kernels.h"

#include <map>

#define LOSSD_LOSS(name)                                                 \
  extern "C" void lossd_##name##_warp_float(const lossd::cuda::Batch&);  \
  extern "C" void lossd_##name##_warp_double(const lossd::cuda::Batch&); \
  extern "C" void lossd_##name##_block_float(const lossd::cuda::Batch&); \
  extern "C" void lossd_##name##_block_double(const lossd::cuda::Batch&);
#include "loss_rows.inc"
#undef LOSSD_LOSS

#define LOSSD_CLASS_KERNELS(X)               \
  X(lossd_cross_entropy_class_warp_float16)  \
  X(lossd_cross_entropy_class_warp_bfloat16) \
  X(lossd_cross_entropy_class_warp_float32)  \
  X(lossd_cross_entropy_class_team_float16)  \
  X(lossd_cross_entropy_class_team_bfloat16) \
  X(lossd_cross_entropy_class_team_float32)
#define LOSSD_DECLARE(name) extern "C" void name(const lossd::cuda::Batch&);
LOSSD_CLASS_KERNELS(LOSSD_DECLARE)
#undef LOSSD_DECLARE

namespace lossd::simt {
namespace {

std::map<std::string, KernelFunction> Kernels() {
  return {
#define LOSSD_LOSS(name)                                           \
  {"lossd_" #name "_warp_float", lossd_##name##_warp_float},       \
      {"lossd_" #name "_warp_double", lossd_##name##_warp_double}, \
      {"lossd_" #name "_block_float", lossd_##name##_block_float}, \
      {"lossd_" #name "_block_double", lossd_##name##_block_double},
#include "loss_rows.inc"
#undef LOSSD_LOSS
#define LOSSD_ENTRY(name) {#name, name},
      LOSSD_CLASS_KERNELS(LOSSD_ENTRY)
#undef LOSSD_ENTRY
  };
}

}  // namespace

KernelFunction FindKernel(const std::string& name) {
  static const auto* const kernels =
      new std::map<std::string, KernelFunction>(Kernels());
  const auto kernel = kernels->find(name);
  return kernel == kernels->end() ? nullptr : kernel->second;
}

}  // namespace lossd::simt
