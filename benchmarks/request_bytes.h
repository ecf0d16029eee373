// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_BENCHMARKS_REQUEST_BYTES_H_
#define LOSSD_BENCHMARKS_REQUEST_BYTES_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/base/tensor_view.h"
#include "server/losses/loss.h"

namespace lossd {

// The bytes of a lossd.v1.ComputeGradientRequest for the evaluation that
// MakeLossCase makes; a ComputeLossRequest has the same. INTERNAL if lossd.v1
// has no such loss or tensor.
absl::StatusOr<std::string> RequestBytes(const LossDefinition& loss,
                                         const Shape& shape);

}  // namespace lossd

#endif  // LOSSD_BENCHMARKS_REQUEST_BYTES_H_
