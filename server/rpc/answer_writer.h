// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_ANSWER_WRITER_H_
#define LOSSD_SERVER_RPC_ANSWER_WRITER_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "lossd/v1/loss_service.pb.h"
#include "server/engine/engine.h"

namespace lossd {

// Who answers. The strings are borrowed.
struct ServerIdentity {
  absl::string_view version;
  absl::string_view instance;
};

// How a request was run.
struct RunRecord {
  int batch_requests = 0;
  int64_t batch_rows = 0;
  absl::Duration queued;
  absl::Duration computing;
};

// A tensor of a result that is not copied into its message: where it belongs
// there.
struct LargeTensor {
  int field;              // of lossd.v1.Result
  absl::string_view wrt;  // of a gradient, else empty
  OwnedTensor* tensor;
};

// From so many bytes on a tensor is large.
inline constexpr int64_t kLargeTensorBytes = 8192;

// Writes the result of a task that ran without violations; its tensors as
// nested lists of numbers if `as_values`. Gives back the large ones, which are
// not written; where one gradient is large all are, because their order counts.
std::vector<LargeTensor> WriteResult(Task& task, bool as_values,
                                     v1::Result* wire);

// Writes how the task was run.
void WriteExecution(const Task& task, const ServerIdentity& identity,
                    const RunRecord& run, v1::Execution* wire);

// Writes a duration of less than 10,000 years, not negative.
void WriteDuration(absl::Duration duration, google::protobuf::Duration* wire);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_ANSWER_WRITER_H_
