// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/answer_bytes.h"

#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/wire_format_lite.h"
#include "grpcpp/support/slice.h"

namespace lossd {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

// The tag and the length of a field of that many bytes.
std::string Prefix(int field, int64_t bytes) {
  std::string prefix;
  google::protobuf::io::StringOutputStream stream(&prefix);
  CodedOutputStream out(&stream);
  out.WriteTag(WireFormatLite::MakeTag(
      field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED));
  out.WriteVarint64(static_cast<uint64_t>(bytes));
  out.Trim();
  return prefix;
}

// All that comes before the data of a tensor in its Result.
std::string Head(const LargeTensor& large) {
  const OwnedTensor& tensor = *large.tensor;
  v1::Tensor small;
  small.set_dtype(static_cast<v1::Dtype>(tensor.dtype));
  small.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  const int64_t data = tensor.data.size();
  std::string head = small.SerializeAsString();
  head += Prefix(v1::Tensor::kDataFieldNumber, data);
  const auto wrap = [&](int field, const std::string& before) {
    const auto bytes = static_cast<int64_t>(head.size()) + data;
    head.insert(0, before + Prefix(field, bytes));
  };
  if (large.field != v1::Result::kGradientsFieldNumber) {
    wrap(large.field, "");
    return head;
  }
  v1::Gradient gradient;
  gradient.set_wrt(std::string(large.wrt));
  wrap(v1::Gradient::kValueFieldNumber, gradient.SerializeAsString());
  wrap(large.field, "");
  return head;
}

// The memory as a slice that frees it.
grpc::Slice SliceOf(AlignedBuffer buffer) {
  auto* owner = new AlignedBuffer(std::move(buffer));
  return grpc::Slice(
      owner->data(), static_cast<size_t>(owner->size()),
      [](void* p) { delete static_cast<AlignedBuffer*>(p); }, owner);
}

}  // namespace

AnswerBytes::AnswerBytes(const v1::ComputeLossResponse& response,
                         absl::Span<const LargeTensor> tensors)
    : response_(response), tensors_(tensors) {
  result_size_ = static_cast<int64_t>(response.result().ByteSizeLong());
  for (const LargeTensor& large : tensors) {
    heads_.push_back(Head(large));
    result_size_ +=
        static_cast<int64_t>(heads_.back().size()) + large.tensor->data.size();
  }
  const auto execution =
      static_cast<int64_t>(response.execution().ByteSizeLong());
  const auto prefixed = [](int field, int64_t bytes) {
    return static_cast<int64_t>(Prefix(field, bytes).size()) + bytes;
  };
  size_ = prefixed(v1::ComputeLossResponse::kExecutionFieldNumber, execution) +
          prefixed(v1::ComputeLossResponse::kResultFieldNumber, result_size_);
}

grpc::ByteBuffer AnswerBytes::Take() {
  const std::string execution = response_.execution().SerializeAsString();
  std::string small = Prefix(v1::ComputeLossResponse::kExecutionFieldNumber,
                             static_cast<int64_t>(execution.size()));
  small += execution;
  small += Prefix(v1::ComputeLossResponse::kResultFieldNumber, result_size_);
  response_.result().AppendToString(&small);
  std::vector<grpc::Slice> slices;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    small += heads_[i];
    slices.emplace_back(small);
    small.clear();
    AlignedBuffer& data = tensors_[i].tensor->data;
    if (data.size() > 0) slices.push_back(SliceOf(std::move(data)));
  }
  if (!small.empty()) slices.emplace_back(small);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace lossd
