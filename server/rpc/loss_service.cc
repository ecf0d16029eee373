// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/loss_service.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/impl/codegen/server_callback_handlers.h"
#include "grpcpp/impl/rpc_service_method.h"
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

Violations MalformedRequest(Method method) {
  Violations violations;
  violations.Add(
      Reason::kMalformedRequest, "",
      absl::StrCat("the request is not a lossd.v1.", MethodName(method),
                   "Request: its bytes cannot be parsed."));
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
    return {.bytes = task.input_bytes + task.response_bytes +
                     task.cost.scratch_bytes,
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

// A call that computes, as gRPC sees it.
class LossService::ComputeReactor final : public UnaryReactor {
 public:
  ComputeReactor(LossService* service, Method method,
                 grpc::CallbackServerContext* context)
      : service_(*service),
        call_(std::make_shared<ComputeCall>(method, context, this)),
        admitted_(service_.Admit(method, *context, this)) {}
  ~ComputeReactor() override {
    if (admitted_) service_.recorder_.OnGone();
  }
  void OnCancel() override {
    call_->cancelled.store(true, std::memory_order_relaxed);
  }

 private:
  void OnRequest(bool received, grpc::ByteBuffer request) override {
    if (admitted_) service_.Begin(call_, received, std::move(request));
  }

  LossService& service_;
  const std::shared_ptr<ComputeCall> call_;
  const bool admitted_;
};

// A call whose answer is always the same.
class LossService::TellReactor final : public UnaryReactor {
 public:
  TellReactor(LossService* service, Method method,
              const grpc::CallbackServerContext* context,
              const google::protobuf::Message* answer)
      : service_(*service),
        method_(method),
        context_(*context),
        answer_(*answer),
        admitted_(service_.Admit(method, *context, this)) {}
  ~TellReactor() override {
    if (admitted_) service_.recorder_.OnGone();
  }

 private:
  void OnRequest(bool received, grpc::ByteBuffer request) override {
    if (!admitted_) return;
    CallRecorder& recorder = service_.recorder_;
    // The requests of these calls have no fields.
    v1::ListLossesRequest ignored;
    grpc::ByteBuffer answer;
    if (received && ParseMessage(&request, &ignored) &&
        SerializeMessage(answer_, &answer)) {
      recorder.OnAnswer(method_, "");
      Answer(std::move(answer));
      return;
    }
    const grpc::Status status = ViolationsStatus(
        MalformedRequest(method_), {"", service_.identity_.version});
    recorder.OnFailure(method_, "", context_, status, Reason::kMalformedRequest,
                       "", recorder.MakeRequestId());
    Fail(status);
  }

  LossService& service_;
  const Method method_;
  const grpc::CallbackServerContext& context_;
  const google::protobuf::Message& answer_;
  const bool admitted_;
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
      info_(DescribeServer(settings_, engine_, identity_)) {
  for (Method method : {Method::kComputeLoss, Method::kComputeGradient}) {
    AddUnaryMethod(method, [=, this](grpc::CallbackServerContext* context) {
      return new ComputeReactor(this, method, context);
    });
  }
  AddUnaryMethod(
      Method::kListLosses, [this](grpc::CallbackServerContext* context) {
        return new TellReactor(this, Method::kListLosses, context, &losses_);
      });
  AddUnaryMethod(
      Method::kGetServerInfo, [this](grpc::CallbackServerContext* context) {
        return new TellReactor(this, Method::kGetServerInfo, context, &info_);
      });
}

void LossService::AddUnaryMethod(
    Method method,
    std::function<UnaryReactor*(grpc::CallbackServerContext*)> make) {
  using grpc::internal::RpcServiceMethod;
  // gRPC owns the handler, and borrows the path.
  auto* registered = new RpcServiceMethod(
      MethodPath(method), grpc::internal::RpcMethod::BIDI_STREAMING,
      new grpc::internal::CallbackBidiHandler<grpc::ByteBuffer,
                                              grpc::ByteBuffer>(
          std::move(make)));
  registered->SetServerApiType(RpcServiceMethod::ApiType::RAW_CALL_BACK);
  AddMethod(registered);
}

LossService::~LossService() = default;

absl::Time LossService::DeadlineOf(
    const grpc::CallbackServerContext& context) const {
  return std::min(absl::FromChrono(context.deadline()),
                  clock_.Now() + settings_.limits.max_deadline);
}

ErrorContext LossService::ContextOf(const ComputeCall& call) const {
  return {call.loss_name(), identity_.version};
}

bool LossService::Admit(Method method,
                        const grpc::CallbackServerContext& context,
                        UnaryReactor* reactor) {
  // Counted first: whoever refuses calls and then sees none in flight knows
  // that there will be none.
  recorder_.OnArrival();
  if (!refusing_.load()) return true;
  const grpc::Status status =
      ReasonStatus(grpc::StatusCode::UNAVAILABLE, Reason::kDraining,
                   "the server is shutting down: another replica can answer.",
                   absl::ZeroDuration(), {"", identity_.version});
  recorder_.OnFailure(method, "", context, status, Reason::kDraining, "", "");
  recorder_.OnGone();
  reactor->Fail(status);
  return false;
}

template <typename Request>
bool LossService::Parse(ComputeCall& call, grpc::ByteBuffer* bytes,
                        Violations* violations) const {
  auto* message = google::protobuf::Arena::CreateMessage<Request>(&call.arena);
  if (!ParseMessage(bytes, message)) return false;
  reader_.Read(*message, &call.decoded, violations);
  return true;
}

void LossService::Begin(const std::shared_ptr<ComputeCall>& call, bool received,
                        grpc::ByteBuffer bytes) {
  call->deadline = DeadlineOf(*call->context);
  Violations violations(settings_.withhold_values);
  const bool parsed =
      received &&
      (call->method == Method::kComputeLoss
           ? Parse<v1::ComputeLossRequest>(*call, &bytes, &violations)
           : Parse<v1::ComputeGradientRequest>(*call, &bytes, &violations));
  // A call that waits holds its tensors once.
  bytes.Clear();
  if (!parsed) {
    FailViolations(*call, MalformedRequest(call->method));
    return;
  }
  if (violations.empty()) {
    call->task = engine_.Prepare(call->decoded.evaluation, &violations);
  }
  if (!violations.empty()) {
    FailViolations(*call, violations);
  } else if (call->task == nullptr) {
    FailInternal(*call);
  } else if (call->task->evaluation.validate_only) {
    engine_.Describe(call->task.get());
    Answer(*call, {});
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
  // The clock can step back.
  const auto elapsed = [&] {
    return std::max(clock_.Now() - start, absl::ZeroDuration());
  };
  engine_.Run(tasks, [&](size_t index) {
    auto& item = static_cast<Item&>(*batch[index]);
    const BatchPlacement& placement = item.placement();
    Answer(item.call(), {.batch_requests = placement.batch_requests,
                         .batch_rows = placement.batch_units,
                         .queued = placement.queued,
                         .computing = elapsed()});
  });
  recorder_.OnComputed(tasks, elapsed());
}

void LossService::Answer(ComputeCall& call, const RunRecord& run) {
  if (!call.task->violations.empty()) {
    FailViolations(call, call.task->violations);
    return;
  }
  const int64_t limit = settings_.limits.max_message_bytes;
  int64_t bytes = 0;
  grpc::ByteBuffer answer;
  if (WriteAnswer(call, identity_, run, limit, &answer, &bytes)) {
    recorder_.OnAnswer(call.method, call.loss_name());
    call.reactor->Answer(std::move(answer));
    return;
  }
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
  call.reactor->Fail(status);
}

}  // namespace lossd
