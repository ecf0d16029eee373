// SPDX-License-Identifier: Apache-2.0
//
// The mathematics over the portable arithmetic types, as the portable kernels
// compile it: what is tested is the very text that every target shares.

#ifndef LOSSD_TESTS_UNIT_KERNELS_PORTABLE_MATH_H_
#define LOSSD_TESTS_UNIT_KERNELS_PORTABLE_MATH_H_

#include "server/kernels/kernel_prelude.h"

#define LOSSD_FN inline
#define LOSSD_CALL inline

namespace lossd {
namespace {
namespace math {

// Each needs the ones before it.
// clang-format off
#include "server/kernels/single-inl.h"
#include "server/kernels/lanes-inl.h"
#include "server/losses/math-inl.h"
#include "server/kernels/lane_loops-inl.h"
// clang-format on

}  // namespace math
}  // namespace
}  // namespace lossd

#endif  // LOSSD_TESTS_UNIT_KERNELS_PORTABLE_MATH_H_
