// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_TELEMETRY_LOG_H_
#define LOSSD_SERVER_TELEMETRY_LOG_H_

#include <cstdint>
#include <cstdio>
#include <functional>
#include <initializer_list>
#include <memory>

#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/telemetry/log_line.h"

namespace lossd {

struct LogOptions {
  LogLevel level = LogLevel::kInfo;  // The least that is written.
  LogFormat format = LogFormat::kText;
  // Where lines go. Open as long as the log; not owned.
  std::FILE* stream = stderr;
  std::function<absl::Time()> now = absl::Now;
};

// The server's log: one line for each event, written by a thread of its own.
//
//   log.Event(LogLevel::kWarning, "request_failed",
//             {{"request_id", id}, {"code", "INTERNAL"}});
//
// Thread-safe. An event costs about a microsecond and never waits for the
// stream: at most 512 lines wait, and beyond them the oldest are lost and
// counted. Contents of tensors never belong into the log.
class Log {
 public:
  explicit Log(LogOptions options);
  // Writes what waits.
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Logs an event. `event` and the keys are words in snake_case that the
  // program chooses; the values may be anything (see FormatLogLine). Nothing
  // is kept of the arguments.
  void Event(LogLevel level, absl::string_view event,
             std::initializer_list<LogField> fields = {});

  // Whether events of this level are written; for fields that cost something.
  bool Writes(LogLevel level) const { return level >= options_.level; }

  // How many lines were lost so far.
  int64_t Lost() const;

 private:
  struct Writer;

  const LogOptions options_;
  std::unique_ptr<Writer> writer_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_TELEMETRY_LOG_H_
