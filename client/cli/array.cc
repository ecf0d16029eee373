// SPDX-License-Identifier: Apache-2.0
#include "client/cli/array.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

// Past the int64 range in both directions, exactly.
constexpr double kTwoTo63 = 9223372036854775808.0;

template <typename T>
absl::StatusOr<T> Convert(int64_t value) {
  if constexpr (std::same_as<T, Float16>) {
    return ToFloat16(static_cast<double>(value));
  } else if constexpr (std::same_as<T, BFloat16>) {
    return ToBFloat16(static_cast<double>(value));
  } else if constexpr (std::floating_point<T>) {
    return static_cast<T>(value);
  } else {
    if (value < int64_t{std::numeric_limits<T>::min()} ||
        value > int64_t{std::numeric_limits<T>::max()}) {
      return absl::InvalidArgumentError(
          absl::StrCat(value, " does not fit ", DtypeName(kDtypeOf<T>)));
    }
    return static_cast<T>(value);
  }
}

template <typename T>
absl::StatusOr<T> Convert(double value) {
  if constexpr (std::same_as<T, Float16>) {
    return ToFloat16(value);
  } else if constexpr (std::same_as<T, BFloat16>) {
    return ToBFloat16(value);
  } else if constexpr (std::floating_point<T>) {
    return static_cast<T>(value);
  } else {
    if (!(value >= -kTwoTo63 && value < kTwoTo63) ||
        std::trunc(value) != value) {
      return absl::InvalidArgumentError(
          absl::StrCat(value, " is not an integer that ",
                       DtypeName(kDtypeOf<T>), " can hold"));
    }
    return Convert<T>(static_cast<int64_t>(value));
  }
}

template <typename T, typename From>
absl::StatusOr<v1::Tensor> ConvertAll(const std::vector<From>& from,
                                      const std::vector<int64_t>& shape) {
  // A vector<bool> has no bytes to send.
  using Stored = std::conditional_t<std::same_as<T, bool>, uint8_t, T>;
  std::vector<Stored> values;
  values.reserve(from.size());
  for (size_t i = 0; i < from.size(); ++i) {
    absl::StatusOr<T> value = Convert<T>(from[i]);
    if (!value.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("element ", i, ": ", value.status().message()));
    }
    values.push_back(static_cast<Stored>(*value));
  }
  v1::Tensor tensor = MakeTensor(values, shape);
  tensor.set_dtype(kDtypeOf<T>);
  return tensor;
}

template <typename T>
absl::StatusOr<v1::Tensor> ConvertArray(const Array& array) {
  return array.is_integer() ? ConvertAll<T>(array.integers, array.shape)
                            : ConvertAll<T>(array.floats, array.shape);
}

}  // namespace

absl::StatusOr<v1::Tensor> ToTensor(const Array& array, v1::Dtype dtype) {
  switch (dtype) {
    case v1::DTYPE_FLOAT16:
      return ConvertArray<Float16>(array);
    case v1::DTYPE_BFLOAT16:
      return ConvertArray<BFloat16>(array);
    case v1::DTYPE_FLOAT32:
      return ConvertArray<float>(array);
    case v1::DTYPE_FLOAT64:
      return ConvertArray<double>(array);
    case v1::DTYPE_INT32:
      return ConvertArray<int32_t>(array);
    case v1::DTYPE_INT64:
      return ConvertArray<int64_t>(array);
    case v1::DTYPE_UINT8:
      return ConvertArray<uint8_t>(array);
    case v1::DTYPE_BOOL:
      return ConvertArray<bool>(array);
    default:
      return absl::InvalidArgumentError(
          absl::StrCat(DtypeName(dtype), " is not a dtype"));
  }
}

}  // namespace lossd::cli
