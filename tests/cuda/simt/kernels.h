// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_CUDA_SIMT_KERNELS_H_
#define LOSSD_TESTS_CUDA_SIMT_KERNELS_H_

#include <string>

#include "server/kernels/cuda/batch.h"

namespace lossd::simt {

// What each thread of a kernel's grid calls, on a machine.
using KernelFunction = void (*)(const cuda::Batch&);

// The kernel of that name, such as "lossd_mse_loss_warp_float"; null if there
// is none.
KernelFunction FindKernel(const std::string& name);

}  // namespace lossd::simt

#endif  // LOSSD_TESTS_CUDA_SIMT_KERNELS_H_
