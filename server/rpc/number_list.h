// SPDX-License-Identifier: Apache-2.0
//
// Tensors as people write them: nested lists of numbers.

#ifndef LOSSD_SERVER_RPC_NUMBER_LIST_H_
#define LOSSD_SERVER_RPC_NUMBER_LIST_H_

#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/struct.pb.h"
#include "server/base/aligned_buffer.h"
#include "server/base/dtype.h"
#include "server/base/tensor_view.h"
#include "server/losses/violations.h"

namespace lossd {

// The tensor that a violation is about.
struct TensorName {
  absl::string_view name;  // such as "target"
  absl::string_view path;  // such as "evaluation.cross_entropy.target"
};

// Numbers in row-major order, with the nesting that they were written in.
struct NumberList {
  Shape shape;
  std::vector<double> numbers;

  bool AllIntegers() const;  // finite and integral
  bool AllZeroOrOne() const;
};

// Reads a number, or nested lists of numbers whose lists of one depth have
// equal length; "NaN", "Infinity" and "-Infinity" are numbers, true and false
// are 1 and 0. Anything else is a violation that names its position, and gives
// nullopt; so are more than `max_dimensions` lists in one another.
std::optional<NumberList> ReadNumbers(const google::protobuf::Value& value,
                                      const TensorName& name,
                                      int max_dimensions,
                                      Violations* violations);

// The numbers in `dtype`, rounded once where it is floating. Numbers that an
// integer dtype cannot hold exactly are a violation that names the first one
// and counts all; the buffer is then unusable.
AlignedBuffer PackNumbers(const NumberList& list, Dtype dtype,
                          const TensorName& name, Violations* violations);

// Writes a tensor as nested lists. Each number is the shortest decimal that
// reads back as the same float32 (float64, for a tensor of that dtype).
void WriteNumbers(const TensorView& tensor, google::protobuf::Value* value);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_NUMBER_LIST_H_
