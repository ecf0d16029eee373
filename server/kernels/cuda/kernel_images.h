// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_KERNELS_CUDA_KERNEL_IMAGES_H_
#define LOSSD_SERVER_KERNELS_CUDA_KERNEL_IMAGES_H_

#include "absl/types/span.h"
#include "server/kernels/cuda/driver.h"

namespace lossd::cuda {

// The kernels that were compiled into this program, one image a loss; none in a
// build without LOSSD_CUDA.
absl::Span<const KernelImage> KernelImages();

}  // namespace lossd::cuda

#endif  // LOSSD_SERVER_KERNELS_CUDA_KERNEL_IMAGES_H_
