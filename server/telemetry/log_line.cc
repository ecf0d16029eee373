// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/log_line.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace lossd {
namespace {

constexpr size_t kMaxTextBytes = 1024;
constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";
constexpr absl::string_view kEllipsis = "\xE2\x80\xA6";

// The length of the well-formed UTF-8 sequence that `text` begins with, or 0:
// table 3-7 of the Unicode standard, which excludes overlong forms and
// surrogates by the range of the second byte.
size_t SequenceLength(absl::string_view text) {
  const auto byte = [&](size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const auto continues = [&](size_t from, size_t to) {
    for (size_t i = from; i < to; ++i) {
      if ((byte(i) & 0xC0) != 0x80) return false;
    }
    return true;
  };
  const int first = byte(0);
  const int second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1, 2) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (first == 0xE0 && second < 0xA0) return 0;
    if (first == 0xED && second > 0x9F) return 0;
    return continues(1, 3) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (first == 0xF0 && second < 0x90) return 0;
    if (first == 0xF4 && second > 0x8F) return 0;
    return continues(1, 4) ? 4 : 0;
  }
  return 0;
}

void AppendEscaped(char c, std::string& line) {
  switch (c) {
    case '"':
      line += "\\\"";
      return;
    case '\\':
      line += "\\\\";
      return;
    case '\n':
      line += "\\n";
      return;
    case '\r':
      line += "\\r";
      return;
    case '\t':
      line += "\\t";
      return;
    default:
      break;
  }
  if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
    absl::StrAppendFormat(&line, "\\u%04x", static_cast<unsigned char>(c));
  } else {
    line += c;
  }
}

// Whether a sequence is one of U+0080 to U+009F, which terminals may obey.
bool IsControl(absl::string_view sequence) {
  return sequence.size() == 2 && sequence[0] == '\xC2' &&
         static_cast<unsigned char>(sequence[1]) < 0xA0;
}

// A JSON string, which is also how text that needs quotes is written.
void AppendQuoted(absl::string_view text, std::string& line) {
  line += '"';
  for (size_t i = 0; i < text.size();) {
    size_t length = SequenceLength(text.substr(i));
    if (i + std::max<size_t>(length, 1) > kMaxTextBytes) {
      absl::StrAppend(&line, kEllipsis);
      break;
    }
    if (length == 1) {
      AppendEscaped(text[i], line);
    } else if (IsControl(text.substr(i, length))) {
      absl::StrAppendFormat(&line, "\\u%04x",
                            static_cast<unsigned char>(text[i + 1]));
    } else {
      absl::StrAppend(&line,
                      length == 0 ? kReplacement : text.substr(i, length));
    }
    i += std::max<size_t>(length, 1);
  }
  line += '"';
}

bool IsPlain(absl::string_view text) {
  if (text.empty() || text.size() > kMaxTextBytes) return false;
  for (unsigned char c : text) {
    if (!absl::ascii_isgraph(c) || c == '"' || c == '\\' || c == '=') {
      return false;
    }
  }
  return true;
}

absl::string_view NonFiniteName(double number) {
  if (std::isnan(number)) return "NaN";
  return number > 0 ? "Infinity" : "-Infinity";
}

void AppendText(LogFormat format, absl::string_view text, std::string& line) {
  if (format == LogFormat::kText && IsPlain(text)) {
    absl::StrAppend(&line, text);
  } else {
    AppendQuoted(text, line);
  }
}

void AppendValue(LogFormat format, const LogValue& value, std::string& line) {
  if (const auto* text = std::get_if<absl::string_view>(&value.get())) {
    AppendText(format, *text, line);
  } else if (const auto* truth = std::get_if<bool>(&value.get())) {
    absl::StrAppend(&line, *truth ? "true" : "false");
  } else if (const auto* integer = std::get_if<int64_t>(&value.get())) {
    absl::StrAppend(&line, *integer);
  } else {
    double number = std::get<double>(value.get());
    if (std::isfinite(number)) {
      absl::StrAppendFormat(&line, "%.9g", number);
    } else {
      AppendText(format, NonFiniteName(number), line);
    }
  }
}

absl::string_view LevelName(LogLevel level) {
  static constexpr std::array<absl::string_view, 4> kNames = {
      "debug", "info", "warning", "error"};
  return kNames[static_cast<size_t>(level)];
}

std::string Timestamp(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", time, absl::UTCTimeZone());
}

}  // namespace

std::string FormatLogLine(LogFormat format, absl::Time time, LogLevel level,
                          absl::string_view event,
                          absl::Span<const LogField> fields) {
  const bool json = format == LogFormat::kJson;
  std::string line;
  line.reserve(256);
  if (json) {
    absl::StrAppend(&line, "{\"time\":\"", Timestamp(time), "\",\"level\":\"",
                    LevelName(level), "\",\"event\":");
  } else {
    absl::StrAppend(&line, Timestamp(time), " ", LevelName(level), " ");
  }
  AppendText(format, event, line);
  for (const LogField& field : fields) {
    line += json ? ',' : ' ';
    AppendText(format, field.key, line);
    line += json ? ':' : '=';
    AppendValue(format, field.value, line);
  }
  if (json) line += '}';
  return line;
}

}  // namespace lossd
