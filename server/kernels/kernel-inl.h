// SPDX-License-Identifier: Apache-2.0
//
// Everything that depends on the arithmetic type, from tiles to the kernels of
// a loss. A kernel room includes this inside its namespace, after its
// arithmetic types, math-inl.h and lane_loops-inl.h, and before a loss's
// mathematics.

// In the order in which they need one another.
// clang-format off
#include "server/kernels/convert-inl.h"
#include "server/kernels/tiles-inl.h"
#include "server/kernels/elementwise-inl.h"
#include "server/kernels/elementwise_floats-inl.h"
#include "server/kernels/rows-inl.h"
#include "server/kernels/sequences-inl.h"
#include "server/losses/triplet-inl.h"
// clang-format on

template <template <class> class Math, class V>
Findings RunKernel(const Job& job, int64_t begin, int64_t end) {
  using M = Math<V>;
  if constexpr (M::kSequences) {
    return SequenceKernel<M, V>::Run(job, begin, end);
  } else if constexpr (M::kRows) {
    return RowKernel<M, V>::Run(job, begin, end);
  } else {
    // Floats, in the lanes in which the loss computes them.
    if constexpr (V::kLanes > 1 &&
                  M::kFloatLanes == (sizeof(typename V::Lane) == 4)) {
      using Kernel = FloatElementwiseKernel<Math, V>;
      if (Kernel::Fits(job)) return Kernel::Run(job, begin, end);
    }
    return ElementwiseKernel<M, V>::Run(job, begin, end);
  }
}

// The kernels of the loss whose mathematics is Math, over float lanes of type F
// and double lanes of type D.
template <template <class> class Math, class F, class D>
constexpr LossKernels KernelsOf() {
  LossKernels kernels = {nullptr, &RunKernel<Math, D>};
  if constexpr (Math<F>::kFloatLanes) {
    kernels.float_lanes = &RunKernel<Math, F>;
  }
  return kernels;
}
