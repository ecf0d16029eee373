// SPDX-License-Identifier: Apache-2.0

#include "tests/integration/test_server.h"

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "server/base/clock.h"
#include "server/engine/cpu_backend.h"

namespace lossd {
namespace {

Settings ParseFlags(const std::vector<std::string>& flags) {
  std::vector<const char*> argv = {
      "lossd",     "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
      "--threads", "2"};
  for (const std::string& flag : flags) argv.push_back(flag.c_str());
  const char* const environment[] = {nullptr};
  auto invocation = ParseSettings(static_cast<int>(argv.size()), argv.data(),
                                  environment, "test");
  EXPECT_TRUE(invocation.ok()) << invocation.status();
  return invocation->settings;
}

// A stream that forgets.
std::FILE* Nowhere() {
  static std::FILE* const stream = std::fopen("/dev/null", "w");
  return stream;
}

std::unique_ptr<Engine> MakeEngine(const Settings& settings,
                                   std::unique_ptr<Backend> backend,
                                   std::unique_ptr<Backend> second) {
  if (backend == nullptr) {
    backend = MakeCpuBackend(settings.threads, settings.target).value();
  }
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(std::move(backend));
  if (second != nullptr) backends.push_back(std::move(second));
  EngineLimits limits;
  limits.max_elements = settings.limits.max_elements;
  limits.max_dimensions = settings.limits.max_dimensions;
  limits.max_operations = settings.limits.max_operations;
  limits.max_response_bytes = settings.limits.max_response_bytes;
  limits.max_scratch_bytes = settings.limits.max_scratch_bytes;
  const bool cuda = settings.default_device == Settings::DeviceClass::kCuda;
  return std::make_unique<Engine>(
      limits, std::move(backends),
      cuda ? DeviceClass::kCuda : DeviceClass::kCpu);
}

}  // namespace

TestServer::TestServer(std::vector<std::string> flags,
                       std::unique_ptr<Backend> backend,
                       std::unique_ptr<Backend> second)
    : settings_(ParseFlags(flags)),
      log_({.stream = Nowhere()}),
      engine_(MakeEngine(settings_, std::move(backend), std::move(second))) {
  auto server = Server::Start({.settings = &settings_,
                               .engine = engine_.get(),
                               .clock = Clock::Real(),
                               .metrics = &metrics_,
                               .log = &log_},
                              [this] { return metrics_.Text(); });
  EXPECT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
}

std::shared_ptr<grpc::Channel> TestServer::NewChannel() const {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(server_->AddressOf("listen"),
                                   grpc::InsecureChannelCredentials(),
                                   arguments);
}

HeldBackend::HeldBackend(Gate* gate)
    : gate_(gate), inner_(MakeReferenceBackend()) {}

void HeldBackend::Run(absl::Span<Job* const> jobs,
                      absl::FunctionRef<void(const Completion&)> done) {
  {
    absl::MutexLock lock(&gate_->mutex);
    ++gate_->waiting;
    gate_->mutex.Await(absl::Condition(&gate_->open));
    --gate_->waiting;
    gate_->computed += static_cast<int>(jobs.size());
  }
  inner_->Run(jobs, done);
}

ErrorDetails DetailsOf(const grpc::Status& status) {
  google::rpc::Status wire;
  EXPECT_TRUE(wire.ParseFromString(status.error_details()));
  ErrorDetails details;
  for (const auto& any : wire.details()) {
    EXPECT_TRUE(any.UnpackTo(&details.info) ||
                any.UnpackTo(&details.bad_request) ||
                any.UnpackTo(&details.retry));
  }
  return details;
}

}  // namespace lossd
