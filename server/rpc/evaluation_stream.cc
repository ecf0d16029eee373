// SPDX-License-Identifier: Apache-2.0
//
// StreamLoss and StreamGradient.

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/rpc/field_writer.h"
#include "server/rpc/service_call.h"
#include "server/rpc/unknown_fields.h"

namespace lossd {
namespace {

// While so many evaluations are without outcome, or full messages of outcomes
// are not taken, nothing more is read.
constexpr int kMaxOpenEvaluations = 1024;
// A message that has outcomes grows no further than to this.
constexpr int64_t kFullMessageBytes = int64_t{1} << 20;
// What precedes an answer in a message, at most.
constexpr int64_t kHeadBytes = 64;

// The messages of both methods are laid out alike.
using OutcomeFields = v1::GradientOutcome;
constexpr int kOutcomesField = v1::StreamGradientResponse::kOutcomesFieldNumber;

// Appends all of an outcome but the `bytes` of its `field`, which end it.
void AppendOutcomeHead(int64_t id, int field, int64_t bytes,
                       MessageBuilder* message) {
  std::string head;
  FieldWriter writer(&head);
  if (id != 0) writer.Varint(OutcomeFields::kIdFieldNumber, id);
  writer.Length(field, bytes);
  std::string all;
  FieldWriter(&all).Length(kOutcomesField,
                           static_cast<int64_t>(head.size()) + bytes);
  message->Append(all);
  message->Append(head);
}

// The bytes of an EvaluationError.
std::string ErrorBytes(const grpc::Status& status) {
  // A google.rpc.Status, which is laid out like it.
  if (!status.error_details().empty()) return status.error_details();
  v1::EvaluationError error;
  error.set_code(status.error_code());
  error.set_message(status.error_message());
  return error.SerializeAsString();
}

}  // namespace

// A stream of evaluations. Those that are small are computed where they are
// read, one after the other; the outcomes of a message, and all that come while
// a message is being sent, are sent together.
class LossService::EvaluationStream final : public ServiceCall {
 public:
  EvaluationStream(LossService* service, Method method,
                   const ArrivedCall& arrived)
      : ServiceCall(service, method, arrived),
        gradient_(method == Method::kStreamGradient) {}

 private:
  class Call;
  using Calls = std::vector<std::shared_ptr<Call>>;

  void OnAdmitted() override {
    // Evaluations look at it.
    WatchCancellation();
    {
      absl::MutexLock lock(&mutex_);
      reading_ = true;
    }
    Read();
  }

  void OnRead(MessageBytes message) override;
  void OnWritten(bool) override {
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
    }
    GoOn();
  }

  std::shared_ptr<Call> NewCall();
  // Decodes the evaluations of a message, each with what is wrong with it;
  // false if it is none.
  bool ReadCalls(const MessageBytes& message, Calls* calls,
                 std::vector<Violations>* violations);
  template <typename Request>
  bool ParseCalls(const MessageBytes& message, Calls* calls,
                  std::vector<Violations>* violations);

  // Those of the message itself, not those of the messages in it.
  template <typename Message>
  void FindOwnUnknownFields(const Message& message, Violations* violations);

  // An evaluation has its outcome, of about so many bytes, which `append`
  // appends.
  template <typename Append>
  void AddOutcome(int64_t bytes, const Append& append);

  // Does what is due: writes, reads or ends.
  void GoOn();

  const bool gradient_;

  absl::Mutex mutex_;
  // What is to be sent: messages that are full, and one that is not.
  std::deque<MessageBytes> full_ ABSL_GUARDED_BY(mutex_);
  MessageBuilder unsent_ ABSL_GUARDED_BY(mutex_);
  int open_ ABSL_GUARDED_BY(mutex_) = 0;  // evaluations without outcome
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  // Outcomes are collected: the evaluations of a message are being begun.
  bool beginning_ ABSL_GUARDED_BY(mutex_) = false;
  bool caller_done_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);
};

// An evaluation of a stream, which it keeps.
class LossService::EvaluationStream::Call final : public ComputeCall {
 public:
  explicit Call(std::shared_ptr<EvaluationStream> stream)
      : ComputeCall(
            stream->gradient_ ? Method::kStreamGradient : Method::kStreamLoss,
            stream->service_.settings_.limits.max_message_bytes - kHeadBytes),
        grant_(&stream->service_.budget_),
        stream_(std::move(stream)) {}

  bool cancelled() const override { return stream_->cancelled(); }
  // The stream does.
  void WatchCancellation() override {}
  absl::string_view traceparent() const override {
    return stream_->Header("traceparent");
  }
  void Answer(AnswerBytes answer) override {
    stream_->AddOutcome(answer.size(), [&](MessageBuilder* message) {
      AppendOutcomeHead(decoded.id, OutcomeFields::kResponseFieldNumber,
                        answer.size(), message);
      std::move(answer).AppendTo(message);
    });
  }
  // The delay is in the status, too.
  void Fail(const grpc::Status& status, absl::Duration) override {
    const std::string error = ErrorBytes(status);
    const auto bytes = static_cast<int64_t>(error.size());
    stream_->AddOutcome(bytes, [&](MessageBuilder* message) {
      AppendOutcomeHead(decoded.id, OutcomeFields::kErrorFieldNumber, bytes,
                        message);
      message->Append(error);
    });
  }

