// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_CUDA_SIMT_SIMT_ENGINE_H_
#define LOSSD_TESTS_CUDA_SIMT_SIMT_ENGINE_H_

#include <cstdint>
#include <memory>

#include "server/engine/engine.h"
#include "server/kernels/cuda/launch_shape.h"
#include "tests/cuda/simt/machine.h"

namespace lossd::simt {

// The seed of a run, which it prints: LOSSD_SEED of the environment, or one by
// chance.
uint64_t Seed();

// An engine with the CUDA backend on one device of fibers, with clusters of up
// to `max_cluster` blocks, where rows longer than `warp_row` are a block's.
// `machine` must outlive it.
std::unique_ptr<Engine> MakeSimtEngine(Machine* machine,
                                       int64_t warp_row = cuda::kWarpRow,
                                       int max_cluster = 8);

}  // namespace lossd::simt

#endif  // LOSSD_TESTS_CUDA_SIMT_SIMT_ENGINE_H_
