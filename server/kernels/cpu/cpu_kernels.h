// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_KERNELS_CPU_CPU_KERNELS_H_
#define LOSSD_SERVER_KERNELS_CPU_CPU_KERNELS_H_

#include <vector>

#include "server/kernels/kernel_table.h"

namespace lossd {

// The kernels for every instruction set that this CPU has: those vectorised
// with Highway, the best first, and last those in plain C++, named "PORTABLE",
// which run on any CPU. All give the same bits.
const std::vector<KernelTable>& CpuKernels();

}  // namespace lossd

#endif  // LOSSD_SERVER_KERNELS_CPU_CPU_KERNELS_H_
