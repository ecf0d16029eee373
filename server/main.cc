// SPDX-License-Identifier: Apache-2.0
//
// lossd: reads the settings, serves until SIGTERM or SIGINT, drains, and ends
// with 0. It ends with 1 if it cannot serve and with 2 if a setting is wrong.

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/status_macros.h"
#include "server/config/settings.h"
#include "server/engine/cpu_backend.h"
#include "server/engine/cuda_backend.h"
#include "server/engine/engine.h"
#include "server/rpc/listen_address.h"
#include "server/rpc/process_setup.h"
#include "server/rpc/server.h"
#include "server/rpc/version.h"
#include "server/telemetry/log.h"
#include "server/telemetry/process_metrics.h"
#include "server/telemetry/prometheus_metrics.h"

namespace lossd {
namespace {

constexpr int kCannotServe = 1;
constexpr int kBadSettings = 2;
// A buffer that is idle for this long, or up to twice as long, is let go.
constexpr absl::Duration kTrimInterval = absl::Seconds(5);

DeviceClass DefaultDevice(const Settings& settings) {
  return settings.default_device == Settings::DeviceClass::kCuda
             ? DeviceClass::kCuda
             : DeviceClass::kCpu;
}

absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(const Settings& settings,
                                                   Log& log) {
  LOSSD_ASSIGN_OR_RETURN(std::unique_ptr<Backend> cpu,
                         MakeCpuBackend(settings.threads, settings.target));
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::move(cpu));
  CudaOptions cuda_options;
  cuda_options.arena_bytes = settings.cuda.memory_bytes;
  cuda_options.batches_in_flight = settings.cuda.batches_in_flight;
  cuda_options.on_failure = [&log](const std::string& device,
                                   const absl::Status& why) {
    log.Event(LogLevel::kError, "device_out_of_service",
              {{"device", device}, {"reason", std::string(why.message())}});
  };
  auto cuda = OpenCudaBackend(cuda_options);
  if (cuda.ok()) {
    backends.push_back(*std::move(cuda));
  } else if (DefaultDevice(settings) == DeviceClass::kCuda) {
    return absl::FailedPreconditionError(
        absl::StrCat("default-device = cuda, but this server has no CUDA "
                     "device: ",
                     cuda.status().message()));
  } else if (!absl::IsUnimplemented(cuda.status())) {
    log.Event(LogLevel::kInfo, "no_cuda_device",
              {{"reason", std::string(cuda.status().message())}});
  }
  return std::make_unique<Engine>(
      EngineLimits{
          .max_elements = settings.limits.max_elements,
          .max_dimensions = settings.limits.max_dimensions,
          .max_operations = settings.limits.max_operations,
          .max_response_bytes = settings.limits.max_response_bytes,
          .max_scratch_bytes = settings.limits.max_scratch_bytes,
      },
      std::move(backends), DefaultDevice(settings), settings.max_idle_bytes);
}

// Such as "cpu:0,cuda:0".
std::string DeviceNames(const Engine& engine) {
  std::vector<absl::string_view> names;
  for (const auto& backend : engine.backends()) {
    for (const DeviceDescription& device : backend->devices()) {
      names.push_back(device.name);
    }
  }
  return absl::StrJoin(names, ",");
}

// Serves until a signal ends it, then drains. Buffers that stay idle for a
// while leave `pool`.
void ServeUntilTermination(const Settings& settings, BufferPool& pool,
                           Server& server, Log& log) {
  const auto on_hangup = [&log] {
    log.Event(LogLevel::kWarning, "hangup_ignored",
              {{"hint", "settings are read at start: restart to change them"}});
  };
  while (!WaitForTermination(absl::Now() + kTrimInterval, on_hangup)) {
    pool.Trim();
  }
  log.Event(
      LogLevel::kInfo, "draining",
      {{"delay", settings.drain_delay}, {"timeout", settings.drain_timeout}});
  server.StopBeingReady();
  // A second signal ends the delay.
  WaitForTermination(absl::Now() + settings.drain_delay, on_hangup);
  server.Shutdown(settings.drain_timeout);
  log.Event(LogLevel::kInfo, "stopped");
}

absl::Status Serve(const Settings& settings, Log& log) {
  PrometheusMetrics metrics;
  ExportProcessMetrics(metrics);
  LOSSD_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                         MakeEngine(settings, log));
  LOSSD_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server,
                         Server::Start({.settings = &settings,
                                        .engine = engine.get(),
                                        .clock = Clock::Real(),
                                        .metrics = &metrics,
                                        .log = &log},
                                       [&metrics] { return metrics.Text(); }));
  if (!settings.port_file.empty()) {
    LOSSD_RETURN_IF_ERROR(
        WritePortFile(settings.port_file, server->addresses()));
  }
  const auto address_of = [&server](absl::string_view name) {
    const std::string address = server->AddressOf(name);
    return address.empty() ? "none" : address;
  };
  log.Event(LogLevel::kInfo, "serving",
            {{"listen", address_of("listen")},
             {"listen_unix", address_of("listen_unix")},
             {"admin", address_of("admin")},
             {"shared_memory", address_of("shared_memory")},
             {"target", engine->backends()[0]->devices()[0].target},
             {"devices", DeviceNames(*engine)},
             {"threads", settings.threads},
             {"instance", settings.instance},
             {"version", ServerVersion()}});
  ServeUntilTermination(settings, engine->pool(), *server, log);
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  SkipDeadlockDetection();
  SilenceParser();
  BlockTerminationSignals();
  const absl::StatusOr<Invocation> invocation =
      ParseSettings(argc, argv, environ, ServerVersion());
  if (!invocation.ok()) {
    std::fprintf(stderr, "lossd: %s\n",
                 std::string(invocation.status().message()).c_str());
    return kBadSettings;
  }
  if (invocation->answer.has_value()) {
    std::fputs(invocation->answer->c_str(), stdout);
    return 0;
  }
  const Settings& settings = invocation->settings;
  Log log({.level = static_cast<LogLevel>(settings.log_level),
           .format = static_cast<LogFormat>(settings.log_format)});
  const absl::Status status = Serve(settings, log);
  if (status.ok()) return 0;
  log.Event(LogLevel::kError, "cannot_serve", {{"reason", status.message()}});
  return kCannotServe;
}

}  // namespace
}  // namespace lossd

int main(int argc, char** argv) { return lossd::Main(argc, argv); }
