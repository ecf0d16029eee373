// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/row_stream_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/loss_service.h"

namespace lossd {
namespace {

// Chunks that a stream holds for each that it is granted: one that is computed
// and one that waits.
constexpr int64_t kChunksHeld = 2;

}  // namespace

LossService::RowStreamCall::RowStreamCall(LossService* service,
                                          const ArrivedCall& arrived)
    : ServiceCall(service, Method::kStreamRows, arrived),
      ComputeCall(Method::kStreamRows,
                  service->settings_.limits.max_message_bytes),
      grant_(&service->budget_) {
  deadline = service->DeadlineOf(callers_deadline());
}

void LossService::RowStreamCall::OnAdmitted() {
  WatchCancellation();
  Read();
}

void LossService::RowStreamCall::OnRead(MessageBytes message) {
  const int64_t bytes = message.size();
  if (stream_ == nullptr) head_bytes_ = bytes;
  if (!grant_.RaiseTo(stream_ == nullptr ? bytes
                                         : head_bytes_ + kChunksHeld * bytes)) {
    if (Decide()) service_.FailFull(*this, bytes);
  } else if (stream_ == nullptr) {
    ReadHead(message);
  } else if (message.present()) {
    ReadChunk(message);
  } else {
    ReadEnd();
  }
  message = MessageBytes();
  {
    absl::MutexLock lock(&mutex_);
    reading_ = false;
  }
  Advance();
}

void LossService::RowStreamCall::ReadHead(const MessageBytes& message) {
  Violations violations(service_.settings_.withhold_values);
  auto request = std::make_unique<v1::StreamRowsRequest>();
  if (!message.present() || !ParseMessage(message, request.get()) ||
      !request->has_head()) {
    violations.Add(Reason::kMalformedRequest, "",
                   "the first message is not a lossd.v1.StreamRowsRequest with "
                   "a head.");
    FailViolations(violations);
    return;
  }
  service_.reader_.Read(request->head(), &decoded, &violations);
  this->message = std::move(request);
  if (violations.empty()) {
    stream_ =
        RowStream::Create(service_.engine_, decoded.evaluation, &violations);
  }
  if (!violations.empty()) FailViolations(violations);
}

void LossService::RowStreamCall::ReadChunk(const MessageBytes& message) {
  Violations violations(service_.settings_.withhold_values);
  DecodedRows rows;
  if (!ReadRows(message, *stream_, stream_->rows() - rows_read_,
                service_.identity_.version, service_.engine_.pool(), &rows,
                &violations)) {
    FailViolations(violations);
    return;
  }
  rows_read_ += rows.chunk.rows;
  absl::MutexLock lock(&mutex_);
  next_ = std::move(rows);
}

void LossService::RowStreamCall::ReadEnd() {
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }
  if (rows_read_ == stream_->rows()) return;
  if (cancelled()) {
    FailGone();
    return;
  }
  Violations violations;
  violations.Add(Reason::kShapeMismatch, "chunk.rows",
                 absl::StrCat("the stream ended after ", rows_read_, " of ",
                              stream_->rows(),
                              " rows: send as many as dimension 0 in the "
                              "head."));
  FailViolations(violations);
}

void LossService::RowStreamCall::OnWritten(bool ok) {
  {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
  }
  if (!ok) FailGone();
  Advance();
}

void LossService::RowStreamCall::OnCancelled() { FailGone(); }

void LossService::RowStreamCall::Compute(const BatchPlacement& placement) {
  Violations violations(service_.settings_.withhold_values);
  RowStream::Gradients gradients;
  const absl::Time start = service_.clock_.Now();
  const bool good = stream_->Feed(computed_.chunk, &gradients, &violations);
  const absl::Duration elapsed =
      std::max(service_.clock_.Now() - start, absl::ZeroDuration());
  queued_ += placement.queued;
  computing_time_ += elapsed;
  const Task* const tasks[] = {&stream_->whole()};
  service_.recorder_.OnComputed(tasks, elapsed);
  computed_ = DecodedRows();
  MessageBytes written;
  if (!good) {
    FailViolations(violations);
  } else if (gradients.rows > 0 && !gradients.tensors.empty()) {
    written = WriteGradients(std::move(gradients));
  }
  {
    absl::MutexLock lock(&mutex_);
    computing_ = false;
    gradients_ = std::move(written);
  }
  Advance();
}

MessageBytes LossService::RowStreamCall::WriteGradients(
    RowStream::Gradients gradients) {
  const int64_t limit = max_answer_bytes;
  int64_t bytes = 0;
  MessageBytes written = WriteGradientRows(std::move(gradients), limit, &bytes);
  if (written.present()) return written;
  Violations violations;
  violations.AddMetadata("limit", absl::StrCat(limit));
  violations.AddMetadata("actual", absl::StrCat(bytes));
  violations.Add(Reason::kLimitExceeded, "chunk.rows",
                 absl::StrCat("the gradients of a chunk have ", bytes,
                              " bytes, but this server sends at most ", limit,
                              ": send fewer rows in a chunk."));
  FailViolations(violations);
  return MessageBytes();
}

