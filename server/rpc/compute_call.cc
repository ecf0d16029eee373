// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/compute_call.h"

#include <climits>
#include <vector>

#include "server/rpc/answer_bytes.h"

namespace lossd {

bool WriteAnswer(ComputeCall& call, const ServerIdentity& identity,
                 const RunRecord& run, int64_t max_bytes,
                 grpc::ByteBuffer* answer, int64_t* bytes) {
  google::protobuf::Arena arena;
  auto* response =
      google::protobuf::Arena::CreateMessage<v1::ComputeLossResponse>(&arena);
  WriteExecution(*call.task, identity, run, response->mutable_execution());
  const std::vector<LargeTensor> large = WriteResult(
      *call.task, call.decoded.answer_in_values, response->mutable_result());
  AnswerBytes writer(*response, large);
  *bytes = writer.size();
  if (*bytes > max_bytes || *bytes > INT_MAX) return false;
  *answer = writer.Take();
  return true;
}

}  // namespace lossd
