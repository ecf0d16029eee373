// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_UNARY_REACTOR_H_
#define LOSSD_SERVER_RPC_UNARY_REACTOR_H_

#include <utility>

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"

namespace lossd {

// A unary call, from its headers on, in bytes.
//
// gRPC tells of a unary method's call when the whole request has arrived, and
// when a shutdown begins it kills the calls whose requests are still on their
// way: their callers get CANCELLED. It tells of a stream when the headers have
// arrived, and lets it end. So the unary methods are registered as streams,
// which look the same on the wire, and this reads the one message of the caller
// and writes the one answer.
//
// Owned by gRPC: deletes itself some time after Answer() or Fail(), so nothing
// may be called after these.
class UnaryReactor
    : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  // Ends the call with OK and the answer.
  void Answer(grpc::ByteBuffer answer) {
    answer_ = std::move(answer);
    StartWriteAndFinish(&answer_, grpc::WriteOptions(), grpc::Status::OK);
  }
  // Ends the call with an error.
  void Fail(const grpc::Status& status) { Finish(status); }

 protected:
  UnaryReactor() { StartRead(&request_); }

  // The request has arrived: answer or fail, now or later. `received` is false
  // if the caller went away, or closed the stream, without sending one.
  virtual void OnRequest(bool received, grpc::ByteBuffer request) = 0;

 private:
  void OnReadDone(bool ok) final { OnRequest(ok, std::move(request_)); }
  void OnDone() final { delete this; }

  grpc::ByteBuffer request_;
  grpc::ByteBuffer answer_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_UNARY_REACTOR_H_
