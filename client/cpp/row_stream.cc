// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/row_stream.h"

#include <algorithm>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lossd/error.h"

namespace lossd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using Stream =
    grpc::ClientReaderWriter<v1::StreamRowsRequest, v1::StreamRowsResponse>;

// Enough that a chunk's own cost does not show, and little to hold.
constexpr size_t kChunkBytes = size_t{1} << 20;

// The tensor of that name in the head's loss, or null.
const v1::Tensor* FindTensor(const v1::RowsHead& head,
                             const std::string& name) {
  const v1::Evaluation& evaluation = head.has_gradient()
                                         ? head.gradient().evaluation()
                                         : head.loss().evaluation();
  const FieldDescriptor* loss =
      evaluation.GetReflection()->GetOneofFieldDescriptor(
          evaluation, evaluation.GetDescriptor()->FindOneofByName("loss"));
  if (loss == nullptr) return nullptr;
  const Message& message =
      evaluation.GetReflection()->GetMessage(evaluation, loss);
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || field->is_repeated() ||
      field->message_type() != v1::Tensor::descriptor()) {
    return nullptr;
  }
  return static_cast<const v1::Tensor*>(
      &message.GetReflection()->GetMessage(message, field));
}

// How many rows the tensors have, each as many bytes as the head says.
absl::StatusOr<int64_t> CountRows(const v1::RowsHead& head,
                                  absl::Span<const StreamedTensor> tensors) {
  int64_t rows = -1;
  for (const StreamedTensor& each : tensors) {
    const v1::Tensor* tensor = FindTensor(head, each.name);
    if (tensor == nullptr || tensor->shape_size() == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(each.name,
                       " is not in the head with a shape, so it "
                       "cannot be streamed"));
    }
    const absl::StatusOr<int64_t> count = ElementCount(tensor->shape());
    if (!count.ok()) return count.status();
    const int64_t bytes = *count * DtypeSize(tensor->dtype());
    if (static_cast<int64_t>(each.data.size()) != bytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          each.name, " has ", each.data.size(),
          " bytes, but its dtype and shape in the head need ", bytes));
    }
    if (rows >= 0 && tensor->shape(0) != rows) {
      return absl::InvalidArgumentError(
          absl::StrCat(each.name, " has ", tensor->shape(0), " rows, but ",
                       tensors[0].name, " has ", rows));
    }
    rows = tensor->shape(0);
  }
  if (rows >= 0) return rows;
  return absl::InvalidArgumentError(
      "nothing is streamed: call ComputeLoss or ComputeGradient");
}

// Writes until everything is sent or the call is over.
void WriteRows(const v1::StreamRowsRequest& head, int64_t row_count,
               absl::Span<const StreamedTensor> tensors, Stream* stream) {
  const auto rows = static_cast<size_t>(row_count);
  size_t row_bytes = 0;
  v1::StreamRowsRequest message;
  for (const StreamedTensor& each : tensors) {
    if (rows > 0) row_bytes += each.data.size() / rows;
    message.mutable_chunk()->add_tensors()->set_name(each.name);
  }
  const size_t step =
      std::max<size_t>(1, kChunkBytes / std::max<size_t>(1, row_bytes));
  bool open = stream->Write(head);
  for (size_t row = 0; row < rows && open; row += step) {
    const size_t count = std::min(step, rows - row);
    message.mutable_chunk()->set_rows(static_cast<int64_t>(count));
    for (size_t i = 0; i < tensors.size(); ++i) {
      const absl::string_view data = tensors[i].data;
      const size_t size = data.size() / rows;
      message.mutable_chunk()
          ->mutable_tensors(static_cast<int>(i))
          ->mutable_data()
          ->assign(data.data() + row * size, count * size);
    }
    open = stream->Write(message);
  }
  if (open) stream->WritesDone();
}

// Puts the gradients where they belong, one chunk after another.
class GradientRows {
 public:
  explicit GradientRows(absl::Span<const StreamedGradient> gradients)
      : gradients_(gradients), used_(gradients.size()) {}

  // Takes the rows in; those that nobody asked for are left out. The first
  // error stays.
  void Add(const v1::RowsChunk& chunk) {
    for (const v1::TensorRows& rows : chunk.tensors()) {
      for (size_t i = 0; i < gradients_.size(); ++i) {
        if (gradients_[i].wrt == rows.name()) Put(rows.data(), i);
      }
    }
  }

  // Whether every gradient is there.
  absl::Status End() {
    for (size_t i = 0; i < gradients_.size() && status_.ok(); ++i) {
      if (used_[i] != gradients_[i].memory.size()) SetError(i, used_[i]);
    }
    return status_;
  }

 private:
  void Put(const std::string& data, size_t i) {
    const absl::Span<char> memory = gradients_[i].memory;
    if (data.size() > memory.size() - used_[i]) {
      if (status_.ok()) SetError(i, used_[i] + data.size());
      return;
    }
    std::copy(data.begin(), data.end(), memory.data() + used_[i]);
    used_[i] += data.size();
  }
  void SetError(size_t i, size_t bytes) {
    status_ = absl::InvalidArgumentError(absl::StrCat(
        "the memory for the gradient with respect to ", gradients_[i].wrt,
        " has ", gradients_[i].memory.size(), " bytes, but ", bytes,
        " or more came: it needs the tensor's elements in the gradient's "
        "dtype, and wrt must name it"));
  }

  const absl::Span<const StreamedGradient> gradients_;
  std::vector<size_t> used_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<v1::ComputeGradientResponse> RunRowStream(
    v1::LossService::Stub& stub, grpc::ClientContext& context,
    v1::StreamRowsRequest head, absl::Span<const StreamedTensor> tensors,
    absl::Span<const StreamedGradient> gradients) {
  const absl::StatusOr<int64_t> rows = CountRows(head.head(), tensors);
  if (!rows.ok()) return rows.status();
  const std::unique_ptr<Stream> stream = stub.StreamRows(&context);
  std::thread writer([&] { WriteRows(head, *rows, tensors, stream.get()); });
  GradientRows memory(gradients);
  v1::ComputeGradientResponse result;
  v1::StreamRowsResponse response;
  while (stream->Read(&response)) {
    if (response.has_gradients()) {
      memory.Add(response.gradients());
    } else {
      result = std::move(*response.mutable_response());
    }
  }
  writer.join();
  const grpc::Status status = stream->Finish();
  if (!status.ok()) return ToAbslStatus(status);
  if (absl::Status end = memory.End(); !end.ok()) return end;
  return result;
}

}  // namespace lossd
