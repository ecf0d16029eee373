// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/compute_call.h"

#include "server/rpc/message_bytes.h"

namespace lossd {
namespace {

template <typename Response>
bool Write(const ComputeCall& call, const ServerIdentity& identity,
           const RunRecord& run, int64_t max_bytes, grpc::ByteBuffer* answer,
           int64_t* bytes) {
  google::protobuf::Arena arena;
  auto* response = google::protobuf::Arena::CreateMessage<Response>(&arena);
  WriteExecution(*call.task, identity, run, response->mutable_execution());
  WriteResult(*call.task, call.decoded.answer_in_values,
              response->mutable_result());
  *bytes = static_cast<int64_t>(response->ByteSizeLong());
  return *bytes <= max_bytes && SerializeMessage(*response, answer);
}

}  // namespace

bool WriteAnswer(const ComputeCall& call, const ServerIdentity& identity,
                 const RunRecord& run, int64_t max_bytes,
                 grpc::ByteBuffer* answer, int64_t* bytes) {
  return call.method == Method::kComputeLoss
             ? Write<v1::ComputeLossResponse>(call, identity, run, max_bytes,
                                              answer, bytes)
             : Write<v1::ComputeGradientResponse>(call, identity, run,
                                                  max_bytes, answer, bytes);
}

}  // namespace lossd
