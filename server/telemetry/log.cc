// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/log.h"

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/base_sink.h>

#include <mutex>
#include <string>
#include <utility>

namespace lossd {
namespace {

// Lines that may wait. A place takes about 400 bytes even when it is empty.
constexpr size_t kQueueLines = 512;

// Writes lines as they are: they are already formatted. spdlog's own sinks for
// the standard streams share one lock in the whole process.
class StreamSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit StreamSink(std::FILE* stream) : stream_(stream) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    std::fwrite(message.payload.data(), 1, message.payload.size(), stream_);
    std::fputc('\n', stream_);
    std::fflush(stream_);
  }
  void flush_() override { std::fflush(stream_); }

 private:
  std::FILE* const stream_;
};

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

// The pool goes first: its destructor writes what waits and joins its thread,
// so that nothing uses the logger any more.
struct Log::Writer {
  explicit Writer(std::FILE* stream)
      : pool(std::make_shared<spdlog::details::thread_pool>(kQueueLines, 1)) {
    logger = std::make_shared<spdlog::async_logger>(
        "lossd", std::make_shared<StreamSink>(stream), pool,
        spdlog::async_overflow_policy::overrun_oldest);
    logger->set_level(spdlog::level::debug);
  }

  std::shared_ptr<spdlog::async_logger> logger;
  std::shared_ptr<spdlog::details::thread_pool> pool;
};

Log::Log(LogOptions options)
    : options_(std::move(options)),
      writer_(std::make_unique<Writer>(options_.stream)) {}

Log::~Log() = default;

void Log::Event(LogLevel level, absl::string_view event,
                std::initializer_list<LogField> fields) {
  if (!Writes(level)) return;
  std::string line = FormatLogLine(options_.format, options_.now(), level,
                                   event, {fields.begin(), fields.size()});
  // The line is the message, not a format string.
  writer_->logger->log(ToSpdlog(level), spdlog::string_view_t(line));
}

int64_t Log::Lost() const {
  return static_cast<int64_t>(writer_->pool->overrun_counter());
}

}  // namespace lossd
