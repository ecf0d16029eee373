// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_ROWS_H_
#define LOSSD_ROWS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "lossd/tensor.h"

// The tensors of an evaluation that is larger than a message: see
// Client::ComputeRows.

namespace lossd {

// The elements of a tensor whose rows are streamed, in the caller's memory.
struct StreamedTensor {
  // The field name in the loss, such as "input".
  std::string name;
  absl::string_view data;
};

// Where the gradient with respect to a streamed tensor goes, in the caller's
// memory. It has room for the tensor's elements in the gradient's dtype.
struct StreamedGradient {
  std::string wrt;
  absl::Span<char> memory;
};

// A tensor for the head: of the dtype of T and of that shape, without content.
template <TensorElement T>
v1::Tensor DeclareTensor(Shape shape) {
  v1::Tensor tensor;
  tensor.set_dtype(kDtypeOf<T>);
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
  return tensor;
}

// Elements that are not copied: they stay where they are until the call ends.
template <TensorElement T>
StreamedTensor StreamFrom(absl::string_view name, absl::Span<const T> values) {
  return {std::string(name),
          {reinterpret_cast<const char*>(values.data()),
           values.size() * sizeof(T)}};
}

// Memory for a gradient, likewise.
template <TensorElement T>
StreamedGradient StreamInto(absl::string_view wrt, absl::Span<T> values) {
  return {std::string(wrt),
          absl::MakeSpan(reinterpret_cast<char*>(values.data()),
                         values.size() * sizeof(T))};
}

}  // namespace lossd

#endif  // LOSSD_ROWS_H_
