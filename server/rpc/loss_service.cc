// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/loss_service.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/rpc/loss_catalog.h"
#include "server/rpc/message_bytes.h"
#include "server/rpc/server_info.h"
#include "server/rpc/version.h"

namespace lossd {
namespace {

// What a call costs beside its arithmetic, in operations.
constexpr double kCallOperations = 4096;

BatcherOptions OptionsOf(const Settings& settings) {
  BatcherOptions options;
  options.workers = settings.batching.workers;
  options.inline_operations = settings.batching.inline_operations;
  options.max_batch_bytes = settings.batching.max_batch_bytes;
  options.max_batch_units = settings.batching.max_batch_rows;
  options.max_batch_requests = settings.batching.max_batch_requests;
  options.max_queue_bytes = settings.limits.max_queue_bytes;
  options.max_queue_operations = settings.limits.max_queue_operations;
  options.max_queue_requests = settings.limits.max_queue_requests;
  return options;
}

std::vector<DeviceClass> DevicesOf(const Engine& engine) {
  std::vector<DeviceClass> devices;
  for (const auto& backend : engine.backends()) {
    devices.push_back(backend->device_class());
  }
  return devices;
}

Reason ReasonOf(DropReason reason) {
  switch (reason) {
    case DropReason::kQueueFull:
      return Reason::kQueueFull;
    case DropReason::kDeadlineUnreachable:
      return Reason::kDeadlineUnreachable;
    case DropReason::kDeadlineExceeded:
      return Reason::kDeadlineExceeded;
    case DropReason::kCancelled:
      return Reason::kCancelled;
    case DropReason::kDraining:
      return Reason::kDraining;
  }
  return Reason::kInternal;
}

template <typename Request>
Violations MalformedRequest() {
  Violations violations;
  violations.Add(
      Reason::kMalformedRequest, "",
      absl::StrCat("the request is not a ", Request::descriptor()->full_name(),
                   ": its bytes cannot be parsed."));
  return violations;
}

}  // namespace

// A call in the batcher.
class LossService::Item final : public BatchItem {
 public:
  Item(LossService* service, std::shared_ptr<ComputeCall> call)
      : service_(*service), call_(std::move(call)) {}

  ComputeCall& call() { return *call_; }

  Cost cost() const override {
    const Task& task = *call_->task;
    return {.bytes = task.input_bytes + task.cost.scratch_bytes,
            .units = task.units,
            .operations = task.cost.operations + kCallOperations};
  }
  // Whatever runs on one device can share a batch.
  uint64_t batch_key() const override {
    return reinterpret_cast<uintptr_t>(call_->task->backend);
  }
  BatchPriority priority() const override {
    return call_->decoded.low_priority ? BatchPriority::kLow
                                       : BatchPriority::kNormal;
  }
  absl::Time deadline() const override { return call_->deadline; }
  bool cancelled() const override {
    return call_->cancelled.load(std::memory_order_relaxed);
  }
  void OnDropped(const Drop& drop) override {
    service_.FailDropped(*call_, drop);
  }

