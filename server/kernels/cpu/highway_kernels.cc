// SPDX-License-Identifier: Apache-2.0

#include "server/kernels/cpu/cpu_kernels.h"
#include "server/kernels/kernel_prelude.h"

// Only instruction sets with fused multiply-add give the bits of the contract;
// elsewhere the portable kernels serve.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/cpu/highway_kernels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd {
namespace HWY_NAMESPACE {

#undef LOSSD_FN
#define LOSSD_FN HWY_INLINE HWY_ATTR

#if HWY_TARGET <= HWY_AVX2 || HWY_TARGET == HWY_NEON
namespace {
// In the order in which they need one another.
// clang-format off
#include "server/kernels/single-inl.h"
#include "server/kernels/cpu/pack-inl.h"
#include "server/losses/math-inl.h"
#include "server/kernels/lane_loops-inl.h"
#include "server/kernels/kernel-inl.h"
// clang-format on
}  // namespace

absl::Span<const LossKernels> Kernels() {
  return AllKernels<Pack<float>, Pack<double>>();
}
#else
absl::Span<const LossKernels> Kernels() { return {}; }
#endif

}  // namespace HWY_NAMESPACE
}  // namespace lossd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd {

HWY_EXPORT(Kernels);

std::vector<KernelTable> HighwayKernels() {
  std::vector<KernelTable> tables;
  for (int64_t target : hwy::SupportedAndGeneratedTargets()) {
    // Restrict the dispatcher to one target, ask it, and lift the restriction.
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    const absl::Span<const LossKernels> kernels =
        HWY_DYNAMIC_DISPATCH(Kernels)();
    if (!kernels.empty()) {
      tables.push_back({hwy::TargetName(target), kernels});
    }
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().DeInit();
  return tables;
}

}  // namespace lossd
#endif
