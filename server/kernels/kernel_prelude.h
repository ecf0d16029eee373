// SPDX-License-Identifier: Apache-2.0
//
// What the -inl.h files need from outside.

#ifndef LOSSD_SERVER_KERNELS_KERNEL_PRELUDE_H_
#define LOSSD_SERVER_KERNELS_KERNEL_PRELUDE_H_

#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "absl/types/span.h"
#include "server/base/aligned_buffer.h"
#include "server/base/half.h"
#include "server/base/ordered_sum.h"
#include "server/base/tensor_view.h"
#include "server/kernels/float_bits.h"
#include "server/kernels/job.h"
#include "server/kernels/kernel_table.h"
#include "server/losses/loss.h"

#endif  // LOSSD_SERVER_KERNELS_KERNEL_PRELUDE_H_