 private:
  LossService& service_;
  const std::shared_ptr<ComputeCall> call_;
};

absl::StatusOr<std::unique_ptr<LossService>> LossService::Create(
    const ServerParts& parts) {
  LOSSD_ASSIGN_OR_RETURN(
      WireBinding binding,
      WireBinding::Create(AllLosses(), *v1::Evaluation::descriptor()));
  std::unique_ptr<LossService> service(
      new LossService(parts, std::move(binding)));
  LossService* self = service.get();
  LOSSD_ASSIGN_OR_RETURN(
      service->batcher_,
      Batcher::Create(
          OptionsOf(*parts.settings), parts.clock,
          [self](absl::Span<BatchItem* const> batch) { self->RunBatch(batch); },
          &self->recorder_));
  parts.metrics->BeforeReading([self] {
    const Batcher::Stats stats = self->batcher_->GetStats();
    self->recorder_.SetQueue(stats.queued_requests, stats.queued_bytes);
  });
  return service;
}

LossService::LossService(const ServerParts& parts, WireBinding binding)
    : settings_(*parts.settings),
      engine_(*parts.engine),
      clock_(*parts.clock),
      binding_(std::move(binding)),
      reader_(&binding_, settings_.limits.max_dimensions, ServerVersion()),
      identity_{ServerVersion(), settings_.instance},
      recorder_(binding_, engine_, ServerVersion(), *parts.metrics, *parts.log),
      losses_(DescribeLosses(binding_, DevicesOf(engine_))),
      info_(DescribeServer(settings_, engine_, identity_)) {}

LossService::~LossService() = default;

absl::Time LossService::DeadlineOf(
    const grpc::CallbackServerContext& context) const {
  return std::min(absl::FromChrono(context.deadline()),
                  clock_.Now() + settings_.limits.max_deadline);
}

ErrorContext LossService::ContextOf(const ComputeCall& call) const {
  return {call.loss_name(), identity_.version};
}

template <typename Request>
grpc::ServerUnaryReactor* LossService::Compute(
    Method method, grpc::CallbackServerContext* context,
    const grpc::ByteBuffer* request, grpc::ByteBuffer* answer) {
  recorder_.OnArrival();
  auto call = std::make_shared<ComputeCall>(method, context, answer);
  auto* reactor = new ComputeReactor(call);
  call->deadline = DeadlineOf(*context);
  Begin<Request>(call, request);
  return reactor;
}

template <typename Request>
void LossService::Begin(const std::shared_ptr<ComputeCall>& call,
                        const grpc::ByteBuffer* request) {
  auto* message = google::protobuf::Arena::CreateMessage<Request>(&call->arena);
  // gRPC keeps the request's bytes until the call ends; they are let go of
  // here, so that a call that waits holds its tensors once.
  grpc::ByteBuffer bytes;
  bytes.Swap(const_cast<grpc::ByteBuffer*>(request));
  const bool parsed = ParseMessage(&bytes, message);
  bytes.Clear();
  if (!parsed) {
    FailViolations(*call, MalformedRequest<Request>());
    return;
  }
  Violations violations(settings_.withhold_values);
  reader_.Read(*message, &call->decoded, &violations);
  if (violations.empty()) {
    call->task = engine_.Prepare(call->decoded.evaluation, &violations);
  }
  if (!violations.empty()) {
    FailViolations(*call, violations);
  } else if (call->task == nullptr) {
    FailInternal(*call);
  } else {
    batcher_->Submit(std::make_unique<Item>(this, call));
  }
}

void LossService::RunBatch(absl::Span<BatchItem* const> batch) {
  std::vector<Task*> tasks;
  tasks.reserve(batch.size());
  for (BatchItem* item : batch) {
    tasks.push_back(static_cast<Item*>(item)->call().task.get());
  }
  const absl::Time start = clock_.Now();
  engine_.Run(tasks);
  // The clock can step back.
  const absl::Duration computing =
      std::max(clock_.Now() - start, absl::ZeroDuration());
  recorder_.OnComputed(tasks, computing);
  for (BatchItem* item : batch) {
    const BatchPlacement& placement = item->placement();
    Answer(static_cast<Item*>(item)->call(),
           {.batch_requests = placement.batch_requests,
            .batch_rows = placement.batch_units,
            .queued = placement.queued,
            .computing = computing});
  }
}

void LossService::Answer(ComputeCall& call, const RunRecord& run) {
  if (!call.task->violations.empty()) {
    FailViolations(call, call.task->violations);
    return;
  }
  int64_t bytes = 0;
  if (WriteAnswer(call, identity_, run, settings_.limits.max_message_bytes,
                  &bytes)) {
    recorder_.OnAnswer(call.method, call.loss_name());
    call.reactor->Finish(grpc::Status::OK);
    return;
  }
  const int64_t limit = settings_.limits.max_message_bytes;
  if (bytes <= limit) {
    FailInternal(call);
    return;
  }
  Violations violations;
  violations.AddMetadata("limit", absl::StrCat(limit));
  violations.AddMetadata("actual", absl::StrCat(bytes));
  violations.Add(Reason::kLimitExceeded, "evaluation.outputs",
                 absl::StrCat("the answer has ", bytes,
                              " bytes, but this server sends at most ", limit,
                              ": ask for less in outputs and wrt, send data "
                              "instead of values, or split the evaluation."));
  FailViolations(call, violations);
}

void LossService::FailViolations(ComputeCall& call,
                                 const Violations& violations) {
  const Violation& first = violations.kept().front();
  Finish(call, ViolationsStatus(violations, ContextOf(call)), first.reason,
         first.field);
}

void LossService::FailDropped(ComputeCall& call, const Drop& drop) {
  if (drop.retry_after > absl::ZeroDuration()) {
    call.context->AddTrailingMetadata(
        "grpc-retry-pushback-ms",
        absl::StrCat(absl::ToInt64Milliseconds(
            absl::Ceil(drop.retry_after, absl::Milliseconds(1)))));
  }
  Finish(call,
         ReasonStatus(static_cast<grpc::StatusCode>(drop.status.code()),
                      ReasonOf(drop.reason), drop.status.message(),
                      drop.retry_after, ContextOf(call)),
         ReasonOf(drop.reason), "");
}

void LossService::FailInternal(ComputeCall& call) {
  if (call.decoded.request_id.empty()) {
    call.decoded.request_id = recorder_.MakeRequestId();
  }
  Finish(call,
         ReasonStatus(
             grpc::StatusCode::INTERNAL, Reason::kInternal,
             absl::StrCat("a defect in the server: its log has the request id ",
                          call.decoded.request_id, "."),
             absl::ZeroDuration(), ContextOf(call)),
         Reason::kInternal, "");
}

void LossService::Finish(ComputeCall& call, const grpc::Status& status,
                         Reason reason, absl::string_view field) {
  if (call.decoded.request_id.empty()) {
    call.decoded.request_id = recorder_.MakeRequestId();
  }
  recorder_.OnFailure(call.method, call.loss_name(), *call.context, status,
                      reason, field, call.decoded.request_id);
  call.reactor->Finish(status);
}

template <typename Request>
grpc::ServerUnaryReactor* LossService::Tell(
    Method method, grpc::CallbackServerContext* context,
    const grpc::ByteBuffer* request, const google::protobuf::Message& message,
    grpc::ByteBuffer* answer) {
  recorder_.OnArrival();
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  grpc::ByteBuffer bytes(*request);
  Request ignored;
  if (ParseMessage(&bytes, &ignored) && SerializeMessage(message, answer)) {
    recorder_.OnAnswer(method, "");
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  const grpc::Status status =
      ViolationsStatus(MalformedRequest<Request>(), {"", identity_.version});
  recorder_.OnFailure(method, "", *context, status, Reason::kMalformedRequest,
                      "", recorder_.MakeRequestId());
  reactor->Finish(status);
  return reactor;
}

grpc::ServerUnaryReactor* LossService::ComputeLoss(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* answer) {
  return Compute<v1::ComputeLossRequest>(Method::kComputeLoss, context, request,
                                         answer);
}

grpc::ServerUnaryReactor* LossService::ComputeGradient(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* answer) {
  return Compute<v1::ComputeGradientRequest>(Method::kComputeGradient, context,
                                             request, answer);
}

grpc::ServerUnaryReactor* LossService::ListLosses(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* answer) {
  return Tell<v1::ListLossesRequest>(Method::kListLosses, context, request,
                                     losses_, answer);
}

grpc::ServerUnaryReactor* LossService::GetServerInfo(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
    grpc::ByteBuffer* answer) {
  return Tell<v1::GetServerInfoRequest>(Method::kGetServerInfo, context,
                                        request, info_, answer);
}

}  // namespace lossd
