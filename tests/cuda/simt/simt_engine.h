// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_CUDA_SIMT_SIMT_ENGINE_H_
#define LOSSD_TESTS_CUDA_SIMT_SIMT_ENGINE_H_

#include <cstdint>
#include <memory>

#include "server/engine/engine.h"
#include "server/kernels/cuda/device.h"
#include "server/kernels/cuda/launch_shape.h"
#include "tests/cuda/simt/machine.h"

namespace lossd::simt {

// The seed of a run, which it prints: LOSSD_SEED of the environment, or one by
// chance.
uint64_t Seed();

// A device of fibers with clusters of up to `max_cluster` blocks. `machine`
// must outlive it.
std::unique_ptr<cuda::Device> MakeFiberDevice(Machine* machine,
                                              int max_cluster = 8);

// The CUDA backend on one device, where rows longer than `warp_row` are a
// block's.
std::unique_ptr<Backend> MakeSimtBackend(std::unique_ptr<cuda::Device> device,
                                         int64_t warp_row = cuda::kWarpRow);

// An engine with that backend on a device of fibers.
std::unique_ptr<Engine> MakeSimtEngine(Machine* machine,
                                       int64_t warp_row = cuda::kWarpRow,
                                       int max_cluster = 8);

}  // namespace lossd::simt

#endif  // LOSSD_TESTS_CUDA_SIMT_SIMT_ENGINE_H_
