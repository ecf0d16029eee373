// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_KERNELS_KERNEL_TABLE_H_
#define LOSSD_SERVER_KERNELS_KERNEL_TABLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/kernels/job.h"

namespace lossd {

// Computes the units [begin, end) of a job. Calls for ranges that do not
// overlap may run at the same time.
using Kernel = Findings (*)(const Job& job, int64_t begin, int64_t end);

// The kernels of a loss, by the lanes that they compute in. Those of float are
// null for a loss whose geometries never ask for them.
struct LossKernels {
  Kernel float_lanes;
  Kernel double_lanes;
};

// The kernels for one instruction set. Dispatcher, tests and benchmarks read
// this table and no other.
struct KernelTable {
  std::string target;
  std::vector<LossKernels> losses;  // in the order of AllLosses()

  Findings Run(const Job& job, int64_t begin, int64_t end) const {
    const LossKernels& kernels = losses[job.loss_index];
    return job.float_lanes ? kernels.float_lanes(job, begin, end)
                           : kernels.double_lanes(job, begin, end);
  }
};

}  // namespace lossd

#endif  // LOSSD_SERVER_KERNELS_KERNEL_TABLE_H_
