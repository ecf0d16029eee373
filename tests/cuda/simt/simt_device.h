// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_CUDA_SIMT_SIMT_DEVICE_H_
#define LOSSD_TESTS_CUDA_SIMT_SIMT_DEVICE_H_

#include <cstdint>
#include <memory>

#include "server/kernels/cuda/device.h"
#include "tests/cuda/simt/machine.h"

namespace lossd::simt {

// lossd's kernels on a machine, with the host's memory. Everything happens at
// once, on the calling thread. `machine` must outlive it. Jobs are noted in the
// file that LOSSD_SIMT_JOBS names, if any.
std::unique_ptr<cuda::Device> MakeSimtDevice(const cuda::DeviceInfo& info,
                                             Machine* machine);

}  // namespace lossd::simt

#endif  // LOSSD_TESTS_CUDA_SIMT_SIMT_DEVICE_H_
