// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/core_call.h"

#include <array>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grpc/support/alloc.h"
#include "grpc/support/log.h"

namespace lossd {
namespace {

constexpr char kDetailsHeader[] = "grpc-status-details-bin";
constexpr char kPushbackHeader[] = "grpc-retry-pushback-ms";

absl::string_view ViewOf(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)),
          GRPC_SLICE_LENGTH(slice)};
}

absl::Time TimeOf(const gpr_timespec& deadline) {
  const gpr_timespec real =
      gpr_convert_clock_type(deadline, GPR_CLOCK_REALTIME);
  if (gpr_time_cmp(real, gpr_inf_future(GPR_CLOCK_REALTIME)) == 0) {
    return absl::InfiniteFuture();
  }
  return absl::TimeFromTimespec({real.tv_sec, real.tv_nsec});
}

grpc_op OpOf(grpc_op_type type) {
  grpc_op op = {};
  op.op = type;
  return op;
}

// The trailers of a status, for the length of a call into gRPC's core.
class Trailers {
 public:
  Trailers() = default;
  ~Trailers() {
    for (size_t i = 0; i < count_; ++i) {
      grpc_slice_unref(trailers_[i].key);
      grpc_slice_unref(trailers_[i].value);
    }
  }
  Trailers(const Trailers&) = delete;
  Trailers& operator=(const Trailers&) = delete;

  void Add(const char* name, const std::string& value) {
    trailers_[count_++] = {
        .key = grpc_slice_from_static_string(name),
        .value = grpc_slice_from_copied_buffer(value.data(), value.size()),
        .internal_data = {}};
  }
  size_t count() const { return count_; }
  grpc_metadata* data() { return trailers_.data(); }

 private:
  std::array<grpc_metadata, 2> trailers_;
  size_t count_ = 0;
};

}  // namespace

CoreCall::CoreCall(const ArrivedCall& arrived)
    : call_(arrived.call),
      deadline_(TimeOf(arrived.deadline)),
      headers_(arrived.headers),
      open_calls_(*arrived.open_calls),
      read_(this, &CoreCall::EndRead),
      write_(this, &CoreCall::EndWrite),
      finish_(this, &CoreCall::EndFinish),
      watch_(this, &CoreCall::EndWatch) {
  open_calls_.fetch_add(1);
}

CoreCall::~CoreCall() {
  grpc_metadata_array_destroy(&headers_);
  grpc_call_unref(call_);
  open_calls_.fetch_sub(1);
}

void CoreCall::Start() {
  self_ = shared_from_this();
  OnStart();
}

absl::string_view CoreCall::Header(absl::string_view name) const {
  for (size_t i = 0; i < headers_.count; ++i) {
    if (ViewOf(headers_.metadata[i].key) == name) {
      return ViewOf(headers_.metadata[i].value);
    }
  }
  return "";
}

bool CoreCall::over_unix_socket() const {
  char* const peer = grpc_call_get_peer(call_);
  const bool is_unix = absl::StartsWith(peer, "unix:");
  gpr_free(peer);
  return is_unix;
}

void CoreCall::StartBatch(const grpc_op* ops, size_t count, Operation* tag) {
  const grpc_call_error error = grpc_call_start_batch(
      call_, ops, count, static_cast<grpc::internal::CompletionQueueTag*>(tag),
      nullptr);
  GPR_ASSERT(error == GRPC_CALL_OK);
}

void CoreCall::Read() {
  open_.fetch_add(1, std::memory_order_relaxed);
  grpc_op op = OpOf(GRPC_OP_RECV_MESSAGE);
  op.data.recv_message.recv_message = &received_;
  StartBatch(&op, 1, &read_);
}

void CoreCall::Write(MessageBytes message) {
  open_.fetch_add(1, std::memory_order_relaxed);
  sending_ = std::move(message);
  std::array<grpc_op, 2> ops;
  size_t count = 0;
  if (!headers_sent_) ops[count++] = OpOf(GRPC_OP_SEND_INITIAL_METADATA);
  headers_sent_ = true;
  ops[count] = OpOf(GRPC_OP_SEND_MESSAGE);
  ops[count++].data.send_message.send_message = sending_.core();
  StartBatch(ops.data(), count, &write_);
}

void CoreCall::Send(const grpc_op& status, MessageBytes message) {
  // The one for the call itself becomes that of this operation.
  sending_ = std::move(message);
  std::array<grpc_op, 4> ops;
  size_t count = 0;
  if (!headers_sent_) ops[count++] = OpOf(GRPC_OP_SEND_INITIAL_METADATA);
  headers_sent_ = true;
  if (sending_.present()) {
    ops[count] = OpOf(GRPC_OP_SEND_MESSAGE);
    ops[count++].data.send_message.send_message = sending_.core();
  }
  ops[count++] = status;
  if (!watched_.exchange(true)) {
    ops[count] = OpOf(GRPC_OP_RECV_CLOSE_ON_SERVER);
    ops[count++].data.recv_close_on_server.cancelled = &closed_cancelled_;
  }
  StartBatch(ops.data(), count, &finish_);
}

void CoreCall::Finish(MessageBytes message) {
  grpc_op status = OpOf(GRPC_OP_SEND_STATUS_FROM_SERVER);
  status.data.send_status_from_server.status = GRPC_STATUS_OK;
  Send(status, std::move(message));
}

void CoreCall::Finish(const grpc::Status& status,
                      absl::Duration retry_pushback) {
  Trailers trailers;
  if (!status.error_details().empty()) {
    trailers.Add(kDetailsHeader, status.error_details());
  }
  if (retry_pushback > absl::ZeroDuration()) {
    trailers.Add(kPushbackHeader,
                 absl::StrCat(absl::ToInt64Milliseconds(
                     absl::Ceil(retry_pushback, absl::Milliseconds(1)))));
  }
  grpc_slice message = grpc_slice_from_copied_buffer(
      status.error_message().data(), status.error_message().size());
  grpc_op op = OpOf(GRPC_OP_SEND_STATUS_FROM_SERVER);
  op.data.send_status_from_server.status =
      static_cast<grpc_status_code>(status.error_code());
  op.data.send_status_from_server.status_details = &message;
  op.data.send_status_from_server.trailing_metadata_count = trailers.count();
  op.data.send_status_from_server.trailing_metadata = trailers.data();
  Send(op, MessageBytes());
  grpc_slice_unref(message);
}

void CoreCall::WatchCancellation() {
  open_.fetch_add(1, std::memory_order_relaxed);
  if (watched_.exchange(true)) {
    Release();
    return;
  }
  grpc_op op = OpOf(GRPC_OP_RECV_CLOSE_ON_SERVER);
  op.data.recv_close_on_server.cancelled = &closed_cancelled_;
  StartBatch(&op, 1, &watch_);
}

void CoreCall::Release() {
  if (open_.fetch_sub(1, std::memory_order_acq_rel) == 1) self_.reset();
}

void CoreCall::EndRead(bool ok) {
  MessageBytes message(std::exchange(received_, nullptr));
  OnRead(ok ? std::move(message) : MessageBytes());
  Release();
}

void CoreCall::EndWrite(bool ok) {
  sending_ = MessageBytes();
  OnWritten(ok);
  Release();
}

void CoreCall::EndFinish(bool) {
  OnFinished(closed_cancelled_ != 0);
  Release();
}

void CoreCall::EndWatch(bool) {
  if (closed_cancelled_ != 0) {
    cancelled_.store(true, std::memory_order_relaxed);
    OnCancelled();
  }
  Release();
}

}  // namespace lossd
