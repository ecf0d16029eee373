// SPDX-License-Identifier: Apache-2.0
#include "lossd/client.h"

#include <google/protobuf/wrappers.pb.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/cpp/call_setup.h"
#include "client/cpp/open_stream.h"
#include "client/cpp/row_stream.h"
#include "lossd/v1/loss_service.grpc.pb.h"

namespace lossd {

namespace {

// grpc.health.v1.HealthCheckRequest { string service = 1; } and
// HealthCheckResponse { enum status = 1; } have the encodings of these
// well-known types; generated code for them here would meet a program's own.
using HealthRequest = google::protobuf::StringValue;
using HealthResponse = google::protobuf::Int32Value;

constexpr char kHealthMethod[] = "/grpc.health.v1.Health/Check";

// Sets what goes with the request: its deadline and its announced size.
void Prepare(grpc::ClientContext& context, const CallOptions& options,
             absl::Duration default_timeout, size_t request_bytes) {
  SetDeadline(context, options, default_timeout);
  context.AddMetadata("lossd-request-bytes", absl::StrCat(request_bytes));
}

// An asynchronous call, kept alive by the callback that gRPC holds.
template <typename Request, typename Response>
struct AsyncCall {
  // What the call is made through.
  std::shared_ptr<const void> core;
  grpc::ClientContext context;
  Request request;
  Response response;
  Client::Callback<Response> done;
  std::optional<std::stop_callback<std::function<void()>>> on_stop;

  void Finish(const grpc::Status& status) {
    on_stop.reset();
    if (status.ok()) {
      std::move(done)(std::move(response));
    } else {
      std::move(done)(ToAbslStatus(status));
    }
  }
};

template <typename Call>
void CancelOnStop(const std::shared_ptr<Call>& call, std::stop_token stop) {
  // The callback must not keep the call alive, nor outlive it.
  call->on_stop.emplace(std::move(stop), [weak = std::weak_ptr<Call>(call)] {
    if (auto alive = weak.lock()) {
      alive->context.TryCancel();
    }
  });
}

}  // namespace

struct Client::Core {
  Core(const std::shared_ptr<grpc::Channel>& channel,
       const ClientOptions& options)
      : max_message_bytes(options.max_message_bytes),
        timeout(options.timeout),
        stub(v1::LossService::NewStub(channel)),
        health(std::make_unique<HealthStub>(channel)) {}

  using HealthStub = grpc::TemplatedGenericStub<HealthRequest, HealthResponse>;
  using Stub = v1::LossService::Stub;
  template <typename Request, typename Response>
  using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&,
                                        Response*);
  template <typename Request, typename Response>
  using AsyncMethod = void (v1::LossService::StubInterface::async_interface::*)(
      grpc::ClientContext*, const Request*, Response*,
      std::function<void(grpc::Status)>);

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(Method<Request, Response> method,
                                const Request& request,
                                const CallOptions& options) const {
    const size_t size = request.ByteSizeLong();
    if (absl::Status status = CheckSize(size, max_message_bytes);
        !status.ok()) {
      return status;
    }
    grpc::ClientContext context;
    Prepare(context, options, timeout, size);
    std::stop_callback on_stop(options.stop, [&] { context.TryCancel(); });
    Response response;
    const grpc::Status status =
        (stub.get()->*method)(&context, request, &response);
    if (!status.ok()) return ToAbslStatus(status);
    return response;
  }

  template <typename Request, typename Response>
  absl::StatusOr<Response> CallWithHints(Method<Request, Response> method,
                                         Request& request,
                                         const CallOptions& options) const {
    SetHints(request, options);
    return Call(method, request, options);
  }

  const int64_t max_message_bytes;
  const absl::Duration timeout;
  const std::shared_ptr<Stub> stub;  // streams keep it
  // Its methods are not const, but thread-safe.
  const std::unique_ptr<HealthStub> health;
};

namespace {

template <typename Core, typename Request, typename Response>
void CallAsync(const std::shared_ptr<const Core>& core,
               typename Core::template AsyncMethod<Request, Response> method,
               Request request, const CallOptions& options,
               Client::Callback<Response> done) {
  SetHints(request, options);
  const size_t size = request.ByteSizeLong();
  if (absl::Status status = CheckSize(size, core->max_message_bytes);
      !status.ok()) {
    std::move(done)(std::move(status));
    return;
  }
  auto call = std::make_shared<AsyncCall<Request, Response>>();
  call->core = core;
  call->request = std::move(request);
  call->done = std::move(done);
  Prepare(call->context, options, core->timeout, size);
  CancelOnStop(call, options.stop);
  (core->stub->async()->*method)(
      &call->context, &call->request, &call->response,
      [call](const grpc::Status& status) { call->Finish(status); });
}

}  // namespace

Client::Client(absl::string_view address, const ClientOptions& options)
    : core_(std::make_shared<Core>(CreateChannel(address, options), options)) {}

Client::Client(const std::shared_ptr<grpc::Channel>& channel,
               const ClientOptions& options)
    : core_(std::make_shared<Core>(channel, options)) {}

