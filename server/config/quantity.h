// SPDX-License-Identifier: Apache-2.0
//
// The text forms of quantities in settings. Every parser returns
// INVALID_ARGUMENT that says what form is expected and does not repeat the
// text; none accepts leading or trailing space. Every Format result is parsed
// back to the same value.

#ifndef LOSSD_SERVER_CONFIG_QUANTITY_H_
#define LOSSD_SERVER_CONFIG_QUANTITY_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace lossd {

// "true", "yes", "on", "1" and "false", "no", "off", "0", in any case.
absl::StatusOr<bool> ParseSwitch(absl::string_view text);

// A whole number in decimal digits, from 0 to 2^63 - 1.
absl::StatusOr<int64_t> ParseCount(absl::string_view text);

// A finite number, not negative, such as "65536" or "1e12".
absl::StatusOr<double> ParseOperations(absl::string_view text);
std::string FormatOperations(double operations);

// Bytes: a whole number, alone or directly followed by a unit: B, the binary
// KiB MiB GiB TiB (or Ki Mi Gi Ti), or the decimal kB MB GB TB. At most
// 2^63 - 1.
absl::StatusOr<int64_t> ParseBytes(absl::string_view text);

// The largest binary unit that divides `bytes`, such as "64MiB" or "1000".
std::string FormatBytes(int64_t bytes);

// A finite duration, not negative, such as "500ms", "5s" or "1m30s". Only 0
// can stand without a unit.
absl::StatusOr<absl::Duration> ParseInterval(absl::string_view text);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_QUANTITY_H_
