// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/loss_service.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/rpc/loss_catalog.h"
#include "server/rpc/row_stream_call.h"
#include "server/rpc/server_info.h"
#include "server/rpc/service_call.h"
#include "server/rpc/version.h"

namespace lossd {
namespace {

// In which a caller announces the bytes of its request.
constexpr char kRequestBytesHeader[] = "lossd-request-bytes";

BatcherOptions OptionsOf(const Settings& settings, const Backend& backend) {
  BatcherOptions options;
  if (backend.device_class() == DeviceClass::kCpu) {
    options.workers = settings.batching.workers;
    options.inline_operations = settings.batching.inline_operations;
  } else {
    // A worker for each batch in flight: what comes while all of them wait for
    // the device is the next batch. Threads that read calls never wait.
    options.workers = backend.max_runs();
    options.inline_operations = -1;
  }
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
  // Whatever runs on one backend can share a batch.
  uint64_t batch_key() const override { return kEvaluationKey; }
  BatchPriority priority() const override {
    return call_->decoded.low_priority ? BatchPriority::kLow
                                       : BatchPriority::kNormal;
  }
  absl::Time deadline() const override { return call_->deadline; }
  bool cancelled() const override { return call_->cancelled(); }
  void OnDropped(const Drop& drop) override {
    service_.FailDropped(*call_, drop);
  }

 private:
  LossService& service_;
  const std::shared_ptr<ComputeCall> call_;
};

// A call that computes.
class LossService::UnaryComputeCall final : public ServiceCall,
                                            public ComputeCall {
 public:
  UnaryComputeCall(LossService* service, Method method,
                   const ArrivedCall& arrived)
      : ServiceCall(service, method, arrived),
        ComputeCall(method, service->settings_.limits.max_message_bytes),
        grant_(&service->budget_) {
    deadline = service->DeadlineOf(callers_deadline());
  }

  bool cancelled() const override { return CoreCall::cancelled(); }
  void WatchCancellation() override { CoreCall::WatchCancellation(); }
  absl::string_view traceparent() const override {
    return Header("traceparent");
  }
  void Answer(AnswerBytes answer) override {
    MessageBuilder message;
    std::move(answer).AppendTo(&message);
    Finish(message.Build());
  }
  void Fail(const grpc::Status& status,
            absl::Duration retry_pushback) override {
    Finish(status, retry_pushback);
  }

 private:
  void OnAdmitted() override {
    int64_t announced = 0;
    if (absl::SimpleAtoi(Header(kRequestBytesHeader), &announced) &&
        !grant_.RaiseTo(
            std::min(announced, service_.settings_.limits.max_message_bytes))) {
      service_.FailFull(*this, announced);
      return;
    }
    Read();
  }
  void OnRead(MessageBytes message) override {
    if (!message.present()) {
      FinishWithoutRequest();
      return;
    }
    if (!grant_.RaiseTo(message.size())) {
      service_.FailFull(*this, message.size());
      return;
    }
    Violations violations(service_.settings_.withhold_values);
    if (!service_.Read(*this, message, service_.AccessOf(*this), &violations)) {
      service_.FailViolations(*this, Malformed(method_));
      return;
    }
    // A call that waits holds its tensors once.
    message = MessageBytes();
    service_.Begin(std::shared_ptr<ComputeCall>(shared_from_this(), this),
                   std::move(violations));
  }

  // Of the request's bytes, until the call has ended.
  ByteGrant grant_;
};

// A call whose answer does not depend on its request.
class LossService::TellCall final : public ServiceCall {
 public:
  TellCall(LossService* service, Method method, const ArrivedCall& arrived,
           std::string answer)
      : ServiceCall(service, method, arrived), answer_(std::move(answer)) {}

 private:
  void OnRead(MessageBytes message) override {
    if (!message.present()) {
      FinishWithoutRequest();
      return;
    }
    // The requests of these calls have no fields.
    v1::ListLossesRequest ignored;
    if (ParseMessage(message, &ignored)) {
      service_.recorder_.OnAnswer(method_, "");
      MessageBuilder builder;
      builder.Append(answer_);
      Finish(builder.Build());
      return;
    }
    Finish(RecordMalformed());
  }

