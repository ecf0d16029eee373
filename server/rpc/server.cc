// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/server.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "google/protobuf/descriptor.h"
#include "grpc/support/log.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "server/base/status_macros.h"
#include "server/config/host_port.h"
#include "server/config/unix_address.h"
#include "server/rpc/call_queues.h"
#include "server/rpc/health_service.h"
#include "server/rpc/listen_address.h"
#include "server/rpc/local_sockets.h"
#include "server/rpc/loss_service.h"
#include "server/rpc/queued_service.h"
#include "server/rpc/reflection_service.h"
#include "server/rpc/region_server.h"
#include "server/rpc/shared_regions.h"
#include "server/rpc/unix_socket_file.h"
#include "server/telemetry/admin_server.h"

namespace lossd {
namespace {

constexpr int kMaxStreamsPerConnection = 1024;
// What a stream may send ahead of being read; gRPC opens its window for the
// rest of a message once that is read. Fixed: gRPC's own estimate grows with
// the speed of the network, up to some 100 MiB that wait for a stream of rows.
constexpr int kWindowBytes = 16 << 10;
// The largest that HTTP/2 has: frames end where messages or windows do.
constexpr int kMaxFrameBytes = (1 << 24) - 1;
constexpr int kKeepaliveMs = 5 * 60 * 1000;
constexpr int kKeepaliveTimeoutMs = 20 * 1000;
constexpr int kMinPingIntervalMs = 10 * 1000;
// What probes are told once no device of the default class computes any more.
// Only a new process gets a new context of a device that has failed.
constexpr char kDeviceLost[] = "device lost";
// In which gRPC notices that connections have ended.
constexpr absl::Duration kDisconnectTime = absl::Milliseconds(50);

void SetOptions(const Settings& settings, grpc::ServerBuilder* builder) {
  const int bytes = static_cast<int>(settings.limits.max_message_bytes);
  builder->SetMaxReceiveMessageSize(bytes);
  builder->SetMaxSendMessageSize(bytes);
  // A compressed message could become any size.
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  builder->SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  // A second server on the same port is a mistake, not a way to share load.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                              kMaxStreamsPerConnection);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES,
                              kWindowBytes);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, kMaxFrameBytes);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                              kKeepaliveTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
      kMinPingIntervalMs);
}

}  // namespace

struct Server::Impl {
  absl::Status StartSharedMemory(const Settings& settings, Log* log);
  absl::StatusOr<std::vector<NamedAddress>> StartGrpc(const Settings& settings);
  absl::StatusOr<HostPort> StartAdmin(
      const HostPort& address, std::function<std::string()> metrics_text);
  // All that is served, once it is made.
  std::vector<QueuedService*> Services() const {
    return {service.get(), health.get(), reflection.get()};
  }
  // From now on probes and health say so.
  void StopBeingReady();
  // No device of the default class computes any more.
  void LoseDevice();
  void Shutdown(absl::Duration timeout);
  void ShutDownGrpc(absl::Time deadline);

  std::vector<LocalAddress> listening;  // of gRPC
  enum class Condition { kServing, kDeviceLost, kDraining };
  std::atomic<Condition> condition = Condition::kServing;
  bool shut_down = false;
  std::unique_ptr<SharedRegions> regions;
  std::unique_ptr<RegionServer> region_server;
  std::unique_ptr<UnixSocketFile> socket_file;
  std::unique_ptr<LossService> service;
  std::unique_ptr<HealthService> health;
  std::unique_ptr<ReflectionService> reflection;
  std::unique_ptr<CallQueues> queues;
  std::unique_ptr<grpc::Server> grpc_server;
  std::unique_ptr<AdminServer> admin;
};

Server::Server() : impl_(std::make_unique<Impl>()) {}

Server::~Server() { Shutdown(absl::ZeroDuration()); }

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerParts& parts, std::function<std::string()> metrics_text) {
  std::unique_ptr<Server> server(new Server);
  Impl& impl = *server->impl_;
  const Settings& settings = *parts.settings;
  LOSSD_RETURN_IF_ERROR(impl.StartSharedMemory(settings, parts.log));
  LOSSD_ASSIGN_OR_RETURN(
      impl.service,
      LossService::Create(parts, impl.regions.get(),
                          [self = &impl] { self->LoseDevice(); }));
  LOSSD_ASSIGN_OR_RETURN(server->addresses_, impl.StartGrpc(settings));
  if (settings.admin_listen.has_value()) {
    LOSSD_ASSIGN_OR_RETURN(
        const HostPort admin,
        impl.StartAdmin(*settings.admin_listen, std::move(metrics_text)));
    server->addresses_.push_back({"admin", admin.ToString()});
  }
  if (impl.region_server != nullptr) {
    server->addresses_.push_back(
        {"shared_memory", UnixAddress(impl.region_server->path())});
  }
  return server;
}

std::string Server::AddressOf(absl::string_view name) const {
  for (const NamedAddress& each : addresses_) {
    if (each.name == name) return each.address;
  }
  return "";
}

void Server::StopBeingReady() { impl_->StopBeingReady(); }

void Server::Shutdown(absl::Duration timeout) { impl_->Shutdown(timeout); }

