// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_ENGINE_CUDA_BACKEND_H_
#define LOSSD_SERVER_ENGINE_CUDA_BACKEND_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/backend.h"
#include "server/kernels/cuda/device.h"
#include "server/kernels/cuda/launch_shape.h"

namespace lossd {

struct CudaOptions {
  // Memory of a device for batches, all that are in flight together; at most
  // four fifths of what the device has.
  int64_t arena_bytes = int64_t{4} << 30;
  // Batches in flight on a device: the copies of one overlap the kernels of
  // another.
  int batches_in_flight = 2;
  // The longest row that a warp takes.
  int64_t warp_row = cuda::kWarpRow;
  // Told once of each device that cannot be used, or goes out of service. On
  // any thread.
  std::function<void(const std::string& device, const absl::Status& why)>
      on_failure = [](const std::string&, const absl::Status&) {};
};

// A backend on some GPUs, at least one. Each Run is one batch, or several where
// the memory of one is not enough, on the device with the fewest in flight; it
// waits where every device has its fill. Run ends with Job::failure set
//
//   - to RESOURCE_EXHAUSTED where a job does not fit into the arena, or the
//     device has not that much memory left;
//   - to UNAVAILABLE where no device is in service any more, two have failed,
//   or
//     a device refuses to compute it.
//
// A device that fails is out of service for good, and what it was computing is
// computed by another, once.
std::unique_ptr<Backend> MakeCudaBackend(
    std::vector<std::unique_ptr<cuda::Device>> devices,
    const CudaOptions& options);

// The same on the GPUs that the CUDA driver shows, with the kernels of this
// build. FAILED_PRECONDITION if there is none that can be used; UNIMPLEMENTED
// if the build has no kernels for them.
absl::StatusOr<std::unique_ptr<Backend>> OpenCudaBackend(
    const CudaOptions& options);

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_CUDA_BACKEND_H_
