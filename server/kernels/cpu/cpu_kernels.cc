// SPDX-License-Identifier: Apache-2.0

#include "server/kernels/cpu/cpu_kernels.h"

namespace lossd {

const std::vector<KernelTable>& CpuKernels() {
  static const auto* const kernels = [] {
    auto* all = new std::vector<KernelTable>(HighwayKernels());
    all->push_back(PortableKernels());
    return all;
  }();
  return *kernels;
}

}  // namespace lossd
