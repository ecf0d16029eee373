// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/server.h"

#include <algorithm>
#include <atomic>
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
#include "server/rpc/call_queues.h"
#include "server/rpc/health_service.h"
#include "server/rpc/listen_address.h"
#include "server/rpc/local_sockets.h"
#include "server/rpc/loss_service.h"
#include "server/rpc/queued_service.h"
#include "server/rpc/reflection_service.h"
#include "server/telemetry/admin_server.h"

namespace lossd {
namespace {

constexpr int kMaxStreamsPerConnection = 1024;
constexpr int kKeepaliveMs = 5 * 60 * 1000;
constexpr int kKeepaliveTimeoutMs = 20 * 1000;
constexpr int kMinPingIntervalMs = 10 * 1000;
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
  absl::StatusOr<HostPort> StartGrpc(const Settings& settings);
  absl::StatusOr<HostPort> StartAdmin(
      const HostPort& address, std::function<std::string()> metrics_text);
  void StopBeingReady();
  void Shutdown(absl::Duration timeout);
  void ShutDownGrpc(absl::Time deadline);

  int port = 0;  // of gRPC
  std::atomic<bool> ready = true;
  bool shut_down = false;
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
  LOSSD_ASSIGN_OR_RETURN(impl.service, LossService::Create(parts));
  LOSSD_ASSIGN_OR_RETURN(server->listen_, impl.StartGrpc(settings));
  if (settings.admin_listen.has_value()) {
    LOSSD_ASSIGN_OR_RETURN(
        server->admin_listen_,
        impl.StartAdmin(*settings.admin_listen, std::move(metrics_text)));
  }
  return server;
}

void Server::StopBeingReady() { impl_->StopBeingReady(); }

void Server::Shutdown(absl::Duration timeout) { impl_->Shutdown(timeout); }

absl::StatusOr<HostPort> Server::Impl::StartGrpc(const Settings& settings) {
  LOSSD_RETURN_IF_ERROR(CheckCanListen(settings.listen));
  health = std::make_unique<HealthService>(
      std::set<std::string>{LossService::kName});
  reflection = std::make_unique<ReflectionService>(
      std::vector<std::string>{LossService::kName, HealthService::kName},
      google::protobuf::DescriptorPool::generated_pool());
  grpc::ServerBuilder builder;
  SetOptions(settings, &builder);
  builder.AddListeningPort(settings.listen.ToString(),
                           grpc::InsecureServerCredentials(), &port);
  QueuedService* const services[] = {service.get(), health.get(),
                                     reflection.get()};
  for (QueuedService* each : services) builder.RegisterService(each);
  queues = std::make_unique<CallQueues>(settings.io_threads, &builder);
  grpc_server = builder.BuildAndStart();
  if (grpc_server == nullptr || port == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot listen on ", settings.listen.ToString()));
  }
  std::vector<QueuedMethod> methods;
  for (const QueuedService* each : services) {
    const std::vector<QueuedMethod> more = each->QueuedMethods();
    methods.insert(methods.end(), more.begin(), more.end());
  }
  queues->Serve(grpc_server.get(), std::move(methods));
  return HostPort{settings.listen.host, port};
}

absl::StatusOr<HostPort> Server::Impl::StartAdmin(
    const HostPort& address, std::function<std::string()> metrics_text) {
  AdminServerOptions options;
  options.host = address.host;
  options.port = address.port;
  options.metrics = std::move(metrics_text);
  options.not_ready = [this] {
    return std::string(ready.load() ? "" : "draining");
  };
  LOSSD_ASSIGN_OR_RETURN(admin, AdminServer::Start(std::move(options)));
  return HostPort{address.host, admin->port()};
}

void Server::Impl::StopBeingReady() {
  ready.store(false);
  health->SetServing(false);
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
  EndListening(port);
  wait_until([this] { return UnacknowledgedBytes(port) == 0; });
  EndConnections(port);
  const absl::Time end = std::min(deadline, absl::Now() + kDisconnectTime);
  wait_until([end] { return absl::Now() >= end; });
  grpc_server->Shutdown(absl::ToChronoTime(deadline));
}

}  // namespace lossd
