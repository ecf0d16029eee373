// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_CORE_CALL_H_
#define LOSSD_SERVER_RPC_CORE_CALL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grpc/grpc.h"
#include "grpcpp/impl/codegen/completion_queue_tag.h"
#include "grpcpp/support/status.h"
#include "server/rpc/message_bytes.h"

namespace lossd {

// An operation that a completion queue tells the end of.
class QueueTag : public grpc::internal::CompletionQueueTag {
 public:
  // The operation has ended. `ok` as gRPC's core means it.
  virtual void OnEnd(bool ok) = 0;

 private:
  // Called by grpc::CompletionQueue::Next(), which then returns this.
  bool FinalizeResult(void** tag, bool*) final {
    *tag = this;
    return true;
  }
};

// A call whose headers have arrived.
struct ArrivedCall {
  grpc_call* call = nullptr;
  gpr_timespec deadline = {};
  grpc_metadata_array headers = {};
  // Counts the calls that have not ended.
  std::atomic<int64_t>* open_calls = nullptr;
};

// One call on gRPC's core, from its headers to its end. gRPC's C++ classes for
// the same make each small call a tenth dearer.
//
// A call ends when Finish() was called, the caller has its status or is gone,
// and every other operation has ended. It keeps itself alive until then; others
// can keep it longer.
//
// Start() and what gRPC tells (the On... below) run on the thread of the call's
// completion queue, one at a time. Read(), Write(), Finish() and
// WatchCancellation() may be called on any thread.
class CoreCall : public std::enable_shared_from_this<CoreCall> {
 public:
  // Takes over what arrived.
  explicit CoreCall(const ArrivedCall& arrived);
  virtual ~CoreCall();

  CoreCall(const CoreCall&) = delete;
  CoreCall& operator=(const CoreCall&) = delete;

  // Keeps the call alive and tells OnStart().
  void Start();

  absl::Time callers_deadline() const { return deadline_; }
  // The header of that name in lower case, or empty.
  absl::string_view Header(absl::string_view name) const;

  // Whether the call came over a Unix socket.
  bool over_unix_socket() const;

  // True once the caller has gone away, if WatchCancellation() was called.
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  // Reads the next message; OnRead() follows. One at a time, and none after
  // Finish().
  void Read();
  // Sends a message; OnWritten() follows. One at a time, and none beside or
  // after Finish().
  void Write(MessageBytes message);
  // Ends the call: with OK, after `message` if there is one, or with an error.
  // `retry_pushback` above zero tells the caller when to try again. Once.
  void Finish(MessageBytes message);
  void Finish(const grpc::Status& status,
              absl::Duration retry_pushback = absl::ZeroDuration());
  // Sets cancelled() when the caller goes away. Does nothing the second time,
  // or after Finish().
  void WatchCancellation();

 protected:
  virtual void OnStart() = 0;
  // `message` is absent when none will follow.
  virtual void OnRead(MessageBytes message) = 0;
  // `ok` is false if the caller is gone.
  virtual void OnWritten(bool ok) { static_cast<void>(ok); }
  // The caller has gone away before the call finished.
  virtual void OnCancelled() {}
  // What Finish() sent has left, or the caller had gone away before.
  virtual void OnFinished(bool cancelled) { static_cast<void>(cancelled); }

 private:
  // A tag that calls a member.
  class Operation final : public QueueTag {
   public:
    Operation(CoreCall* call, void (CoreCall::*on_end)(bool))
        : call_(*call), on_end_(on_end) {}
    void OnEnd(bool ok) override { (call_.*on_end_)(ok); }

   private:
    CoreCall& call_;
    void (CoreCall::*const on_end_)(bool);
  };

  void StartBatch(const grpc_op* ops, size_t count, Operation* tag);
  void Send(const grpc_op& status, MessageBytes message);
  // An operation has ended, or was not started after all.
  void Release();

  void EndRead(bool ok);
  void EndWrite(bool ok);
  void EndFinish(bool ok);
  void EndWatch(bool ok);

  grpc_call* const call_;
  const absl::Time deadline_;
  grpc_metadata_array headers_;
  std::atomic<int64_t>& open_calls_;

  Operation read_;
  Operation write_;
  Operation finish_;
  Operation watch_;

  grpc_byte_buffer* received_ = nullptr;
  MessageBytes sending_;
  bool headers_sent_ = false;
  int closed_cancelled_ = 0;  // gRPC writes it
  std::atomic<bool> watched_ = false;
  std::atomic<bool> cancelled_ = false;
  // Operations that have not ended, and one for the call until it finishes.
  std::atomic<int> open_ = 1;
  std::shared_ptr<CoreCall> self_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_CORE_CALL_H_
