// SPDX-License-Identifier: Apache-2.0
#include "client/cli/number.h"

#include <charconv>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

template <typename T>
std::string Shortest(T value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, end.ptr);
}

template <typename T>
std::string Format(T value) {
  if constexpr (std::same_as<T, Float16> || std::same_as<T, BFloat16>) {
    return Shortest(ToFloat(value));
  } else if constexpr (std::floating_point<T>) {
    return Shortest(value);
  } else {
    return absl::StrCat(static_cast<int64_t>(value));
  }
}

template <typename T>
absl::StatusOr<std::vector<std::string>> FormatAll(const v1::Tensor& tensor) {
  absl::StatusOr<std::vector<T>> values = CopyTensor<T>(tensor);
  if (!values.ok()) return values.status();
  std::vector<std::string> texts;
  texts.reserve(values->size());
  for (const T value : *values) texts.push_back(Format<T>(value));
  return texts;
}

}  // namespace

std::string FormatNumber(float value) { return Shortest(value); }
std::string FormatNumber(double value) { return Shortest(value); }

std::string FormatBrief(double value) {
  if (!std::isfinite(value)) return Shortest(value);
  const double magnitude = std::fabs(value);
  if (value == 0 || (magnitude >= 1e-3 && magnitude < 1e6)) {
    return absl::StrFormat("%.4f", value);
  }
  return absl::StrFormat("%.3e", value);
}

absl::StatusOr<std::vector<std::string>> FormatElements(
    const v1::Tensor& tensor) {
  switch (tensor.dtype()) {
    case v1::DTYPE_FLOAT16:
      return FormatAll<Float16>(tensor);
    case v1::DTYPE_BFLOAT16:
      return FormatAll<BFloat16>(tensor);
    case v1::DTYPE_FLOAT32:
      return FormatAll<float>(tensor);
    case v1::DTYPE_FLOAT64:
      return FormatAll<double>(tensor);
    case v1::DTYPE_INT32:
      return FormatAll<int32_t>(tensor);
    case v1::DTYPE_INT64:
      return FormatAll<int64_t>(tensor);
    case v1::DTYPE_UINT8:
      return FormatAll<uint8_t>(tensor);
    case v1::DTYPE_BOOL:
      return FormatAll<bool>(tensor);
    default:
      return absl::InvalidArgumentError(absl::StrCat(
          "the server sent a tensor of ", DtypeName(tensor.dtype())));
  }
}

std::optional<double> ParseDouble(absl::string_view text) {
  // SimpleAtod also takes hexadecimal and surrounding spaces.
  if (text.empty() || text.find_first_of("xX \t\r\n") != text.npos) {
    return std::nullopt;
  }
  double value = 0;
  if (!absl::SimpleAtod(text, &value)) return std::nullopt;
  return value;
}

std::optional<int64_t> ParseInteger(absl::string_view text) {
  int64_t value = 0;
  if (text.empty() || text.find_first_of(" \t\r\n") != text.npos ||
      !absl::SimpleAtoi(text, &value)) {
    return std::nullopt;
  }
  return value;
}

}  // namespace lossd::cli
