// SPDX-License-Identifier: Apache-2.0

#include "server/config/quantity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace lossd {
namespace {

struct ByteUnit {
  absl::string_view name;
  int64_t bytes;
};

// The binary units with an "i" that FormatBytes writes come first, largest
// first.
constexpr std::array<ByteUnit, 13> kByteUnits = {{
    {"TiB", int64_t{1} << 40},
    {"GiB", int64_t{1} << 30},
    {"MiB", int64_t{1} << 20},
    {"KiB", int64_t{1} << 10},
    {"B", 1},
    {"Ti", int64_t{1} << 40},
    {"Gi", int64_t{1} << 30},
    {"Mi", int64_t{1} << 20},
    {"Ki", int64_t{1} << 10},
    {"TB", 1'000'000'000'000},
    {"GB", 1'000'000'000},
    {"MB", 1'000'000},
    {"kB", 1'000},
}};
constexpr size_t kBinaryUnits = 4;

bool IsDigits(absl::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

bool IsOneOf(absl::string_view text,
             std::initializer_list<absl::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](absl::string_view word) {
    return absl::EqualsIgnoreCase(text, word);
  });
}

}  // namespace

absl::StatusOr<bool> ParseSwitch(absl::string_view text) {
  if (IsOneOf(text, {"true", "yes", "on", "1"})) return true;
  if (IsOneOf(text, {"false", "no", "off", "0"})) return false;
  return absl::InvalidArgumentError("is neither true nor false");
}

absl::StatusOr<int64_t> ParseCount(absl::string_view text) {
  int64_t count = 0;
  if (!IsDigits(text)) {
    return absl::InvalidArgumentError("is not a whole number");
  }
  if (!absl::SimpleAtoi(text, &count)) {
    return absl::InvalidArgumentError("is too large");
  }
  return count;
}

absl::StatusOr<double> ParseOperations(absl::string_view text) {
  double operations = 0;
  // SimpleAtod also accepts space, "nan", "inf" and hexadecimal forms.
  bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return absl::ascii_isdigit(c) || c == '.' || c == 'e' || c == 'E' ||
           c == '+' || c == '-';
  });
  if (!plain || !absl::SimpleAtod(text, &operations) ||
      !std::isfinite(operations) || std::signbit(operations)) {
    return absl::InvalidArgumentError(
        "is not a number of operations such as 65536 or 1e12");
  }
  return operations;
}

std::string FormatOperations(double operations) {
  std::string digits = absl::StrFormat("%.15g", operations);
  double parsed = 0;
  if (absl::SimpleAtod(digits, &parsed) && parsed == operations) return digits;
  return absl::StrFormat("%.17g", operations);
}

absl::StatusOr<int64_t> ParseBytes(absl::string_view text) {
  size_t digits = 0;
  while (digits < text.size() && absl::ascii_isdigit(text[digits])) ++digits;
  int64_t unit = 0;
  if (digits == text.size()) unit = 1;
  for (const ByteUnit& candidate : kByteUnits) {
    if (text.substr(digits) == candidate.name) unit = candidate.bytes;
  }
  if (digits == 0 || unit == 0) {
    return absl::InvalidArgumentError(
        "is not a size in bytes such as 1000, 512KiB, 64MiB or 1GiB");
  }
  int64_t count = 0;
  if (!absl::SimpleAtoi(text.substr(0, digits), &count) ||
      count > std::numeric_limits<int64_t>::max() / unit) {
    return absl::InvalidArgumentError("is too large");
  }
  return count * unit;
}

std::string FormatBytes(int64_t bytes) {
  for (size_t i = 0; i < kBinaryUnits; ++i) {
    const ByteUnit& unit = kByteUnits[i];
    if (bytes > 0 && bytes % unit.bytes == 0) {
      return absl::StrCat(bytes / unit.bytes, unit.name);
    }
  }
  return absl::StrCat(bytes);
}

absl::StatusOr<absl::Duration> ParseInterval(absl::string_view text) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) ||
      duration < absl::ZeroDuration() || duration == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError(
        "is not a duration such as 500ms, 5s or 1m30s");
  }
  return duration;
}

}  // namespace lossd
