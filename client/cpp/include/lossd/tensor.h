// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_TENSOR_H_
#define LOSSD_TENSOR_H_

#include <concepts>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "lossd/float16.h"
#include "lossd/v1/loss_service.pb.h"
#include "lossd/v1/tensor.pb.h"

// Tensors of the wire from memory, and memory from tensors of the wire.
//
// Everything here is a pure function, safe to call from any thread.

namespace lossd {

// The size of each dimension; none make a scalar.
using Shape = absl::Span<const int64_t>;

// The dtype of each C++ type that can be an element.
template <typename T>
inline constexpr v1::Dtype kDtypeOf = v1::DTYPE_UNSPECIFIED;
template <>
inline constexpr v1::Dtype kDtypeOf<Float16> = v1::DTYPE_FLOAT16;
template <>
inline constexpr v1::Dtype kDtypeOf<BFloat16> = v1::DTYPE_BFLOAT16;
template <>
inline constexpr v1::Dtype kDtypeOf<float> = v1::DTYPE_FLOAT32;
template <>
inline constexpr v1::Dtype kDtypeOf<double> = v1::DTYPE_FLOAT64;
template <>
inline constexpr v1::Dtype kDtypeOf<int32_t> = v1::DTYPE_INT32;
template <>
inline constexpr v1::Dtype kDtypeOf<int64_t> = v1::DTYPE_INT64;
template <>
inline constexpr v1::Dtype kDtypeOf<uint8_t> = v1::DTYPE_UINT8;
template <>
inline constexpr v1::Dtype kDtypeOf<bool> = v1::DTYPE_BOOL;

template <typename T>
concept TensorElement = kDtypeOf<T>
!= v1::DTYPE_UNSPECIFIED;

// The name without its prefix, in lower case, as in PyTorch: "float32". For a
// number that is no dtype: "dtype 99".
std::string DtypeName(v1::Dtype dtype);

// Bytes of one element; 0 if `dtype` is not a dtype.
int64_t DtypeSize(v1::Dtype dtype);

// Whether `dtype` is one of the floating dtypes.
bool IsFloating(v1::Dtype dtype);

// The product of `shape`. INVALID_ARGUMENT if a size is negative or the product
// does not fit an int64.
absl::StatusOr<int64_t> ElementCount(Shape shape);

namespace internal {
v1::Tensor MakeTensor(v1::Dtype dtype, absl::string_view data, Shape shape);
// The content of `tensor` if it is `data` of `dtype` and of the length that its
// shape says, and aligned to `alignment`.
absl::StatusOr<absl::string_view> CheckedData(const v1::Tensor& tensor,
                                              v1::Dtype dtype,
                                              int64_t alignment);
}  // namespace internal

// A tensor with a copy of `values`, which are in row-major order. Costs one
// copy. If there are not product(shape) values the server answers
// INVALID_ARGUMENT with LENGTH_MISMATCH: the lengths are not compared here.
//
//     MakeTensor(std::vector<float>{...}, {2, 3})
//     MakeTensor<float>({0.5, -1.5}, {2})
//     MakeTensor(absl::MakeConstSpan(pointer, count), shape)
template <TensorElement T>
v1::Tensor MakeTensor(absl::Span<const T> values, Shape shape) {
  return internal::MakeTensor(
      kDtypeOf<T>,
      absl::string_view(reinterpret_cast<const char*>(values.data()),
                        values.size() * sizeof(T)),
      shape);
}

// The same for anything contiguous, such as a vector or an array.
template <typename Container>
requires TensorElement<typename Container::value_type> &&
    std::convertible_to<const Container&,
                        absl::Span<const typename Container::value_type>> &&
    (!std::same_as<Container, absl::Span<const typename Container::value_type>>)
        v1::Tensor MakeTensor(const Container& values, Shape shape) {
  return MakeTensor<typename Container::value_type>(
      absl::Span<const typename Container::value_type>(values), shape);
}

// A view of the elements of `tensor`, valid for as long as `tensor` is neither
// changed nor destroyed. Copies nothing.
//
// Errors: INVALID_ARGUMENT if the tensor has another dtype, holds `values`
// rather than `data`, or has not product(shape) elements. bool has no view: use
// CopyTensor, or see the bytes through ViewTensor<uint8_t>.
template <TensorElement T>
requires(!std::same_as<T, bool>) absl::StatusOr<absl::Span<const T>> ViewTensor(
    const v1::Tensor& tensor) {
  const bool bytes =
      std::same_as<T, uint8_t> && tensor.dtype() == v1::DTYPE_BOOL;
  absl::StatusOr<absl::string_view> data = internal::CheckedData(
      tensor, bytes ? v1::DTYPE_BOOL : kDtypeOf<T>, alignof(T));
  if (!data.ok()) return data.status();
  return absl::Span<const T>(reinterpret_cast<const T*>(data->data()),
                             data->size() / sizeof(T));
}
template <TensorElement T>
absl::StatusOr<absl::Span<const T>> ViewTensor(v1::Tensor&& tensor) = delete;

// A copy of the elements of `tensor`. Errors as ViewTensor.
template <TensorElement T>
absl::StatusOr<std::vector<T>> CopyTensor(const v1::Tensor& tensor) {
  absl::StatusOr<absl::string_view> data =
      internal::CheckedData(tensor, kDtypeOf<T>, 1);
  if (!data.ok()) return data.status();
  std::vector<T> values(data->size() / sizeof(T));
  if constexpr (std::same_as<T, bool>) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = (*data)[i] != 0;
  } else {
    data->copy(reinterpret_cast<char*>(values.data()), data->size());
  }
  return values;
}

// The elements of a tensor of any dtype, as doubles: exact, but for int64
// values beyond 2^53, which are rounded. Errors as ViewTensor, but any dtype
// goes.
absl::StatusOr<std::vector<double>> WidenTensor(const v1::Tensor& tensor);

// The gradient with respect to the tensor named `wrt`, or null. It belongs to
// `result`.
const v1::Tensor* FindGradient(const v1::Result& result, absl::string_view wrt);

}  // namespace lossd

#endif  // LOSSD_TENSOR_H_
