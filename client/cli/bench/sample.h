// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_BENCH_SAMPLE_H_
#define LOSSD_CLIENT_CLI_BENCH_SAMPLE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "lossd/v1/loss_service.pb.h"

// Requests made up from what a server says of its losses.

namespace lossd::cli {

// Reads "32x1000". INVALID_ARGUMENT if a size is not at least 1, or the product
// is over 2^31.
absl::StatusOr<std::vector<int64_t>> ParseSampleShape(absl::string_view text);

// `shape` with a dimension of `classes`: where the loss's first tensor has it,
// after its shape rule. INVALID_ARGUMENT if it has none.
absl::StatusOr<std::vector<int64_t>> WithClasses(
    const v1::LossDescriptor& descriptor, std::vector<int64_t> shape,
    int64_t classes);

// Fills each required tensor that the loss of `evaluation` lacks, with values
// of its domain that follow from `seed` alone: floating ones of `dtype`,
// indices as int64. The first tensor has `shape`; for a rule [T, N, C] a shape
// of two dimensions is rows in sequences of at most 16 steps. If `evaluation`
// has the first tensor, its shape counts.
//
// INVALID_ARGUMENT if the shape has too few dimensions for the loss. Shapes
// that do not fit it otherwise are sent as they are, for the server to explain.
absl::Status FillTensors(const v1::LossDescriptor& descriptor,
                         absl::Span<const int64_t> shape, v1::Dtype dtype,
                         uint64_t seed, v1::Evaluation* evaluation);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_BENCH_SAMPLE_H_
