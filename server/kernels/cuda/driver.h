// SPDX-License-Identifier: Apache-2.0
//
// The CUDA driver's functions that lossd calls, found in libcuda.so.1 at run
// time: a lossd with CUDA starts where there is no driver.

#ifndef LOSSD_SERVER_KERNELS_CUDA_DRIVER_H_
#define LOSSD_SERVER_KERNELS_CUDA_DRIVER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/kernels/cuda/device.h"

namespace lossd::cuda {

// The kernels of one loss, as nvcc has compiled them for every architecture.
struct KernelImage {
  absl::string_view module;  // the loss's name
  const void* data = nullptr;
};

// The devices that the driver shows this process, which heeds
// CUDA_VISIBLE_DEVICES; a MIG slice is one. A module is loaded when the first
// of its kernels runs. `images` must outlive them. A device that cannot be
// opened is left out, after `on_failure` was told its name and why.
// FAILED_PRECONDITION if there is no driver, or no device is left.
absl::StatusOr<std::vector<std::unique_ptr<Device>>> OpenDevices(
    absl::Span<const KernelImage> images,
    absl::FunctionRef<void(const std::string&, const absl::Status&)>
        on_failure);

}  // namespace lossd::cuda

#endif  // LOSSD_SERVER_KERNELS_CUDA_DRIVER_H_