  bool Admit(int64_t bytes) { return grant_.RaiseTo(bytes); }

  int64_t bytes = 0;  // of the evaluation

 private:
  ByteGrant grant_;
  const std::shared_ptr<EvaluationStream> stream_;
};

std::shared_ptr<LossService::EvaluationStream::Call>
LossService::EvaluationStream::NewCall() {
  return std::make_shared<Call>(
      std::static_pointer_cast<EvaluationStream>(shared_from_this()));
}

bool LossService::EvaluationStream::ReadCalls(
    const MessageBytes& message, Calls* calls,
    std::vector<Violations>* violations) {
  const bool ordinary = service_.decoder_.DecodeStreamed(
      message, gradient_, service_.AccessOf(*this), service_.engine_.pool(),
      [&](int64_t bytes) {
        calls->push_back(NewCall());
        calls->back()->bytes = bytes;
        return &calls->back()->decoded;
      });
  if (ordinary) {
    violations->resize(calls->size(),
                       Violations(service_.settings_.withhold_values));
    return true;
  }
  calls->clear();
  return gradient_
             ? ParseCalls<v1::StreamGradientRequest>(message, calls, violations)
             : ParseCalls<v1::StreamLossRequest>(message, calls, violations);
}

template <typename Request>
bool LossService::EvaluationStream::ParseCalls(
    const MessageBytes& message, Calls* calls,
    std::vector<Violations>* violations) {
  const SharedAccess access = service_.AccessOf(*this);
  auto parsed = std::make_shared<Request>();
  if (!ParseMessage(message, parsed.get())) return false;
  Violations outside(service_.settings_.withhold_values);
  FindOwnUnknownFields(*parsed, &outside);
  for (const auto& each : parsed->evaluations()) {
    std::shared_ptr<Call> call = NewCall();
    Violations found = outside;
    FindOwnUnknownFields(each, &found);
    if (found.empty()) {
      service_.reader_.Read(each.request(), access, &call->decoded, &found);
    }
    call->decoded.id = each.id();
    call->message = parsed;
    call->bytes = static_cast<int64_t>(each.ByteSizeLong());
    calls->push_back(std::move(call));
    violations->push_back(std::move(found));
  }
  return true;
}

void LossService::EvaluationStream::OnRead(MessageBytes message) {
  Calls calls;
  std::vector<Violations> violations;
  const bool end = !message.present();
  const bool good = end || ReadCalls(message, &calls, &violations);
  const grpc::Status status = good ? grpc::Status::OK : RecordMalformed();
  {
    absl::MutexLock lock(&mutex_);
    reading_ = false;
    beginning_ = true;
    open_ += static_cast<int>(calls.size());
    caller_done_ = caller_done_ || end || !good;
    if (!good) status_ = status;
  }
  // Evaluations that wait hold their tensors once.
  message = MessageBytes();
  const absl::Time deadline = service_.DeadlineOf(callers_deadline());
  for (size_t i = 0; i < calls.size(); ++i) {
    calls[i]->deadline = deadline;
    if (calls[i]->Admit(calls[i]->bytes)) {
      service_.Begin(calls[i], std::move(violations[i]));
    } else {
      service_.FailFull(*calls[i], calls[i]->bytes);
    }
  }
  {
    absl::MutexLock lock(&mutex_);
    beginning_ = false;
  }
  GoOn();
}

template <typename Message>
void LossService::EvaluationStream::FindOwnUnknownFields(
    const Message& message, Violations* violations) {
  Message shell;
  shell.GetReflection()->MutableUnknownFields(&shell)->MergeFrom(
      message.GetReflection()->GetUnknownFields(message));
  FindUnknownFields(shell, service_.identity_.version, violations);
}

template <typename Append>
void LossService::EvaluationStream::AddOutcome(int64_t bytes,
                                               const Append& append) {
  {
    absl::MutexLock lock(&mutex_);
    if (unsent_.size() > 0 && unsent_.size() + bytes > kFullMessageBytes) {
      full_.push_back(unsent_.Build());
    }
    append(&unsent_);
    --open_;
    if (beginning_ && full_.empty()) return;
  }
  GoOn();
}

void LossService::EvaluationStream::GoOn() {
  MessageBytes outcomes;
  bool read = false;
  bool finish = false;
  {
    absl::MutexLock lock(&mutex_);
    if (finished_) return;
    if (!writing_ && !full_.empty()) {
      outcomes = std::move(full_.front());
      full_.pop_front();
    } else if (!writing_ && unsent_.size() > 0) {
      outcomes = unsent_.Build();
    }
    writing_ = writing_ || outcomes.present();
    read = !reading_ && !caller_done_ && !beginning_ &&
           open_ < kMaxOpenEvaluations && full_.empty();
    reading_ = reading_ || read;
    finish = caller_done_ && open_ == 0 && !writing_ && !beginning_;
    finished_ = finish;
  }
  if (outcomes.present()) Write(std::move(outcomes));
  if (read) Read();
  if (!finish) return;
  // Nothing changes the status any more.
  absl::MutexLock lock(&mutex_);
  if (status_.ok()) {
    Finish(MessageBytes());
  } else {
    Finish(status_);
  }
}

std::shared_ptr<CoreCall> LossService::MakeStream(Method method,
                                                  const ArrivedCall& arrived) {
  return std::make_shared<EvaluationStream>(this, method, arrived);
}

}  // namespace lossd