absl::StatusOr<v1::ComputeLossResponse> Client::ComputeLoss(
    const v1::ComputeLossRequest& request, const CallOptions& options) const {
  if (HasHints(options)) {
    return ComputeLoss(v1::ComputeLossRequest(request), options);
  }
  return core_->Call(&Core::Stub::ComputeLoss, request, options);
}

absl::StatusOr<v1::ComputeLossResponse> Client::ComputeLoss(
    v1::ComputeLossRequest&& request, const CallOptions& options) const {
  return core_->CallWithHints(&Core::Stub::ComputeLoss, request, options);
}

absl::StatusOr<v1::ComputeGradientResponse> Client::ComputeGradient(
    const v1::ComputeGradientRequest& request,
    const CallOptions& options) const {
  if (HasHints(options)) {
    return ComputeGradient(v1::ComputeGradientRequest(request), options);
  }
  return core_->Call(&Core::Stub::ComputeGradient, request, options);
}

absl::StatusOr<v1::ComputeGradientResponse> Client::ComputeGradient(
    v1::ComputeGradientRequest&& request, const CallOptions& options) const {
  return core_->CallWithHints(&Core::Stub::ComputeGradient, request, options);
}

absl::StatusOr<v1::ComputeGradientResponse> Client::ComputeRows(
    const v1::RowsHead& head, absl::Span<const StreamedTensor> tensors,
    absl::Span<const StreamedGradient> gradients,
    const CallOptions& options) const {
  v1::StreamRowsRequest message;
  *message.mutable_head() = head;
  if (head.has_gradient()) {
    SetHints(*message.mutable_head()->mutable_gradient(), options);
  } else {
    SetHints(*message.mutable_head()->mutable_loss(), options);
  }
  const size_t size = message.ByteSizeLong();
  if (absl::Status status = CheckSize(size, core_->max_message_bytes);
      !status.ok()) {
    return status;
  }
  grpc::ClientContext context;
  Prepare(context, options, core_->timeout, size);
  std::stop_callback on_stop(options.stop, [&] { context.TryCancel(); });
  return RunRowStream(*core_->stub, context, std::move(message), tensors,
                      gradients);
}

std::unique_ptr<LossStream> Client::StreamLoss(
    const CallOptions& options) const {
  return OpenLossStream(core_->stub, core_->max_message_bytes, options);
}

std::unique_ptr<GradientStream> Client::StreamGradient(
    const CallOptions& options) const {
  return OpenGradientStream(core_->stub, core_->max_message_bytes, options);
}

absl::StatusOr<v1::ListLossesResponse> Client::ListLosses(
    const CallOptions& options) const {
  return core_->Call(&Core::Stub::ListLosses, v1::ListLossesRequest(), options);
}

absl::StatusOr<v1::GetServerInfoResponse> Client::GetServerInfo(
    const CallOptions& options) const {
  return core_->Call(&Core::Stub::GetServerInfo, v1::GetServerInfoRequest(),
                     options);
}

absl::StatusOr<Health> Client::Check(absl::string_view service,
                                     const CallOptions& options) const {
  HealthRequest request;
  request.set_value(std::string(service));
  HealthResponse response;
  grpc::ClientContext context;
  Prepare(context, options, core_->timeout, request.ByteSizeLong());
  std::stop_callback on_stop(options.stop, [&] { context.TryCancel(); });
  grpc::Status status;
  absl::Notification ended;
  core_->health->UnaryCall(&context, kHealthMethod, grpc::StubOptions(),
                           &request, &response, [&](grpc::Status result) {
                             status = std::move(result);
                             ended.Notify();
                           });
  ended.WaitForNotification();
  if (!status.ok()) return ToAbslStatus(status);
  switch (response.value()) {
    case 1:
      return Health::kServing;
    case 2:
      return Health::kNotServing;
    default:
      return Health::kUnknown;
  }
}

void Client::ComputeLossAsync(v1::ComputeLossRequest request,
                              const CallOptions& options,
                              Callback<v1::ComputeLossResponse> done) const {
  CallAsync<Core, v1::ComputeLossRequest, v1::ComputeLossResponse>(
      core_, &v1::LossService::StubInterface::async_interface::ComputeLoss,
      std::move(request), options, std::move(done));
}

void Client::ComputeGradientAsync(
    v1::ComputeGradientRequest request, const CallOptions& options,
    Callback<v1::ComputeGradientResponse> done) const {
  CallAsync<Core, v1::ComputeGradientRequest, v1::ComputeGradientResponse>(
      core_, &v1::LossService::StubInterface::async_interface::ComputeGradient,
      std::move(request), options, std::move(done));
}

void Client::ListLossesAsync(const CallOptions& options,
                             Callback<v1::ListLossesResponse> done) const {
  CallAsync<Core, v1::ListLossesRequest, v1::ListLossesResponse>(
      core_, &v1::LossService::StubInterface::async_interface::ListLosses, {},
      options, std::move(done));
}

void Client::GetServerInfoAsync(
    const CallOptions& options,
    Callback<v1::GetServerInfoResponse> done) const {
  CallAsync<Core, v1::GetServerInfoRequest, v1::GetServerInfoResponse>(
      core_, &v1::LossService::StubInterface::async_interface::GetServerInfo,
      {}, options, std::move(done));
}

}  // namespace lossd