void LossService::RowStreamCall::SubmitChunk() {
  {
    absl::MutexLock lock(&mutex_);
    computed_ = *std::move(next_);
    next_.reset();
  }
  service_.BatcherOf(stream_->backend())
      .Submit(std::make_unique<Item>(
          std::static_pointer_cast<RowStreamCall>(shared_from_this())));
}

void LossService::RowStreamCall::FinishResult() {
  Task& task = stream_->Finish();
  const Task* const tasks[] = {&task};
  // Counts a result that is not finite; the time has been counted.
  service_.recorder_.OnComputed(tasks, absl::ZeroDuration());
  AnswerBytes answer = service_.writer_.Write(task, false, {},
                                              {.batch_requests = 1,
                                               .batch_rows = task.units,
                                               .queued = queued_,
                                               .computing = computing_time_});
  service_.recorder_.OnAnswer(method, loss_name());
  Answer(std::move(answer));
}

bool LossService::RowStreamCall::Decide() {
  absl::MutexLock lock(&mutex_);
  return !std::exchange(decided_, true);
}

void LossService::RowStreamCall::FailViolations(const Violations& violations) {
  if (Decide()) service_.FailViolations(*this, violations);
}

void LossService::RowStreamCall::FailGone() {
  if (!Decide()) return;
  const bool late = service_.clock_.Now() >= deadline;
  service_.FailDropped(
      *this,
      {late ? DropReason::kDeadlineExceeded : DropReason::kCancelled,
       DropStage::kRun,
       late ? absl::DeadlineExceededError(
                  "the deadline passed before all rows were computed; allow "
                  "more time")
            : absl::CancelledError(
                  "the caller cancelled before all rows were computed"),
       absl::ZeroDuration()});
}

void LossService::RowStreamCall::Fail(const grpc::Status& status,
                                      absl::Duration retry_pushback) {
  {
    absl::MutexLock lock(&mutex_);
    failure_ = status;
    pushback_ = retry_pushback;
  }
  Advance();
}

LossService::RowStreamCall::Step LossService::RowStreamCall::NextStep() {
  if (finished_) return Step::kNothing;
  if (failure_.has_value()) return writing_ ? Step::kNothing : Step::kFail;
  if (decided_) return Step::kNothing;
  if (gradients_.present()) {
    if (!writing_) return Step::kWrite;
  } else if (next_.has_value() && !computing_) {
    return Step::kCompute;
  }
  if (next_.has_value()) return Step::kNothing;
  if (!closed_) return reading_ ? Step::kNothing : Step::kRead;
  return computing_ || writing_ || gradients_.present() ? Step::kNothing
                                                        : Step::kFinish;
}

void LossService::RowStreamCall::Advance() {
  while (true) {
    Step step = Step::kNothing;
    MessageBytes gradients;
    {
      absl::MutexLock lock(&mutex_);
      if (advancing_) return;
      step = NextStep();
      switch (step) {
        case Step::kNothing:
          return;
        case Step::kFail:
          finished_ = true;
          break;
        case Step::kWrite:
          writing_ = true;
          gradients = std::move(gradients_);
          break;
        case Step::kCompute:
          computing_ = true;
          break;
        case Step::kRead:
          reading_ = true;
          break;
        case Step::kFinish:
          decided_ = finished_ = true;
          break;
      }
      advancing_ = true;
    }
    Do(step, std::move(gradients));
    absl::MutexLock lock(&mutex_);
    advancing_ = false;
  }
}

void LossService::RowStreamCall::Do(Step step, MessageBytes gradients) {
  switch (step) {
    case Step::kNothing:
      break;
    case Step::kFail: {
      mutex_.Lock();
      const grpc::Status status = *failure_;
      const absl::Duration pushback = pushback_;
      mutex_.Unlock();
      Finish(status, pushback);
      break;
    }
    case Step::kWrite:
      Write(std::move(gradients));
      break;
    case Step::kCompute:
      SubmitChunk();
      break;
    case Step::kRead:
      Read();
      break;
    case Step::kFinish:
      FinishResult();
      break;
  }
}

BatchItem::Cost LossService::RowStreamCall::Item::cost() const {
  const RowStream& stream = *call_->stream_;
  const int64_t rows = call_->computed_.chunk.rows;
  const lossd::Cost cost = stream.CostOf(rows);
  int64_t input = 0;
  for (int slot = 0; slot < kMaxTensors; ++slot) {
    if (stream.streams(slot)) input += stream.RowBytes(slot) * rows;
  }
  return {.bytes = input + stream.GradientBytes(rows) + cost.scratch_bytes,
          .units = stream.UnitsOf(rows),
          .operations = cost.operations + kCallOperations};
}

uint64_t LossService::RowStreamCall::Item::batch_key() const {
  return kChunkKey;
}

BatchPriority LossService::RowStreamCall::Item::priority() const {
  return call_->decoded.low_priority ? BatchPriority::kLow
                                     : BatchPriority::kNormal;
}

void LossService::RowStreamCall::Item::OnDropped(const Drop& drop) {
  if (call_->Decide()) call_->service_.FailDropped(*call_, drop);
}

}  // namespace lossd
