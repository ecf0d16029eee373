// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_INTEGRATION_TEST_SERVER_H_
#define LOSSD_TESTS_INTEGRATION_TEST_SERVER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "google/protobuf/util/json_util.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/support/status.h"
#include "gtest/gtest.h"
#include "lossd/v1/loss_service.grpc.pb.h"
#include "server/config/settings.h"
#include "server/engine/backend.h"
#include "server/engine/engine.h"
#include "server/rpc/server.h"
#include "server/telemetry/log.h"
#include "server/telemetry/prometheus_metrics.h"

namespace lossd {

// A server in this process, on free ports of the loopback interface, from
// construction to destruction.
class TestServer {
 public:
  // `flags` are lossd's; `backend` replaces that of the CPU, and `second` joins
  // it.
  explicit TestServer(std::vector<std::string> flags = {},
                      std::unique_ptr<Backend> backend = nullptr,
                      std::unique_ptr<Backend> second = nullptr);

  // A new connection.
  std::shared_ptr<grpc::Channel> NewChannel() const;
  std::unique_ptr<v1::LossService::Stub> NewStub() const {
    return v1::LossService::NewStub(NewChannel());
  }
  std::string Metrics() { return metrics_.Text(); }
  Server& server() { return *server_; }

 private:
  Settings settings_;
  Log log_;
  PrometheusMetrics metrics_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Server> server_;
};

// A backend that computes only while it is open.
class HeldBackend final : public Backend {
 public:
  // `runs` counts the jobs that were computed. Both outlive the backend.
  struct Gate {
    absl::Mutex mutex;
    bool open = false;
    int waiting = 0;
    int computed = 0;

    void Open() {
      absl::MutexLock lock(&mutex);
      open = true;
    }
    // Returns when that many runs wait at the gate.
    void AwaitWaiting(int runs) {
      absl::MutexLock lock(&mutex);
      const auto enough = [&] { return waiting >= runs; };
      mutex.Await(absl::Condition(&enough));
    }
    int Computed() {
      absl::MutexLock lock(&mutex);
      return computed;
    }
  };
  explicit HeldBackend(Gate* gate);

  DeviceClass device_class() const override { return DeviceClass::kCpu; }
  std::string name() const override { return "held"; }
  absl::Span<const DeviceDescription> devices() const override {
    return inner_->devices();
  }
  bool InService(size_t) const override { return true; }
  int max_runs() const override { return 1; }
  std::shared_ptr<MappingObserver> mapping_observer() override {
    return nullptr;
  }
  void Run(absl::Span<Job* const> jobs,
           absl::FunctionRef<void(const Completion&)> done) override;

 private:
  Gate* const gate_;
  std::unique_ptr<Backend> inner_;
};

// The message that JSON stands for, through the descriptors as grpcurl does it.
template <typename Message>
Message FromJson(const std::string& json) {
  Message message;
  const auto status =
      google::protobuf::util::JsonStringToMessage(json, &message);
  EXPECT_TRUE(status.ok()) << status.ToString() << " in " << json;
  return message;
}

// What an error says.
struct ErrorDetails {
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad_request;
  google::rpc::RetryInfo retry;
};
ErrorDetails DetailsOf(const grpc::Status& status);

// An mse_loss of two numbers.
inline constexpr char kSmallRequest[] =
    R"({"evaluation": {"mse_loss": {"input": {"values": [1, 2]},
                                    "target": {"values": [0, 0]}}}})";

}  // namespace lossd

#endif  // LOSSD_TESTS_INTEGRATION_TEST_SERVER_H_
