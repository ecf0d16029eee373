// SPDX-License-Identifier: Apache-2.0
//
// What a job looks like to kernels on a device, and which kernel takes it.

#ifndef LOSSD_SERVER_KERNELS_CUDA_DESCRIPTORS_H_
#define LOSSD_SERVER_KERNELS_CUDA_DESCRIPTORS_H_

#include <cstdint>
#include <string>

#include "server/kernels/cuda/batch.h"
#include "server/kernels/job.h"

namespace lossd::cuda {

inline constexpr int kWarpThreadsOfHost = 32;

// The job without its memory: every pointer is null.
JobDescriptor DescriptorOf(const Job& job);

Findings FindingsOf(const FindingsDescriptor& found);

// Elements that a kernel writes of any gradient: a tensor that broadcasts has
// one for each element of what it is broadcast to.
int64_t GradientElements(const Job& job);

struct KernelChoice {
  std::string module;
  std::string kernel;
  bool by_block = false;
  int threads = 0;
  int cluster = 1;
  int64_t scratch_bytes = 0;  // of one group
};

// A row of at most `warp_row` elements is a warp's.
KernelChoice ChooseKernel(const Job& job, const JobDescriptor& descriptor,
                          int64_t warp_row, int max_cluster);

}  // namespace lossd::cuda

#endif  // LOSSD_SERVER_KERNELS_CUDA_DESCRIPTORS_H_
