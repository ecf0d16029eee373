// SPDX-License-Identifier: Apache-2.0
//
// The kernels of one loss, LOSSD_THIS_LOSS: a source file of one loss includes
// threads, then defines that and LOSSD_THIS_MATH, and includes this. A kernel
// that the loss has no use for does nothing.
//
//   lossd_<loss>_warp_<lanes>   a warp takes a row, or a leaf of elements
//   lossd_<loss>_block_<lanes>  a block takes a row, or a sequence
//   lossd_<loss>_class_<warp or team>_<dtype>
//                               a warp, or a cluster, takes a row of classes

#include <bit>
#include <concepts>
#include <cstring>

#include "server/base/half.h"
#include "server/base/ordered_sum.h"
#include "server/kernels/cuda/batch.h"
#include "server/kernels/cuda/launch_shape.h"
#include "server/kernels/float_bits.h"

namespace lossd::cuda {
namespace {

// In the order in which they need one another.
// clang-format off
#include "server/kernels/single-inl.h"
#include "server/kernels/cuda/groups-inl.h"
#include "server/losses/math-inl.h"
#include "server/kernels/lane_loops-inl.h"
#include "server/kernels/convert-inl.h"
#include "server/kernels/cuda/tensors-inl.h"
#include "server/kernels/cuda/elements-inl.h"
#include "server/kernels/cuda/rows-inl.h"
#include "server/kernels/cuda/sequences-inl.h"
#include "server/losses/triplet-inl.h"
#include LOSSD_THIS_MATH
// clang-format on

#ifdef LOSSD_CLASS_ROWS
#include "server/kernels/cuda/class_rows-inl.h"
#endif

template <template <class> class Math, class Lane>
LOSSD_FN void RunWarps(const Batch& batch) {
  using M = Math<GroupLanes<double, WarpThreads>>;
  if constexpr (sizeof(Lane) == 8 || M::kFloatLanes) {
    if constexpr (M::kSequences) {
    } else if constexpr (M::kRows) {
      using V = GroupLanes<Lane, WarpThreads>;
      RowGroup<Math<V>, V>::Run(batch, kWarpBlock);
    } else {
      ElementGroup<Math, Lane>::Run(batch, kWarpBlock);
    }
  }
}

template <template <class> class Math, class Lane>
LOSSD_FN void RunBlocks(const Batch& batch) {
  using V = GroupLanes<Lane, BlockThreads<kRowBlock>>;
  using M = Math<V>;
  if constexpr (sizeof(Lane) == 8 || M::kFloatLanes) {
    if constexpr (M::kSequences) {
      SequenceGroup<M, V>::Run(batch, kRowBlock);
    } else if constexpr (M::kRows) {
      RowGroup<M, V>::Run(batch, kRowBlock);
    }
  }
}

// Blocks that a multiprocessor is to hold at a time, which bounds the registers
// of a thread: 128 for elements in lanes of float, 168 in lanes of double. Some
// of them, and rows, would spill if they had fewer.
template <template <class> class Math, class Lane>
inline constexpr int kWarpBlocksHeld =
    Math<GroupLanes<double, WarpThreads>>::kRows ? 1
    : sizeof(Lane) == 8                          ? 3
                                                 : 4;

}  // namespace
}  // namespace lossd::cuda

#define LOSSD_NAME(loss, rest) lossd_##loss##_##rest
#define LOSSD_NAME_OF(loss, rest) LOSSD_NAME(loss, rest)

LOSSD_KERNEL(
    lossd::cuda::kWarpBlock,
    (lossd::cuda::kWarpBlocksHeld<lossd::cuda::LOSSD_THIS_LOSS::Math, float>),
    LOSSD_NAME_OF(LOSSD_THIS_LOSS, warp_float)) {
  lossd::cuda::RunWarps<lossd::cuda::LOSSD_THIS_LOSS::Math, float>(batch);
}
LOSSD_KERNEL(
    lossd::cuda::kWarpBlock,
    (lossd::cuda::kWarpBlocksHeld<lossd::cuda::LOSSD_THIS_LOSS::Math, double>),
    LOSSD_NAME_OF(LOSSD_THIS_LOSS, warp_double)) {
  lossd::cuda::RunWarps<lossd::cuda::LOSSD_THIS_LOSS::Math, double>(batch);
}
LOSSD_KERNEL(lossd::cuda::kRowBlock, 1,
             LOSSD_NAME_OF(LOSSD_THIS_LOSS, block_float)) {
  lossd::cuda::RunBlocks<lossd::cuda::LOSSD_THIS_LOSS::Math, float>(batch);
}
LOSSD_KERNEL(lossd::cuda::kRowBlock, 1,
             LOSSD_NAME_OF(LOSSD_THIS_LOSS, block_double)) {
  lossd::cuda::RunBlocks<lossd::cuda::LOSSD_THIS_LOSS::Math, double>(batch);
}

#ifdef LOSSD_CLASS_ROWS
#define LOSSD_CLASS_KERNELS(dtype, type)                                  \
  LOSSD_KERNEL(lossd::cuda::kWarpBlock, 4,                                \
               LOSSD_NAME_OF(LOSSD_THIS_LOSS, class_warp_##dtype)) {      \
    lossd::cuda::ClassRows<type, 1>::Run(batch, lossd::cuda::kWarpBlock); \
  }                                                                       \
  LOSSD_KERNEL(lossd::cuda::kClassBlock, 2,                               \
               LOSSD_NAME_OF(LOSSD_THIS_LOSS, class_team_##dtype)) {      \
    constexpr int kWarps =                                                \
        lossd::cuda::kClassBlock / lossd::cuda::kWarpThreads;             \
    lossd::cuda::ClassRows<type, kWarps>::Run(batch,                      \
                                              lossd::cuda::kClassBlock);  \
  }
LOSSD_CLASS_KERNELS(float16, lossd::Float16)
LOSSD_CLASS_KERNELS(bfloat16, lossd::Bfloat16)
LOSSD_CLASS_KERNELS(float32, float)
#endif
