// SPDX-License-Identifier: Apache-2.0

#include "server/kernels/reference/reference_kernels.h"

namespace lossd {

#define LOSSD_LOSS(name)          \
  namespace name {                \
  LossKernels ReferenceKernels(); \
  }
#include "loss_rows.inc"
#undef LOSSD_LOSS

const KernelTable& ReferenceKernels() {
  static const KernelTable table = {"reference",
                                    {
#define LOSSD_LOSS(name) name::ReferenceKernels(),
#include "loss_rows.inc"
#undef LOSSD_LOSS
                                    }};
  return table;
}

}  // namespace lossd