  const std::string answer_;
};

absl::StatusOr<std::unique_ptr<LossService>> LossService::Create(
    const ServerParts& parts, const SharedRegions* regions,
    std::function<void()> on_lost) {
  LOSSD_ASSIGN_OR_RETURN(
      WireBinding binding,
      WireBinding::Create(AllLosses(), *v1::Evaluation::descriptor()));
  std::unique_ptr<LossService> service(
      new LossService(parts, regions, std::move(binding), std::move(on_lost)));
  LossService* self = service.get();
  for (const auto& backend : parts.engine->backends()) {
    LOSSD_ASSIGN_OR_RETURN(
        auto batcher,
        Batcher::Create(
            OptionsOf(*parts.settings, *backend), parts.clock,
            [self](absl::Span<BatchItem* const> b) { self->RunBatch(b); },
            &self->recorder_));
    service->batchers_.push_back(std::move(batcher));
  }
  parts.metrics->BeforeReading([self] {
    int requests = 0;
    int64_t bytes = 0;
    for (const auto& batcher : self->batchers_) {
      const Batcher::Stats stats = batcher->GetStats();
      requests += stats.queued_requests;
      bytes += stats.queued_bytes;
    }
    self->recorder_.SetQueue(requests, bytes);
    self->recorder_.RefreshDevices();
  });
  return service;
}

LossService::LossService(const ServerParts& parts, const SharedRegions* regions,
                         WireBinding binding, std::function<void()> on_lost)
    : settings_(*parts.settings),
      engine_(*parts.engine),
      clock_(*parts.clock),
      regions_(regions),
      binding_(std::move(binding)),
      reader_(&binding_, settings_.limits.max_dimensions, ServerVersion()),
      decoder_(&binding_, settings_.limits.max_dimensions),
      identity_{ServerVersion(), settings_.instance},
      writer_(identity_, engine_),
      budget_(settings_.limits.max_in_flight_bytes),
      recorder_(binding_, engine_, ServerVersion(), *parts.metrics, *parts.log),
      losses_(DescribeLosses(binding_, DevicesOf(engine_)).SerializeAsString()),
      on_lost_(std::move(on_lost)) {
  for (size_t i = 0; i < std::size(kMethodPaths); ++i) {
    const auto method = static_cast<Method>(i);
    AddQueuedMethod(MethodPath(method), [=, this](const ArrivedCall& arrived) {
      return MakeCall(method, arrived);
    });
  }
}

std::shared_ptr<CoreCall> LossService::MakeCall(Method method,
                                                const ArrivedCall& arrived) {
  switch (method) {
    case Method::kListLosses:
      return std::make_shared<TellCall>(this, method, arrived, losses_);
    case Method::kGetServerInfo:
      return std::make_shared<TellCall>(
          this, method, arrived,
          DescribeServer(settings_, engine_, identity_).SerializeAsString());
    case Method::kStreamLoss:
    case Method::kStreamGradient:
      return MakeStream(method, arrived);
    case Method::kStreamRows:
      return std::make_shared<RowStreamCall>(this, arrived);
    default:
      return std::make_shared<UnaryComputeCall>(this, method, arrived);
  }
}

LossService::~LossService() = default;

void LossService::Drain() {
  for (const auto& batcher : batchers_) batcher->Drain();
}

Batcher& LossService::BatcherOf(const Backend* backend) {
  return *batchers_[engine_.IndexOf(backend)];
}

Violations LossService::Malformed(Method method) {
  Violations violations;
  violations.Add(
      Reason::kMalformedRequest, "",
      absl::StrCat("the request is not a lossd.v1.", MethodName(method),
                   "Request: its bytes cannot be parsed."));
  return violations;
}

SharedAccess LossService::AccessOf(const CoreCall& call) {
  return {.regions = regions_,
          .unix_socket = regions_ != nullptr && call.over_unix_socket(),
          .budget = &budget_};
}

absl::Time LossService::DeadlineOf(absl::Time callers) const {
  return std::min(callers, clock_.Now() + settings_.limits.max_deadline);
}

ErrorContext LossService::ContextOf(const ComputeCall& call) const {
  return {call.loss_name(), identity_.version};
}

template <typename Request>
bool LossService::Parse(ComputeCall& call, const MessageBytes& bytes,
                        const SharedAccess& access,
                        Violations* violations) const {
  auto message = std::make_shared<Request>();
  call.decoded = DecodedRequest();
  if (!ParseMessage(bytes, message.get())) return false;
  reader_.Read(*message, access, &call.decoded, violations);
  call.message = std::move(message);
  return true;
}

bool LossService::Read(ComputeCall& call, const MessageBytes& bytes,
                       const SharedAccess& access,
                       Violations* violations) const {
  const bool gradient = call.method == Method::kComputeGradient;
  if (decoder_.Decode(bytes, gradient, access, engine_.pool(), &call.decoded)) {
    return true;
  }
  return gradient
             ? Parse<v1::ComputeGradientRequest>(call, bytes, access,
                                                 violations)
             : Parse<v1::ComputeLossRequest>(call, bytes, access, violations);
}

void LossService::Begin(const std::shared_ptr<ComputeCall>& call,
                        Violations violations) {
  if (violations.empty()) {
    call->task = engine_.Prepare(call->decoded.evaluation, &violations);
    if (call->task != nullptr) {
      call->decoded.shared.Settle(call->task.get(), &violations);
    }
  }
  if (!violations.empty()) {
    FailViolations(*call, violations);
  } else if (call->task == nullptr) {
    FailInternal(*call);
  } else if (call->task->evaluation.validate_only) {
    engine_.Describe(call->task.get());
    Answer(*call, {});
  } else if (BatcherOf(call->task->backend)
                 .Submit(std::make_unique<Item>(this, call))) {
    call->WatchCancellation();
  }
}

void LossService::RunBatch(absl::Span<BatchItem* const> batch) {
  // All of a batch are of one kind, because their keys are equal.
  if (dynamic_cast<RowStreamCall::Item*>(batch[0]) != nullptr) {
    for (BatchItem* item : batch) {
      static_cast<RowStreamCall::Item*>(item)->Run();
    }
    return;
  }
  absl::InlinedVector<Task*, 16> tasks;
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
  AnswerBytes answer = writer_.Write(*call.task, call.decoded.answer_in_values,
                                     call.decoded.shared.gradients(), run);
  const int64_t bytes = answer.size();
  if (bytes <= call.max_answer_bytes) {
    recorder_.OnAnswer(call.method, call.loss_name());
    // What was computed from them is on its way, which can take long.
    call.decoded.memory = AlignedBuffer();
    call.Answer(std::move(answer));
    return;
  }
  Violations violations;
  violations.AddMetadata("limit", absl::StrCat(call.max_answer_bytes));
  violations.AddMetadata("actual", absl::StrCat(bytes));
  violations.Add(Reason::kLimitExceeded, "evaluation.outputs",
                 absl::StrCat("the answer has ", bytes,
                              " bytes, but this server sends at most ",
                              call.max_answer_bytes,
                              ": ask for less in outputs and wrt, send data "
                              "instead of values, or split the evaluation."));
  FailViolations(call, violations);
}

void LossService::FailViolations(ComputeCall& call,
                                 const Violations& violations) {
  const Violation& first = violations.kept().front();
  if (first.reason == Reason::kDeviceFailed && !engine_.ServesDefault()) {
    on_lost_();
  }
  Finish(call, ViolationsStatus(violations, ContextOf(call)), first.reason,
         first.field);
}

void LossService::FailDropped(ComputeCall& call, const Drop& drop) {
  Finish(call,
         ReasonStatus(static_cast<grpc::StatusCode>(drop.status.code()),
                      ReasonOf(drop.reason), drop.status.message(),
                      drop.retry_after, ContextOf(call)),
         ReasonOf(drop.reason), "", drop.retry_after);
}

void LossService::FailFull(ComputeCall& call, int64_t bytes) {
  // Of which backend the call would have been is not known yet.
  absl::Duration delay = absl::ZeroDuration();
  for (const auto& batcher : batchers_) {
    delay = std::max(delay, batcher->RetryDelay());
  }
  Finish(call,
         ReasonStatus(
             grpc::StatusCode::RESOURCE_EXHAUSTED, Reason::kQueueFull,
             absl::StrCat("the request has ", bytes,
                          " bytes, and the calls in "
                          "flight have ",
                          budget_.taken(), " of at most ", budget_.max_bytes(),
                          "; retry after the suggested delay, or elsewhere"),
             delay, ContextOf(call)),
         Reason::kQueueFull, "", delay);
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
                         Reason reason, absl::string_view field,
                         absl::Duration retry_pushback) {
  if (call.decoded.request_id.empty()) {
    call.decoded.request_id = recorder_.MakeRequestId();
  }
  recorder_.OnFailure(call.method, call.loss_name(), call.traceparent(), status,
                      reason, field, call.decoded.request_id);
  call.Fail(status, retry_pushback);
}

}  // namespace lossd
