// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_KERNELS_CPU_CPU_KERNELS_H_
#define LOSSD_SERVER_KERNELS_CPU_CPU_KERNELS_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "server/kernels/kernel_table.h"

namespace lossd {

// The kernels for every instruction set that this CPU has, the best first and
// the portable ones, which run on any CPU, last. All give the same bits.
const std::vector<KernelTable>& CpuKernels();

// The kernels in plain C++, named "PORTABLE".
KernelTable PortableKernels();

// Those of CpuKernels() that are vectorised with Highway.
std::vector<KernelTable> HighwayKernels();

}  // namespace lossd

#endif  // LOSSD_SERVER_KERNELS_CPU_CPU_KERNELS_H_
