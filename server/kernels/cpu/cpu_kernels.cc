// SPDX-License-Identifier: Apache-2.0

#include "server/kernels/cpu/cpu_kernels.h"

#include "hwy/highway.h"

namespace lossd {

#define LOSSD_LOSS(name)         \
  namespace name {               \
  LossKernels HighwayKernels();  \
  LossKernels PortableKernels(); \
  }
#include "loss_rows.inc"
#undef LOSSD_LOSS

namespace {

// The kernels of the target that Highway would choose now.
std::vector<LossKernels> ChosenKernels() {
  return {
#define LOSSD_LOSS(name) name::HighwayKernels(),
#include "loss_rows.inc"
#undef LOSSD_LOSS
  };
}

KernelTable PortableTable() {
  return {"PORTABLE",
          {
#define LOSSD_LOSS(name) name::PortableKernels(),
#include "loss_rows.inc"
#undef LOSSD_LOSS
          }};
}

std::vector<KernelTable> MakeTables() {
  std::vector<KernelTable> tables;
  for (int64_t target : hwy::SupportedAndGeneratedTargets()) {
    // Restrict the dispatcher to one target, ask it, and lift the restriction.
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    std::vector<LossKernels> kernels = ChosenKernels();
    if (kernels[0].double_lanes != nullptr) {
      tables.push_back({hwy::TargetName(target), std::move(kernels)});
    }
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().DeInit();
  tables.push_back(PortableTable());
  return tables;
}

}  // namespace

const std::vector<KernelTable>& CpuKernels() {
  static const auto* const tables = new std::vector<KernelTable>(MakeTables());
  return *tables;
}

}  // namespace lossd
