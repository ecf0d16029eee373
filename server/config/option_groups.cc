// SPDX-License-Identifier: Apache-2.0

#include "server/config/option_groups.h"

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "server/config/host_port.h"
#include "server/config/option_kinds.h"
#include "server/config/unix_address.h"

// The field that a row is about, of constant and other settings alike.
#define LOSSD_FIELD(path) \
  [](auto& s) -> auto& { return s.path; }

namespace lossd {
namespace {

constexpr int64_t kKiB = int64_t{1} << 10;
constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kTiB = int64_t{1} << 40;
constexpr int64_t kMaxElements = int64_t{1} << 40;
constexpr double kMaxOperations = 1e18;
constexpr int kMaxThreads = 1024;
constexpr int kMaxCudaBatches = 64;
// Protocol Buffers and gRPC count the bytes of a message in an int.
constexpr int64_t kMaxMessageBytes = std::numeric_limits<int32_t>::max();

template <typename Field>
OptionRow Path(std::string name, Field field, std::string help) {
  OptionRow row = Text(
      std::move(name), "PATH", field, 4096,
      [](unsigned char c) { return !absl::ascii_iscntrl(c); }, "a path",
      std::move(help));
  row.default_text = "none";
  return row;
}

absl::Status Unusable(const absl::Status& status) {
  return absl::InvalidArgumentError(
      absl::StrCat("cannot be used: ", status.message()));
}

// Reads one address of --listen into the settings.
absl::Status AddListen(absl::string_view text, Settings& settings) {
  if (IsUnixAddress(text)) {
    absl::StatusOr<std::string> path = ParseUnixAddress(text);
    if (!path.ok()) return Unusable(path.status());
    if (!settings.listen_unix.empty()) {
      return absl::InvalidArgumentError("has two Unix sockets");
    }
    settings.listen_unix = *std::move(path);
    return absl::OkStatus();
  }
  absl::StatusOr<HostPort> address = ParseHostPort(text);
  if (!address.ok()) return Unusable(address.status());
  if (settings.listen.has_value()) {
    return absl::InvalidArgumentError("has two addresses HOST:PORT");
  }
  settings.listen = *std::move(address);
  return absl::OkStatus();
}

OptionRow ListenOption() {
  OptionRow row;
  row.name = "listen";
  row.metavar = "ADDRESS[,ADDRESS]";
  row.help = "Where gRPC listens; port 0 takes a free one";
  row.allowed =
      "HOST:PORT with a port from 0 to 65535, unix:PATH, or both, separated by "
      "a comma";
  row.assign = [](absl::string_view text, Settings& settings) {
    Settings changed;
    changed.listen.reset();
    for (absl::string_view address : absl::StrSplit(text, ',')) {
      absl::Status status = AddListen(address, changed);
      if (!status.ok()) return status;
    }
    settings.listen = std::move(changed.listen);
    settings.listen_unix = std::move(changed.listen_unix);
    return absl::OkStatus();
  };
  row.print = [](const Settings& s) {
    std::vector<std::string> addresses;
    if (s.listen.has_value()) addresses.push_back(s.listen->ToString());
    if (!s.listen_unix.empty()) {
      addresses.push_back(UnixAddress(s.listen_unix));
    }
    return absl::StrJoin(addresses, ",");
  };
  return row;
}

OptionRow UnixModeOption() {
  OptionRow row;
  row.name = "unix-socket-mode";
  row.metavar = "MODE";
  row.help = "Permissions of the Unix sockets that lossd makes";
  row.allowed = "an octal number from 0 to 0777";
  row.assign = [](absl::string_view text, Settings& settings) {
    int mode = 0;
    if (text.empty() || text.size() > 4) {
      return absl::InvalidArgumentError("is not an octal number");
    }
    for (char digit : text) {
      if (digit < '0' || digit > '7') {
        return absl::InvalidArgumentError("is not an octal number");
      }
      mode = mode * 8 + (digit - '0');
    }
    if (mode > 0777) return absl::InvalidArgumentError("is out of range");
    settings.unix_socket_mode = mode;
    return absl::OkStatus();
  };
  row.print = [](const Settings& s) {
    return absl::StrFormat("%04o", s.unix_socket_mode);
  };
  return row;
}

OptionRow SharedMemoryListenOption() {
  OptionRow row;
  row.name = "shared-memory-listen";
  row.metavar = "ADDRESS";
  row.help =
      "The Unix socket that hands out memory to callers on this machine; none "
      "turns that off";
  row.allowed = "unix:PATH, or none";
  row.assign = [](absl::string_view text, Settings& settings) {
    if (text.empty() || text == "none") {
      settings.shared_memory.listen.clear();
      return absl::OkStatus();
    }
    absl::StatusOr<std::string> path = ParseUnixAddress(text);
    if (!path.ok()) return Unusable(path.status());
    settings.shared_memory.listen = *std::move(path);
    return absl::OkStatus();
  };
  row.print = [](const Settings& s) {
    const std::string& path = s.shared_memory.listen;
    return path.empty() ? "none" : UnixAddress(path);
  };
  return row;
}

OptionRow SharedMemoryUsersOption() {
  OptionRow row;
  row.name = "shared-memory-uids";
  row.metavar = "UID[,UID]";
  row.help = "Users who get memory, besides root and lossd's own user";
  row.allowed = "numbers separated by commas, or none";
  row.default_text = "none";
  row.assign = [](absl::string_view text, Settings& settings) {
    std::vector<uint32_t> uids;
    for (absl::string_view each :
         absl::StrSplit(text == "none" ? "" : text, ',', absl::SkipEmpty())) {
      if (!absl::SimpleAtoi(each, &uids.emplace_back())) {
        return absl::InvalidArgumentError("is not a list of user ids");
      }
    }
    settings.shared_memory.uids = std::move(uids);
    return absl::OkStatus();
  };
  row.print = [](const Settings& s) {
    const std::vector<uint32_t>& uids = s.shared_memory.uids;
    return uids.empty() ? "none" : absl::StrJoin(uids, ",");
  };
  return row;
}

OptionRow AdminListenOption() {
  OptionRow row;
  row.name = "admin-listen";
  row.metavar = "HOST:PORT";
  row.help =
      "Where plain HTTP answers /metrics, /livez and /readyz; none turns "
      "it off";
  row.allowed = "HOST:PORT with a port from 0 to 65535, or none";
  row.assign = [](absl::string_view text, Settings& settings) {
    if (text.empty() || text == "none") {
      settings.admin_listen.reset();
      return absl::OkStatus();
    }
    absl::StatusOr<HostPort> value = ParseHostPort(text);
    if (!value.ok()) return Unusable(value.status());
    settings.admin_listen = *std::move(value);
    return absl::OkStatus();
  };
  row.print = [](const Settings& s) {
    return s.admin_listen ? s.admin_listen->ToString() : "none";
  };
  return row;
}

std::vector<OptionRow> InGroup(const std::string& group,
                               std::vector<OptionRow> rows) {
  for (OptionRow& row : rows) row.group = group;
  return rows;
}

}  // namespace

std::vector<OptionRow> ListeningOptions() {
  OptionRow config = Path("config", LOSSD_FIELD(config),
                          "Reads further settings, lines of NAME = VALUE");
  config.in_file = false;
  return InGroup(
      "Listening",
      {ListenOption(), AdminListenOption(), UnixModeOption(),
       Switch("insecure", LOSSD_FIELD(insecure),
              "Allows a listen address that other machines can reach, without "
              "encryption or authentication"),
       Path("port-file", LOSSD_FIELD(port_file),
            "Writes the address of each listener there once it is bound"),
       std::move(config)});
}

std::vector<OptionRow> ComputingOptions() {
  using Device = Settings::DeviceClass;
  OptionRow instance =
      Text("instance", "NAME", LOSSD_FIELD(instance), 128, absl::ascii_isgraph,
           "at most 128 printable ASCII characters without space",
           "Names this process in answers and logs");
  instance.default_text = "the host's name and the process id";
  OptionRow target = Text(
      "target", "NAME", LOSSD_FIELD(target), 32,
      [](unsigned char c) { return absl::ascii_isalnum(c) || c == '_'; },
      "the name of an instruction set, such as AVX2",
      "Computes with this instruction set instead of the best one");
  target.default_text = "the best";
  target.environment_alias = "LOSSD_FORCE_TARGET";
  OptionRow threads =
      Count("threads", LOSSD_FIELD(threads), 0, kMaxThreads,
            "Threads that compute; 0 for as many as there are usable CPUs");
  return InGroup(
      "Computing",
      {std::move(threads),
       Count("io-threads", LOSSD_FIELD(io_threads), 0, kMaxThreads,
             "Threads that move bytes between connections and "
             "requests; 0 for one for every two of threads"),
       Bytes("max-idle-bytes", LOSSD_FIELD(max_idle_bytes), 0, kTiB,
             "Bytes of idle buffers kept for the next requests"),
       Choice<Device>("default-device", LOSSD_FIELD(default_device),
                      {{"cpu", Device::kCpu}, {"cuda", Device::kCuda}},
                      "What a call that names no device runs on"),
       std::move(target), std::move(instance)});
}

std::vector<OptionRow> GpuOptions() {
  return InGroup(
      "GPUs", {Bytes("cuda-memory-bytes", LOSSD_FIELD(cuda.memory_bytes), kMiB,
                     kTiB, "Memory of each GPU for the batches in flight"),
               Count("cuda-batches-in-flight",
                     LOSSD_FIELD(cuda.batches_in_flight), 1, kMaxCudaBatches,
                     "Batches in flight on each GPU, which share its memory")});
}

std::vector<OptionRow> SharedMemoryOptions() {
  return InGroup(
      "Shared memory",
      {SharedMemoryListenOption(),
       Bytes("max-shared-memory-bytes", LOSSD_FIELD(shared_memory.max_bytes),
             4 * kKiB, kTiB, "Bytes of all the memory that is handed out"),
       SharedMemoryUsersOption()});
}

std::vector<OptionRow> LoggingOptions() {
  using Level = Settings::LogLevel;
  using Format = Settings::LogFormat;
  return InGroup(
      "Logging",
      {Choice<Level>("log-level", LOSSD_FIELD(log_level),
                     {{"debug", Level::kDebug},
                      {"info", Level::kInfo},
                      {"warning", Level::kWarning},
                      {"error", Level::kError}},
                     "The least level to log"),
       Choice<Format>("log-format", LOSSD_FIELD(log_format),
                      {{"text", Format::kText}, {"json", Format::kJson}},
                      "How a line of the log, on standard error, looks"),
       Switch("withhold-values", LOSSD_FIELD(withhold_values),
              "Keeps values of tensors out of error messages")});
}

std::vector<OptionRow> DrainingOptions() {
  return InGroup(
      "Draining",
      {Interval("drain-delay", LOSSD_FIELD(drain_delay), absl::ZeroDuration(),
                absl::Hours(1), "How long calls are accepted after SIGTERM"),
       Interval("drain-timeout", LOSSD_FIELD(drain_timeout),
                absl::ZeroDuration(), absl::Hours(24),
                "How long calls in flight are then waited for")});
}

std::vector<OptionRow> LimitOptions() {
  OptionRow response =
      Bytes("max-response-bytes", LOSSD_FIELD(limits.max_response_bytes), 0,
            kMaxMessageBytes, "Bytes of one answer; 0 for max-message-bytes");
  return InGroup(
      "Limits of a call",
      {Bytes("max-message-bytes", LOSSD_FIELD(limits.max_message_bytes), kKiB,
             kMaxMessageBytes, "Bytes of a request or an answer"),
       std::move(response),
       Count("max-elements", LOSSD_FIELD(limits.max_elements), 1, kMaxElements,
             "Elements of one tensor"),
       Count("max-dimensions", LOSSD_FIELD(limits.max_dimensions), 1, 64,
             "Dimensions of a tensor"),
       Operations("max-operations", LOSSD_FIELD(limits.max_operations), 1,
                  kMaxOperations,
                  "Estimated scalar operations of one evaluation"),
       Bytes("max-scratch-bytes", LOSSD_FIELD(limits.max_scratch_bytes), kKiB,
             kTiB, "Scratch bytes of one evaluation"),
       Bytes("max-in-flight-bytes", LOSSD_FIELD(limits.max_in_flight_bytes),
             kKiB, kTiB, "Bytes of the requests that are not answered"),
       Interval("max-deadline", LOSSD_FIELD(limits.max_deadline),
                absl::Milliseconds(1), absl::Hours(24),
                "The longest deadline; a longer one is cut to it")});
}

std::vector<OptionRow> QueueOptions() {
  return InGroup(
      "Limits of the queue",
      {Count("max-queue-requests", LOSSD_FIELD(limits.max_queue_requests), 1,
             int64_t{1} << 20, "Requests waiting"),
       Bytes("max-queue-bytes", LOSSD_FIELD(limits.max_queue_bytes), kKiB, kTiB,
             "Bytes of the requests waiting"),
       Operations("max-queue-operations",
                  LOSSD_FIELD(limits.max_queue_operations), 1, kMaxOperations,
                  "Estimated operations of the requests waiting")});
}

std::vector<OptionRow> BatchingOptions() {
  return InGroup(
      "Batching",
      {Count("batch-workers", LOSSD_FIELD(batching.workers), 0, kMaxThreads,
             "Batches that run at a time; 0 for as many as threads"),
       Count("max-batch-requests", LOSSD_FIELD(batching.max_batch_requests), 1,
             65536, "Requests in a batch"),
       Count("max-batch-rows", LOSSD_FIELD(batching.max_batch_rows), 1,
             kMaxElements, "Rows or blocks of elements in a batch"),
       Bytes("max-batch-bytes", LOSSD_FIELD(batching.max_batch_bytes), kKiB,
             kTiB, "Bytes in a batch"),
       Operations("inline-operations", LOSSD_FIELD(batching.inline_operations),
                  0, kMaxOperations,
                  "Estimated operations up to which an idle server computes "
                  "on the calling thread")});
}

}  // namespace lossd
