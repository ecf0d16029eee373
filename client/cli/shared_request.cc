// SPDX-License-Identifier: Apache-2.0
#include "client/cli/shared_request.h"

#include <google/protobuf/message.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "client/cli/schema.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Parts begin at its multiples.
constexpr int64_t kAlignment = 64;

Shape ShapeOf(const v1::Tensor& tensor) {
  return {tensor.shape().data(), static_cast<size_t>(tensor.shape_size())};
}

// The loss's message.
Message& LossOf(v1::Evaluation& evaluation) {
  const auto& reflection = *evaluation.GetReflection();
  return *reflection.MutableMessage(
      &evaluation,
      reflection.GetOneofFieldDescriptor(
          evaluation, v1::Evaluation::descriptor()->FindOneofByName("loss")));
}

std::vector<v1::Tensor*> TensorsOf(v1::Evaluation& evaluation) {
  Message& loss = LossOf(evaluation);
  std::vector<const FieldDescriptor*> fields;
  loss.GetReflection()->ListFields(loss, &fields);
  std::vector<v1::Tensor*> tensors;
  for (const FieldDescriptor* field : fields) {
    if (!IsTensor(*field)) continue;
    tensors.push_back(static_cast<v1::Tensor*>(
        loss.GetReflection()->MutableMessage(&loss, field)));
  }
  return tensors;
}

// What the gradients are to be of; empty if there are none, or if the request
// names what the server will not know.
std::vector<v1::Tensor> GradientsOf(const v1::LossDescriptor& descriptor,
                                    v1::ComputeGradientRequest& request) {
  const v1::Evaluation& evaluation = request.evaluation();
  const auto& outputs = evaluation.outputs();
  if (evaluation.validate_only() ||
      (!outputs.empty() && std::find(outputs.begin(), outputs.end(),
                                     v1::OUTPUT_GRADIENTS) == outputs.end())) {
    return {};
  }
  std::vector<std::string> names(request.wrt().begin(), request.wrt().end());
  for (const v1::TensorDescriptor& tensor : descriptor.tensors()) {
    if (request.wrt().empty() && tensor.default_wrt()) {
      names.push_back(tensor.name());
    }
  }
  Message& loss = LossOf(*request.mutable_evaluation());
  std::vector<v1::Tensor> gradients;
  for (const std::string& name : names) {
    const FieldDescriptor* field = loss.GetDescriptor()->FindFieldByName(name);
    if (field == nullptr || !IsTensor(*field) ||
        !loss.GetReflection()->HasField(loss, field)) {
      return {};
    }
    const auto& tensor = static_cast<const v1::Tensor&>(
        loss.GetReflection()->GetMessage(loss, field));
    v1::Tensor& gradient = gradients.emplace_back();
    *gradient.mutable_shape() = tensor.shape();
    gradient.set_dtype(request.gradient_dtype() != v1::DTYPE_UNSPECIFIED
                           ? request.gradient_dtype()
                           : tensor.dtype());
  }
  return gradients;
}

int64_t BytesOf(const v1::Tensor& tensor) {
  const int64_t bytes =
      ElementCount(ShapeOf(tensor)).value_or(0) * DtypeSize(tensor.dtype());
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

absl::StatusOr<SharedMemory> Share(absl::string_view address,
                                   const std::vector<v1::Tensor*>& tensors,
                                   const std::vector<v1::Tensor>& gradients,
                                   v1::ComputeGradientRequest* request) {
  int64_t bytes = kAlignment;
  for (const v1::Tensor* tensor : tensors) bytes += BytesOf(*tensor);
  for (const v1::Tensor& gradient : gradients) bytes += BytesOf(gradient);
  absl::StatusOr<SharedMemory> memory = SharedMemory::Open(address, bytes);
  if (!memory.ok()) return memory.status();
  for (v1::Tensor* tensor : tensors) {
    if (!tensor->has_data()) continue;
    absl::StatusOr<int64_t> offset =
        memory->Take(tensor->dtype(), ShapeOf(*tensor));
    if (!offset.ok()) return offset.status();
    std::memcpy(memory->bytes().data() + *offset, tensor->data().data(),
                tensor->data().size());
    *tensor->mutable_shared() = memory->PlaceAt(*offset);
  }
  for (const v1::Tensor& gradient : gradients) {
    absl::StatusOr<int64_t> offset =
        memory->Take(gradient.dtype(), ShapeOf(gradient));
    if (!offset.ok()) return offset.status();
    *request->add_gradient_memory() = memory->PlaceAt(*offset);
  }
  return memory;
}

}  // namespace

absl::StatusOr<SharedMemory> ShareTensors(absl::string_view address,
                                          const v1::LossDescriptor& descriptor,
                                          v1::ComputeGradientRequest& request) {
  std::vector<v1::Tensor*> tensors = TensorsOf(*request.mutable_evaluation());
  if (request.has_grad_output()) {
    tensors.push_back(request.mutable_grad_output());
  }
  return Share(address, tensors, GradientsOf(descriptor, request), &request);
}

absl::StatusOr<SharedMemory> ShareTensors(absl::string_view address,
                                          v1::ComputeLossRequest& request) {
  return Share(address, TensorsOf(*request.mutable_evaluation()), {}, nullptr);
}

void FetchGradients(const SharedMemory& memory, v1::Result& result) {
  for (v1::Gradient& gradient : *result.mutable_gradients()) {
    v1::Tensor& value = *gradient.mutable_value();
    if (!value.has_shared()) continue;
    const auto offset = static_cast<size_t>(value.shared().offset());
    const auto bytes = static_cast<size_t>(
        ElementCount(ShapeOf(value)).value_or(0) * DtypeSize(value.dtype()));
    const absl::Span<uint8_t> all = memory.bytes();
    if (offset > all.size() || bytes > all.size() - offset) continue;
    value.set_data(all.data() + offset, bytes);
  }
}

}  // namespace lossd::cli
