// SPDX-License-Identifier: Apache-2.0

#include "benchmarks/request_bytes.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include "absl/strings/str_cat.h"
#include "benchmarks/loss_case.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {
namespace {

// The message in the field of that name, or null if there is no such field.
google::protobuf::Message* MutableField(google::protobuf::Message* message,
                                        absl::string_view name) {
  const google::protobuf::FieldDescriptor* field =
      message->GetDescriptor()->FindFieldByName(std::string(name));
  if (field == nullptr) return nullptr;
  return message->GetReflection()->MutableMessage(message, field);
}

// The numbers of Dtype are those of lossd.v1.Dtype.
void SetTensor(const TensorView& view, v1::Tensor* tensor) {
  tensor->set_dtype(static_cast<v1::Dtype>(view.dtype));
  tensor->mutable_shape()->Add(view.shape.begin(), view.shape.end());
  tensor->set_data(view.data,
                   static_cast<size_t>(view.elements * DtypeSize(view.dtype)));
}

}  // namespace

absl::StatusOr<std::string> RequestBytes(const LossDefinition& loss,
                                         const Shape& shape) {
  const LossCase made = MakeLossCase(loss, shape);
  v1::ComputeGradientRequest request;
  google::protobuf::Message* message =
      MutableField(request.mutable_evaluation(), loss.schema.name);
  for (size_t slot = 0; slot < loss.schema.tensors.size(); ++slot) {
    const TensorView& view =
        made.evaluation.arguments.tensor(static_cast<int>(slot));
    if (!view.present()) continue;
    auto* tensor = message == nullptr
                       ? nullptr
                       : dynamic_cast<v1::Tensor*>(MutableField(
                             message, loss.schema.tensors[slot].name));
    if (tensor == nullptr) {
      return absl::InternalError(absl::StrCat("lossd.v1 has no ",
                                              loss.schema.name, ".",
                                              loss.schema.tensors[slot].name));
    }
    SetTensor(view, tensor);
  }
  return request.SerializeAsString();
}

}  // namespace lossd
