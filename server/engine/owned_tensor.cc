// SPDX-License-Identifier: Apache-2.0

#include "server/engine/owned_tensor.h"

#include <cstring>

#include "server/base/half.h"

namespace lossd {

TensorView ViewOf(const OwnedTensor& tensor) {
  TensorView view;
  view.dtype = tensor.dtype;
  view.shape = tensor.shape;
  view.elements = ElementCount(tensor.shape).value();
  view.data = tensor.data.data();
  return view;
}

OwnedTensor Allocate(BufferPool& pool, Dtype dtype, const Shape& shape) {
  const int64_t elements = ElementCount(shape).value();
  return {dtype, shape, pool.Allocate(elements * DtypeSize(dtype))};
}

double StoreRounded(double value, Dtype dtype, uint8_t* to) {
  const auto put = [&](auto rounded) {
    std::memcpy(to, &rounded, sizeof(rounded));
  };
  switch (dtype) {
    case Dtype::kFloat16: {
      const Float16 half = ToFloat16(value);
      put(half);
      return ToFloat(half);
    }
    case Dtype::kBfloat16: {
      const Bfloat16 half = ToBfloat16(value);
      put(half);
      return ToFloat(half);
    }
    case Dtype::kFloat32:
      put(static_cast<float>(value));
      return static_cast<float>(value);
    default:
      put(value);
      return value;
  }
}

}  // namespace lossd
