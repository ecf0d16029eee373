// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_ARRAY_H_
#define LOSSD_CLIENT_CLI_ARRAY_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "lossd/v1/tensor.pb.h"

namespace lossd::cli {

// Numbers as a user gave them, row-major, before it is known which dtype the
// loss wants them in.
struct Array {
  // How the numbers are written.
  enum class Kind { kBool, kInteger, kFloating };

  Kind kind = Kind::kInteger;
  // The dtype of a file that has one (npy); unspecified for text.
  v1::Dtype dtype = v1::DTYPE_UNSPECIFIED;
  // Empty for a scalar.
  std::vector<int64_t> shape;
  // The elements: in `integers` for kBool (0 and 1) and kInteger, in `floats`
  // for kFloating.
  std::vector<int64_t> integers;
  std::vector<double> floats;

  bool is_integer() const { return kind != Kind::kFloating; }
};

// The array as a tensor of `dtype`. To a floating dtype each number is rounded
// once, to nearest even. INVALID_ARGUMENT if an integer dtype cannot hold a
// number exactly.
absl::StatusOr<v1::Tensor> ToTensor(const Array& array, v1::Dtype dtype);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_ARRAY_H_