absl::Status Server::Impl::StartSharedMemory(const Settings& settings,
                                             Log* log) {
  const Settings::SharedMemory& shared = settings.shared_memory;
  if (shared.listen.empty()) return absl::OkStatus();
  regions = std::make_unique<SharedRegions>(shared.max_bytes);
  LOSSD_ASSIGN_OR_RETURN(
      region_server,
      RegionServer::Start(
          {.path = shared.listen,
           .mode = static_cast<mode_t>(settings.unix_socket_mode),
           .uids = shared.uids},
          regions.get(), log));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<NamedAddress>> Server::Impl::StartGrpc(
    const Settings& settings) {
  health = std::make_unique<HealthService>(
      std::set<std::string>{LossService::kName});
  reflection = std::make_unique<ReflectionService>(
      std::vector<std::string>{LossService::kName, HealthService::kName},
      google::protobuf::DescriptorPool::generated_pool());
  grpc::ServerBuilder builder;
  SetOptions(settings, &builder);
  int port = 0;
  if (settings.listen.has_value()) {
    LOSSD_RETURN_IF_ERROR(CheckCanListen(*settings.listen));
    builder.AddListeningPort(settings.listen->ToString(),
                             grpc::InsecureServerCredentials(), &port);
  }
  int bound = 1;
  if (!settings.listen_unix.empty()) {
    LOSSD_ASSIGN_OR_RETURN(socket_file,
                           UnixSocketFile::Reserve(settings.listen_unix));
    builder.AddListeningPort(UnixAddress(socket_file->bind_path()),
                             grpc::InsecureServerCredentials(), &bound);
  }
  for (QueuedService* each : Services()) builder.RegisterService(each);
  queues = std::make_unique<CallQueues>(settings.io_threads, &builder);
  {
    const PrivateFiles only_ours;
    grpc_server = builder.BuildAndStart();
  }
  std::vector<NamedAddress> addresses;
  if (settings.listen.has_value()) {
    if (grpc_server == nullptr || port == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot listen on ", settings.listen->ToString()));
    }
    listening.push_back({.port = port, .unix_path = ""});
    addresses.push_back(
        {"listen", HostPort{settings.listen->host, port}.ToString()});
  }
  if (socket_file != nullptr) {
    if (grpc_server == nullptr || bound == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot listen on ", UnixAddress(settings.listen_unix)));
    }
    listening.push_back({.port = 0, .unix_path = socket_file->bind_path()});
    addresses.push_back({"listen_unix", UnixAddress(settings.listen_unix)});
  }
  std::vector<QueuedMethod> methods;
  for (const QueuedService* each : Services()) {
    const std::vector<QueuedMethod> more = each->QueuedMethods();
    methods.insert(methods.end(), more.begin(), more.end());
  }
  queues->Serve(grpc_server.get(), std::move(methods));
  if (socket_file != nullptr) {
    LOSSD_RETURN_IF_ERROR(
        socket_file->Publish(static_cast<mode_t>(settings.unix_socket_mode)));
  }
  return addresses;
}

absl::StatusOr<HostPort> Server::Impl::StartAdmin(
    const HostPort& address, std::function<std::string()> metrics_text) {
  AdminServerOptions options;
  options.host = address.host;
  options.port = address.port;
  options.metrics = std::move(metrics_text);
  options.not_ready = [this]() -> std::string {
    switch (condition.load()) {
      case Condition::kServing:
        return "";
      case Condition::kDeviceLost:
        return kDeviceLost;
      case Condition::kDraining:
        return "draining";
    }
    return "";
  };
  // A process that drains ends by itself.
  options.not_alive = [this] {
    return std::string(condition.load() == Condition::kDeviceLost ? kDeviceLost
                                                                  : "");
  };
  LOSSD_ASSIGN_OR_RETURN(admin, AdminServer::Start(std::move(options)));
  return HostPort{address.host, admin->port()};
}

void Server::Impl::StopBeingReady() {
  condition.store(Condition::kDraining);
  health->SetServing(false);
}

void Server::Impl::LoseDevice() {
  auto serving = Condition::kServing;
  if (condition.compare_exchange_strong(serving, Condition::kDeviceLost)) {
    health->SetServing(false);
  }
}

void Server::Impl::Shutdown(absl::Duration timeout) {
  if (shut_down) return;
  shut_down = true;
  if (grpc_server != nullptr) {
    StopBeingReady();
    ShutDownGrpc(absl::Now() + timeout);
  }
  if (service != nullptr) service->Drain();
  if (queues != nullptr) queues->ShutDown();
  if (admin != nullptr) admin->Stop();
  region_server.reset();
}

// gRPC's own shutdown begins with a state in which calls that arrive are
// CANCELLED. So nothing can arrive any more when it begins.
void Server::Impl::ShutDownGrpc(absl::Time deadline) {
  service->RefuseCalls();
  const auto wait_until = [deadline](absl::FunctionRef<bool()> done) {
    while (!done() && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(5));
    }
  };
  wait_until([this] { return service->in_flight() == 0; });
  health->EndWatches();
  // From here on gRPC reports as errors what is meant to happen.
  gpr_set_log_function([](gpr_log_func_args*) {});
  for (const LocalAddress& address : listening) EndListening(address);
  if (socket_file != nullptr) socket_file->Remove();
  wait_until([this] {
    int64_t bytes = 0;
    for (const LocalAddress& each : listening) {
      bytes += UnacknowledgedBytes(each);
    }
    return bytes == 0;
  });
  // Again and again: connections to a Unix socket that were waiting to be
  // accepted still are.
  const absl::Time end = std::min(deadline, absl::Now() + kDisconnectTime);
  do {
    for (const LocalAddress& each : listening) EndConnections(each);
    absl::SleepFor(absl::Milliseconds(5));
  } while (absl::Now() < end);
  grpc_server->Shutdown(absl::ToChronoTime(deadline));
}

}  // namespace lossd
