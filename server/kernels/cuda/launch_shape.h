// SPDX-License-Identifier: Apache-2.0
//
// How kernels are launched, and what their groups need.

#ifndef LOSSD_SERVER_KERNELS_CUDA_LAUNCH_SHAPE_H_
#define LOSSD_SERVER_KERNELS_CUDA_LAUNCH_SHAPE_H_

#include <cstdint>

namespace lossd::cuda {

// Threads of a block whose warps take units by themselves, and of one that
// takes a unit as a whole.
inline constexpr int kWarpBlock = 128;
inline constexpr int kRowBlock = 256;

// The longest row that a warp takes.
inline constexpr int64_t kWarpRow = 1024;

// Elements of a row of classes that a thread holds, and the threads of a block
// that takes one, or a part of one.
inline constexpr int kClassElements = 32;
inline constexpr int kClassBlock = 256;

// Rows of workspace that the mathematics of a loss can ask for.
inline constexpr int kWorkspaceRows = 2;

// Bytes of scratch that a group of `threads` threads needs for rows of a loss
// with `tensors` tensors, in lanes of `lane` bytes.
constexpr int64_t RowScratchBytes(int tensors, int64_t row_length, int threads,
                                  int64_t lane) {
  const int64_t tile = (row_length + threads) / threads * threads;
  return (2 * tensors + 4 + kWorkspaceRows) * tile * lane + row_length * 8;
}

// The same for a sequence, in lanes of double.
constexpr int64_t SequenceScratchBytes(int64_t classes, int64_t steps,
                                       int64_t labels, int threads) {
  const int64_t tile = (classes + threads) / threads * threads;
  const int64_t states = 2 * labels + 1;
  const int64_t width = (states + threads) / threads * threads + 2 * threads;
  return 8 * (2 * tile + labels + (steps + 8) * width + classes + threads);
}

}  // namespace lossd::cuda

#endif  // LOSSD_SERVER_KERNELS_CUDA_LAUNCH_SHAPE_H_
