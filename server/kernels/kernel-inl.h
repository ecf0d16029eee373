// SPDX-License-Identifier: Apache-2.0
//
// Everything that depends on the arithmetic type, from tiles to the table of
// kernels. A kernel room includes this inside its namespace, after its
// arithmetic types, math-inl.h and lane_loops-inl.h.

// In the order in which they need one another.
// clang-format off
#include "server/kernels/tiles-inl.h"
#include "server/kernels/elementwise-inl.h"
#include "server/kernels/rows-inl.h"
#include "loss_math.inc"
// clang-format on

template <class M, class V>
Findings RunKernel(const Job& job, int64_t begin, int64_t end) {
  if constexpr (M::kRows) {
    return RowKernel<M, V>::Run(job, begin, end);
  } else {
    return ElementwiseKernel<M, V>::Run(job, begin, end);
  }
}

// The same over float lanes, where the loss has them.
template <class M, class F>
constexpr Kernel FloatKernel() {
  if constexpr (M::kFloatLanes) {
    return &RunKernel<M, F>;
  } else {
    return nullptr;
  }
}

// The kernels of every loss, over float lanes of type F and double lanes of
// type D.
template <class F, class D>
absl::Span<const LossKernels> AllKernels() {
  static constexpr LossKernels kKernels[] = {
#define LOSSD_LOSS(name) \
  {FloatKernel<name::Math<F>, F>(), &RunKernel<name::Math<D>, D>},
#include "loss_rows.inc"
#undef LOSSD_LOSS
  };
  return kKernels;
}
