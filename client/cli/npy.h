// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_NPY_H_
#define LOSSD_CLIENT_CLI_NPY_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/array.h"
#include "lossd/v1/tensor.pb.h"

// The file format of numpy.save:
// https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

namespace lossd::cli {

// Whether `bytes` begin as an npy file does.
bool IsNpy(absl::string_view bytes);

// Reads an npy file of format 1.0, 2.0 or 3.0, of elements f2, f4, f8, i4, i8,
// u1 or b1, of either byte order, in C or Fortran order. INVALID_ARGUMENT if it
// is anything else, or too short or too long for its shape.
absl::StatusOr<Array> ParseNpy(absl::string_view bytes);

// An npy file (format 1.0, C order) of a tensor that holds `data`. bfloat16,
// which numpy lacks, is widened to f4.
absl::StatusOr<std::string> EncodeNpy(const v1::Tensor& tensor);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_NPY_H_
