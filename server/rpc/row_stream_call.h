// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_ROW_STREAM_CALL_H_
#define LOSSD_SERVER_RPC_ROW_STREAM_CALL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/support/status.h"
#include "server/batching/batch_item.h"
#include "server/batching/byte_budget.h"
#include "server/engine/row_stream.h"
#include "server/rpc/compute_call.h"
#include "server/rpc/core_call.h"
#include "server/rpc/loss_service.h"
#include "server/rpc/message_bytes.h"
#include "server/rpc/rows_chunk.h"
#include "server/rpc/service_call.h"

namespace lossd {

// A call of StreamRows. At any time at most one chunk is computed, as an item
// of the batcher; the next has been read and waits; and the gradients of the
// one before are being written. Nothing more is read until one of them has
// moved on, so a client that does not take its gradients is not read from, and
// the memory of a stream is that of its head and of a few chunks.
class LossService::RowStreamCall final : public ServiceCall,
                                         public ComputeCall {
 public:
  // A chunk in the batcher.
  class Item;

  // `service` is borrowed.
  RowStreamCall(LossService* service, const ArrivedCall& arrived);

  bool cancelled() const override { return CoreCall::cancelled(); }
  void WatchCancellation() override { CoreCall::WatchCancellation(); }
  absl::string_view traceparent() const override {
    return Header("traceparent");
  }
  void Answer(AnswerBytes answer) override {
    Finish(WriteRowsResult(std::move(answer)));
  }
  void Fail(const grpc::Status& status, absl::Duration retry_pushback) override;

 private:
  void OnAdmitted() override;
  void OnRead(MessageBytes message) override;
  void OnWritten(bool ok) override;
  void OnCancelled() override;

  void ReadHead(const MessageBytes& message);
  void ReadChunk(const MessageBytes& message);
  void ReadEnd();
  // Computes the chunk in computed_, and makes its gradients' message.
  void Compute(const BatchPlacement& placement);
  MessageBytes WriteGradients(RowStream::Gradients gradients);
  void SubmitChunk();
  void FinishResult();

  // True for the first that decides how the call ends.
  bool Decide() ABSL_LOCKS_EXCLUDED(mutex_);
  void FailViolations(const Violations& violations);
  void FailGone();

  // What is to be done next.
  enum class Step { kNothing, kFail, kWrite, kCompute, kRead, kFinish };
  Step NextStep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Does what is to be done until there is nothing; one thread at a time does,
  // and others leave it to that one.
  void Advance() ABSL_LOCKS_EXCLUDED(mutex_);
  void Do(Step step, MessageBytes gradients) ABSL_LOCKS_EXCLUDED(mutex_);

  // Of the bytes that are held, until the call has ended.
  ByteGrant grant_;
  int64_t head_bytes_ = 0;
  int64_t rows_read_ = 0;
  std::unique_ptr<RowStream> stream_;  // once the head has been read
  // The chunk that is computed, and how the chunks were run.
  DecodedRows computed_;
  absl::Duration queued_;
  absl::Duration computing_time_;

  absl::Mutex mutex_;
  bool advancing_ ABSL_GUARDED_BY(mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(mutex_) = true;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;  // no chunk will follow
  std::optional<DecodedRows> next_ ABSL_GUARDED_BY(mutex_);
  bool computing_ ABSL_GUARDED_BY(mutex_) = false;
  MessageBytes gradients_ ABSL_GUARDED_BY(mutex_);  // that wait to be written
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool decided_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<grpc::Status> failure_ ABSL_GUARDED_BY(mutex_);
  absl::Duration pushback_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

class LossService::RowStreamCall::Item final : public BatchItem {
 public:
  explicit Item(std::shared_ptr<RowStreamCall> call) : call_(std::move(call)) {}

  Cost cost() const override;
  uint64_t batch_key() const override;
  BatchPriority priority() const override;
  absl::Time deadline() const override { return call_->deadline; }
  bool cancelled() const override { return call_->cancelled(); }
  void OnDropped(const Drop& drop) override;

  // Computes the chunk.
  void Run() { call_->Compute(placement()); }

 private:
  const std::shared_ptr<RowStreamCall> call_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_ROW_STREAM_CALL_H_
