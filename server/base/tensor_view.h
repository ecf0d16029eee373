// SPDX-License-Identifier: Apache-2.0
//
// Shapes, and tensors that somebody else owns.

#ifndef LOSSD_SERVER_BASE_TENSOR_VIEW_H_
#define LOSSD_SERVER_BASE_TENSOR_VIEW_H_

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "server/base/dtype.h"

namespace lossd {

// The size of each dimension, outermost first; empty for a scalar.
using Shape = absl::InlinedVector<int64_t, 5>;

// The product of the sizes; nullopt if a size is negative or the product does
// not fit in int64_t.
std::optional<int64_t> ElementCount(absl::Span<const int64_t> shape);

// As in "[2, 3]", and "[]" for a scalar.
std::string ShapeName(absl::Span<const int64_t> shape);

// The subscripts of a linear index, as in "[1, 4]".
std::string IndexName(int64_t index, absl::Span<const int64_t> shape);

// A dense row-major tensor in memory that the view does not own. `data` need
// not be aligned. A default view stands for a tensor that is absent.
struct TensorView {
  Dtype dtype = Dtype::kUnspecified;
  Shape shape;
  int64_t elements = 0;
  const uint8_t* data = nullptr;
  // Where the tensor is a part of another: that one, and the linear index there
  // of the part's first element. Only for names.
  const TensorView* whole = nullptr;
  int64_t begin = 0;

  bool present() const { return dtype != Dtype::kUnspecified; }
  // A tensor can be present with dtype and shape alone.
  bool readable() const { return data != nullptr || elements == 0; }

  // Names for messages: the shape, and the subscripts of a linear index, both
  // of the whole tensor.
  const Shape& named_shape() const {
    return whole == nullptr ? shape : whole->shape;
  }
  std::string PlaceName(int64_t i) const {
    return IndexName(begin + i, named_shape());
  }

  // The element at a linear index, for tensors of a class-index dtype.
  int64_t IndexAt(int64_t i) const {
    switch (dtype) {
      case Dtype::kInt64:
        return Load<int64_t>(i);
      case Dtype::kInt32:
        return Load<int32_t>(i);
      default:
        return data[i];
    }
  }

  // The element at a linear index, whatever the dtype; integers above 2^53 are
  // rounded.
  double ValueAt(int64_t i) const;

  template <class T>
  T Load(int64_t i) const {
    T value;
    std::memcpy(&value, data + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    return value;
  }
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BASE_TENSOR_VIEW_H_
