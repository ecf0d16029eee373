// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_ANSWER_WRITER_H_
#define LOSSD_SERVER_RPC_ANSWER_WRITER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "google/protobuf/duration.pb.h"
#include "lossd/v1/loss_service.pb.h"
#include "server/engine/engine.h"
#include "server/rpc/message_bytes.h"
#include "server/rpc/shared_parts.h"

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

// From so many bytes on, the memory of a tensor becomes part of the answer;
// fewer are copied.
inline constexpr int64_t kLargeTensorBytes = 8192;

// The memory of a tensor that is part of an answer, and how many bytes of the
// answer's text are before it.
struct LargeTensor {
  size_t text_before;
  AlignedBuffer* data;
};
using LargeTensors = absl::InlinedVector<LargeTensor, 4>;

// An answer that is ready to be sent.
class AnswerBytes {
 public:
  // How many bytes there are.
  int64_t size() const {
    return large_bytes_ + static_cast<int64_t>(text_.size());
  }
  // Appends them to a message; the memory of the large tensors is taken.
  void AppendTo(MessageBuilder* message) &&;

 private:
  friend class AnswerWriter;
  std::string text_;
  LargeTensors large_;
  int64_t large_bytes_ = 0;
};

// Writes the answers to ComputeLoss and ComputeGradient, which are laid out
// alike: byte for byte what protobuf would write. Thread-safe.
class AnswerWriter {
 public:
  // Borrows nothing.
  AnswerWriter(const ServerIdentity& identity, const Engine& engine);

  // The answer of a task whose run found no violations; its tensors are written
  // as nested lists of numbers if `as_values`. Where the gradients are in
  // shared memory, `places` says where, one for each. Borrows the task, which
  // keeps everything until the answer is appended to a message.
  AnswerBytes Write(Task& task, bool as_values,
                    absl::Span<const SharedPlace> places,
                    const RunRecord& run) const;

 private:
  // Of an Execution, what is the same for each task of a loss on a device.
  struct DeviceText {
    const Backend* backend;
    size_t device;
    std::vector<std::string> by_loss;
  };
  std::vector<DeviceText> devices_;
};

// Writes a duration of less than 10,000 years, not negative.
void WriteDuration(absl::Duration duration, google::protobuf::Duration* wire);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_ANSWER_WRITER_H_
