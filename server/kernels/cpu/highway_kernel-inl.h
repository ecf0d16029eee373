// SPDX-License-Identifier: Apache-2.0
//
// The kernels of one loss, LOSSD_THIS_LOSS, for every instruction set that
// Highway knows: a source file of one loss defines it and LOSSD_THIS_MATH, and
// includes this.

#include "server/kernels/kernel_prelude.h"

// Only instruction sets with fused multiply-add give the bits of the contract;
// elsewhere the portable kernels serve.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/cpu/highway_kernel-inl.h"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::LOSSD_THIS_LOSS {
namespace HWY_NAMESPACE {

#undef LOSSD_FN
#define LOSSD_FN HWY_INLINE HWY_ATTR
#undef LOSSD_CALL
#define LOSSD_CALL inline

#if HWY_TARGET <= HWY_AVX2 || HWY_TARGET == HWY_NEON
namespace {
// In the order in which they need one another.
// clang-format off
#include "server/kernels/single-inl.h"
#include "server/kernels/cpu/pack-inl.h"
#include "server/losses/math-inl.h"
#include "server/kernels/lane_loops-inl.h"
#include "server/kernels/kernel-inl.h"
#include LOSSD_THIS_MATH
// clang-format on
}  // namespace

LossKernels Kernels() {
  return KernelsOf<LOSSD_THIS_LOSS::Math, Pack<float>, Pack<double>>();
}
#else
LossKernels Kernels() { return {}; }
#endif

}  // namespace HWY_NAMESPACE
}  // namespace lossd::LOSSD_THIS_LOSS
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lossd::LOSSD_THIS_LOSS {

HWY_EXPORT(Kernels);

LossKernels HighwayKernels() { return HWY_DYNAMIC_DISPATCH(Kernels)(); }

}  // namespace lossd::LOSSD_THIS_LOSS
#endif
