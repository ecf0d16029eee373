// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_EXPLAIN_H_
#define LOSSD_CLIENT_CLI_EXPLAIN_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd::cli {

// The working of a loss as one table with a row for each elementwise loss: what
// went in, and what the server's outputs say of it. Every number comes from the
// request or the answer. Of more than 40 rows the middle is left out, unless
// `full`.
absl::StatusOr<std::string> Explain(const v1::LossDescriptor& descriptor,
                                    const v1::ComputeGradientRequest& request,
                                    const v1::ComputeGradientResponse& response,
                                    bool full);

// How the elements of a tensor are shared out among the rows of a table.
struct RowMapping {
  // The element of row r, or the first of its vector, is at
  // (r / inner) * outer_stride + (r % inner) / repeat.
  int64_t inner = 1;
  int64_t outer_stride = 1;
  int64_t repeat = 1;
  // A row has this many elements, `stride` apart; 0 for a single number.
  int64_t length = 0;
  int64_t stride = 1;
};

// The mapping of a tensor of `shape` to rows of shape `rows`, if it is
// - a scalar, shown in each row;
// - of the same shape: one element a row;
// - `rows` with one more dimension: a vector a row. Where more than one
//   dimension could be the vector's, it is dimension 1 if `classes_second`,
//   else the last;
// - a prefix of `rows`: an element for all rows below it.
std::optional<RowMapping> MapRows(absl::Span<const int64_t> shape,
                                  absl::Span<const int64_t> rows,
                                  bool classes_second);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_EXPLAIN_H_
