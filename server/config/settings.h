// SPDX-License-Identifier: Apache-2.0
//
// Everything that can be set when lossd starts: parsed, checked and completed
// once, before anything else runs, and constant from then on. To change a
// setting, restart the process.

#ifndef LOSSD_SERVER_CONFIG_SETTINGS_H_
#define LOSSD_SERVER_CONFIG_SETTINGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/config/host_port.h"

namespace lossd {

// The settings. The field `max_elements` is the flag --max-elements, the
// environment variable LOSSD_MAX_ELEMENTS and the file's key max-elements; the
// ranges are in option_groups.cc and in --help. "0 means" holds for what is
// written in a source: ParseSettings never returns such a 0.
struct Settings {
  // What an evaluation that names no device runs on: never a matter of load,
  // because the result can depend on it.
  enum class DeviceClass { kCpu, kCuda };
  enum class LogLevel { kDebug, kInfo, kWarning, kError };
  enum class LogFormat { kText, kJson };

  // What a request can make the server spend: lossd.v1.Limits. All inclusive.
  struct Limits {
    // Bytes of a request, and of the answer's message.
    int64_t max_message_bytes = int64_t{64} << 20;
    // Elements of one tensor.
    int64_t max_elements = int64_t{1} << 30;
    // Dimensions of a tensor.
    int max_dimensions = 16;
    // Estimated scalar operations of one evaluation.
    double max_operations = 1e12;
    // Bytes of one answer, at most max_message_bytes; 0 means as many.
    int64_t max_response_bytes = 0;
    // Scratch bytes of one evaluation.
    int64_t max_scratch_bytes = int64_t{256} << 20;
    // Bytes of the requests that have been let in and not answered: at least
    // max_message_bytes. Over it a call is refused before its body is read, if
    // its caller announced the size.
    int64_t max_in_flight_bytes = int64_t{512} << 20;
    // A longer deadline is cut to this; a call without one gets it.
    absl::Duration max_deadline = absl::Minutes(10);
    // What waits, not counting what runs. The queue must hold the largest
    // request: at least max_message_bytes and max_operations.
    int max_queue_requests = 4096;
    int64_t max_queue_bytes = int64_t{512} << 20;
    double max_queue_operations = 1e12;
  };

  // How requests are batched: lossd.v1.BatchingInfo.
  struct Batching {
    // Batches that run at a time; 0 means `threads`. The flag is
    // --batch-workers.
    int workers = 0;
    // Bounds of one batch, inclusive.
    int max_batch_requests = 64;
    int64_t max_batch_rows = 65536;
    int64_t max_batch_bytes = int64_t{8} << 20;
    // Estimated operations up to which an idle server computes on the calling
    // thread.
    double inline_operations = 2e6;
  };

  // Memory shared with callers on this machine.
  struct SharedMemory {
    // The path of the Unix socket that hands out regions; empty if there are
    // none. The flag is --shared-memory-listen.
    std::string listen;
    // Bytes of all regions. The flag is --max-shared-memory-bytes.
    int64_t max_bytes = int64_t{1} << 30;
    // The users who get regions, besides this process's own and root. The flag
    // is --shared-memory-uids.
    std::vector<uint32_t> uids;
  };

  // Where gRPC listens: at a TCP address, a port of 0 meaning any free one, at
  // the path of a Unix socket, or both; at least one. The TCP address is
  // loopback unless `insecure`, because connections are neither encrypted nor
  // authenticated.
  std::optional<HostPort> listen = HostPort{"127.0.0.1", 50051};
  std::string listen_unix;  // empty: at none
  // The permissions of the Unix sockets that this process makes.
  int unix_socket_mode = 0600;
  // Where plain HTTP answers /metrics, /livez and /readyz; unset if that is
  // off.
  std::optional<HostPort> admin_listen = HostPort{"127.0.0.1", 9464};
  // Allows a TCP address of `listen` that other machines can reach.
  bool insecure = false;
  // Where to write, once all listeners are bound, the lines listen=HOST:PORT,
  // listen_unix=unix:PATH, admin=HOST:PORT and shared_memory=unix:PATH, of
  // those that there are; empty if nowhere.
  std::string port_file;
  // The file that settings were read from; empty if none.
  std::string config;

  // Names this process in answers and logs: 1 to 128 printable ASCII
  // characters without space. Empty means the host's name and the process id.
  std::string instance;
  DeviceClass default_device = DeviceClass::kCpu;
  // Threads that compute; 0 means as many as the process may use CPUs.
  int threads = 0;
  // Threads that move bytes between connections and requests, each with a
  // completion queue of its own; 0 means one for every two of `threads`.
  int io_threads = 0;
  // Bytes of idle buffers that are kept for the next requests.
  int64_t max_idle_bytes = int64_t{512} << 20;
  // The instruction set to compute with instead of the best one; empty for the
  // best one. Only its form is checked here: which names exist is known to the
  // kernels.
  std::string target;

  struct Cuda {
    // Memory of each device for the batches in flight, all of them together.
    int64_t memory_bytes = int64_t{4} << 30;
    // Batches in flight on a device: the copies of one overlap the kernels of
    // another.
    int batches_in_flight = 2;
  } cuda;

  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
  // Keeps values of tensors out of error messages.
  bool withhold_values = false;

  // After SIGTERM: how long calls are still accepted while health says
  // NOT_SERVING, and then how long calls in flight are waited for.
  absl::Duration drain_delay = absl::Seconds(5);
  absl::Duration drain_timeout = absl::Seconds(30);

  Limits limits;
  Batching batching;
  SharedMemory shared_memory;
};

// A setting in force, as text.
struct EffectiveSetting {
  std::string name;   // As in the file.
  std::string value;  // Would be parsed to the value in force.
  // "--NAME", the environment variable's name, "PATH:LINE" or "default".
  std::string source;
};

// What a command line asks for.
struct Invocation {
  Settings settings;

  // Every setting, in the order of --help.
  std::vector<EffectiveSetting> effective;

  // Set if the command line asked for text instead of a server (--help,
  // --version, --print-config): print it on standard output and exit with 0.
  // The other fields mean nothing then.
  std::optional<std::string> answer;
};

// Reads the settings. For each one, a flag goes before the environment, the
// environment before the file that --config or LOSSD_CONFIG names, and the
// file before the default.
//
// `argv` is that of main() and `environment` is environ or has its form:
// "NAME=value" strings and a final null. `version` is what --version prints.
//
// INVALID_ARGUMENT if anything is unknown, malformed, out of range or
// contradictory, in any source, including a value that a stronger source hides:
// one problem in each line of the message, with its source, the value and what
// is allowed. NOT_FOUND if the file cannot be read. Variables that begin with
// LOSSD_ but that Kubernetes sets for a Service of that name are no problem.
absl::StatusOr<Invocation> ParseSettings(int argc, const char* const* argv,
                                         const char* const* environment,
                                         absl::string_view version);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_SETTINGS_H_
