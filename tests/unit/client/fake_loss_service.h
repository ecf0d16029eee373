// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_TESTS_UNIT_CLIENT_FAKE_LOSS_SERVICE_H_
#define LOSSD_TESTS_UNIT_CLIENT_FAKE_LOSS_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "lossd/v1/loss_service.grpc.pb.h"

namespace lossd {

// What the fake saw of one attempt at a call.
struct Attempt {
  std::string method;
  std::map<std::string, std::string> metadata;
  absl::Time deadline;
};

// A LossService that answers as its tests script it. Thread-safe, once the
// handlers are set.
class FakeLossService final : public v1::LossService::CallbackService {
 public:
  using GradientHandler = std::function<grpc::Status(
      grpc::CallbackServerContext*, const v1::ComputeGradientRequest&,
      v1::ComputeGradientResponse*)>;
  using LossHandler = std::function<grpc::Status(grpc::CallbackServerContext*,
                                                 const v1::ComputeLossRequest&,
                                                 v1::ComputeLossResponse*)>;

  // Answers each call; OK and empty unless set.
  GradientHandler on_gradient;
  LossHandler on_loss;
  v1::ListLossesResponse losses;
  v1::GetServerInfoResponse info;
  // While set, calls to ComputeLoss are not answered until they are cancelled.
  std::atomic<bool> hold_losses = false;

  std::vector<Attempt> attempts() const;
  int cancelled() const { return cancelled_; }
  // The latest requests.
  v1::ComputeGradientRequest gradient_request() const;
  v1::ComputeLossRequest loss_request() const;

  grpc::ServerUnaryReactor* ComputeLoss(
      grpc::CallbackServerContext* context,
      const v1::ComputeLossRequest* request,
      v1::ComputeLossResponse* response) override;
  grpc::ServerUnaryReactor* ComputeGradient(
      grpc::CallbackServerContext* context,
      const v1::ComputeGradientRequest* request,
      v1::ComputeGradientResponse* response) override;
  grpc::ServerUnaryReactor* ListLosses(
      grpc::CallbackServerContext* context,
      const v1::ListLossesRequest* request,
      v1::ListLossesResponse* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(
      grpc::CallbackServerContext* context,
      const v1::GetServerInfoRequest* request,
      v1::GetServerInfoResponse* response) override;

 private:
  void Record(const std::string& method, grpc::CallbackServerContext* context);

  mutable absl::Mutex mutex_;
  std::vector<Attempt> attempts_ ABSL_GUARDED_BY(mutex_);
  v1::ComputeGradientRequest gradient_request_ ABSL_GUARDED_BY(mutex_);
  v1::ComputeLossRequest loss_request_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int> cancelled_ = 0;
};

// A server of a fake, with gRPC's health service, on a free port of loopback.
class FakeServer {
 public:
  explicit FakeServer(int64_t max_message_bytes = int64_t{64} << 20);
  ~FakeServer();
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  FakeLossService& service() { return service_; }
  grpc::Server& server() { return *server_; }
  const std::string& address() const { return address_; }

 private:
  FakeLossService service_;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

// A status with the details that lossd sends: an ErrorInfo, a BadRequest with
// `violations` (field, description), and, unless it is empty, metadata.
grpc::Status DetailedStatus(
    grpc::StatusCode code, const std::string& message,
    const std::string& reason,
    const std::vector<std::pair<std::string, std::string>>& violations,
    const std::map<std::string, std::string>& metadata = {},
    int retry_milliseconds = 0);

// The descriptors of binary_cross_entropy_with_logits, cross_entropy,
// triplet_margin_loss and clipped_policy_loss, as a server lists them.
v1::ListLossesResponse SomeLosses();

}  // namespace lossd

#endif  // LOSSD_TESTS_UNIT_CLIENT_FAKE_LOSS_SERVICE_H_
