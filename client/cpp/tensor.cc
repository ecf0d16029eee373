// SPDX-License-Identifier: Apache-2.0
#include "lossd/tensor.h"

#include <bit>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace lossd {
namespace {

// The wire is little-endian, and spans are sent as they lie in memory.
static_assert(std::endian::native == std::endian::little);

template <typename T>
double Widen(T value) {
  if constexpr (std::same_as<T, Float16> || std::same_as<T, BFloat16>) {
    return ToFloat(value);
  } else {
    return static_cast<double>(value);
  }
}

template <TensorElement T>
absl::StatusOr<std::vector<double>> WidenAs(const v1::Tensor& tensor) {
  absl::StatusOr<std::vector<T>> values = CopyTensor<T>(tensor);
  if (!values.ok()) return values.status();
  std::vector<double> result;
  result.reserve(values->size());
  for (const T value : *values) result.push_back(Widen<T>(value));
  return result;
}

}  // namespace

std::string DtypeName(v1::Dtype dtype) {
  if (!v1::Dtype_IsValid(dtype)) {
    return absl::StrCat("dtype ", static_cast<int>(dtype));
  }
  return absl::AsciiStrToLower(
      absl::StripPrefix(v1::Dtype_Name(dtype), "DTYPE_"));
}

int64_t DtypeSize(v1::Dtype dtype) {
  switch (dtype) {
    case v1::DTYPE_UINT8:
    case v1::DTYPE_BOOL:
      return 1;
    case v1::DTYPE_FLOAT16:
    case v1::DTYPE_BFLOAT16:
      return 2;
    case v1::DTYPE_FLOAT32:
    case v1::DTYPE_INT32:
      return 4;
    case v1::DTYPE_FLOAT64:
    case v1::DTYPE_INT64:
      return 8;
    default:
      return 0;
  }
}

bool IsFloating(v1::Dtype dtype) {
  return dtype == v1::DTYPE_FLOAT16 || dtype == v1::DTYPE_BFLOAT16 ||
         dtype == v1::DTYPE_FLOAT32 || dtype == v1::DTYPE_FLOAT64;
}

absl::StatusOr<int64_t> ElementCount(Shape shape) {
  int64_t count = 1;
  for (const int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(count, size, &count)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "shape [", absl::StrJoin(shape, ", "),
          size < 0 ? "] has a negative size" : "] has too many elements"));
    }
  }
  return count;
}

namespace internal {

v1::Tensor MakeTensor(v1::Dtype dtype, absl::string_view data, Shape shape) {
  v1::Tensor tensor;
  tensor.set_dtype(dtype);
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
  tensor.set_data(data.data(), data.size());
  return tensor;
}

absl::StatusOr<absl::string_view> CheckedData(const v1::Tensor& tensor,
                                              v1::Dtype dtype,
                                              int64_t alignment) {
  if (tensor.content_case() != v1::Tensor::kData) {
    return absl::InvalidArgumentError(
        tensor.content_case() == v1::Tensor::kValues
            ? "the tensor holds `values`, not `data`: only evaluations "
              "written as `values` are answered so"
            : "the tensor has no content");
  }
  if (tensor.dtype() != dtype) {
    return absl::InvalidArgumentError(absl::StrCat("the tensor has dtype ",
                                                   DtypeName(tensor.dtype()),
                                                   ", not ", DtypeName(dtype)));
  }
  absl::StatusOr<int64_t> count = ElementCount(tensor.shape());
  if (!count.ok()) return count.status();
  const absl::string_view data = tensor.data();
  const int64_t size = static_cast<int64_t>(data.size());
  if (size % DtypeSize(dtype) != 0 || size / DtypeSize(dtype) != *count) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the tensor has ", size, " bytes, but shape [",
        absl::StrJoin(tensor.shape(), ", "), "] of ", DtypeName(dtype), " has ",
        *count, " elements of ", DtypeSize(dtype)));
  }
  if (reinterpret_cast<uintptr_t>(data.data()) % alignment != 0) {
    return absl::InvalidArgumentError(
        "the bytes of the tensor are not aligned for a view: copy them");
  }
  return data;
}

}  // namespace internal

absl::StatusOr<std::vector<double>> WidenTensor(const v1::Tensor& tensor) {
  switch (tensor.dtype()) {
    case v1::DTYPE_FLOAT16:
      return WidenAs<Float16>(tensor);
    case v1::DTYPE_BFLOAT16:
      return WidenAs<BFloat16>(tensor);
    case v1::DTYPE_FLOAT32:
      return WidenAs<float>(tensor);
    case v1::DTYPE_FLOAT64:
      return WidenAs<double>(tensor);
    case v1::DTYPE_INT32:
      return WidenAs<int32_t>(tensor);
    case v1::DTYPE_INT64:
      return WidenAs<int64_t>(tensor);
    case v1::DTYPE_UINT8:
      return WidenAs<uint8_t>(tensor);
    case v1::DTYPE_BOOL:
      return WidenAs<bool>(tensor);
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("the tensor has ", DtypeName(tensor.dtype()),
                       ", which this client does not know"));
  }
}

const v1::Tensor* FindGradient(const v1::Result& result,
                               absl::string_view wrt) {
  for (const v1::Gradient& gradient : result.gradients()) {
    if (gradient.wrt() == wrt) return &gradient.value();
  }
  return nullptr;
}

}  // namespace lossd
