// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_TELEMETRY_LOG_LINE_H_
#define LOSSD_SERVER_TELEMETRY_LOG_LINE_H_

#include <concepts>
#include <cstdint>
#include <string>
#include <variant>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace lossd {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

// A value in a log line: text, a number, true or false, or a duration, which
// is written as seconds. Refers to text that it does not own.
class LogValue {
 public:
  LogValue(absl::string_view text) : value_(text) {}  // NOLINT: implicit
  LogValue(const char* text)                          // NOLINT: implicit
      : value_(absl::string_view(text)) {}
  LogValue(const std::string& text)  // NOLINT: implicit
      : value_(absl::string_view(text)) {}
  LogValue(bool value) : value_(value) {}      // NOLINT: implicit
  LogValue(double number) : value_(number) {}  // NOLINT: implicit
  LogValue(absl::Duration duration)            // NOLINT: implicit
      : value_(absl::ToDoubleSeconds(duration)) {}
  template <std::integral Integer>
  LogValue(Integer number)  // NOLINT: implicit
      : value_(static_cast<int64_t>(number)) {}

  const auto& get() const { return value_; }

 private:
  std::variant<absl::string_view, bool, double, int64_t> value_;
};

struct LogField {
  absl::string_view key;
  LogValue value;
};

// One line, without its end, whatever the values contain. In JSON:
//
//   {"time":"2026-01-31T23:59:59.123456Z","level":"warning",
//    "event":"request_failed","request_id":"a b","seconds":0.5}
//
// and as text:
//
//   2026-01-31T23:59:59.123456Z warning request_failed request_id="a b"
//   seconds=0.5
//
// (each in one line). Texts are cut to 1024 bytes; control characters are
// escaped; bytes that are not UTF-8 become U+FFFD. Numbers that JSON does not
// have are the texts "NaN", "Infinity" and "-Infinity".
std::string FormatLogLine(LogFormat format, absl::Time time, LogLevel level,
                          absl::string_view event,
                          absl::Span<const LogField> fields);

}  // namespace lossd

#endif  // LOSSD_SERVER_TELEMETRY_LOG_LINE_H_
