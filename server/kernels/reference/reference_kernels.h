// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_KERNELS_REFERENCE_REFERENCE_KERNELS_H_
#define LOSSD_SERVER_KERNELS_REFERENCE_REFERENCE_KERNELS_H_

#include "server/kernels/kernel_table.h"

namespace lossd {

// Kernels of one double at a time, on libm's exp, log and log1p, whatever the
// dtype: independent of the vector code's arithmetic and order, for tests to
// compare with.
const KernelTable& ReferenceKernels();

}  // namespace lossd

#endif  // LOSSD_SERVER_KERNELS_REFERENCE_REFERENCE_KERNELS_H_
