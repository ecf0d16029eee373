// SPDX-License-Identifier: Apache-2.0

#include "tests/integration/golden_request.h"

namespace lossd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

void FillTensor(const TensorView& view, v1::Tensor* tensor) {
  tensor->set_dtype(static_cast<v1::Dtype>(view.dtype));
  for (int64_t size : view.shape) tensor->add_shape(size);
  tensor->set_data(view.data,
                   static_cast<size_t>(view.elements * DtypeSize(view.dtype)));
}

void FillParameter(double value, const FieldDescriptor* field, Message* loss) {
  const auto* reflection = loss->GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection->SetDouble(loss, field, value);
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection->SetInt64(loss, field, static_cast<int64_t>(value));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection->SetBool(loss, field, value != 0);
    default:
      return reflection->SetEnumValue(loss, field, static_cast<int>(value));
  }
}

}  // namespace

v1::ComputeGradientRequest RequestOf(const GoldenCase& golden) {
  const Evaluation& from = golden.evaluation;
  const LossSchema& schema = from.loss->schema;
  v1::ComputeGradientRequest request;
  for (const std::string& name : from.wrt) request.add_wrt(name);
  if (from.grad_output.present()) {
    FillTensor(from.grad_output, request.mutable_grad_output());
  }
  v1::Evaluation* evaluation = request.mutable_evaluation();
  evaluation->set_reduction(static_cast<v1::Reduction>(from.reduction));
  if (from.normalizer) evaluation->set_normalizer(*from.normalizer);
  const auto* descriptor = evaluation->GetDescriptor();
  Message* loss = evaluation->GetReflection()->MutableMessage(
      evaluation, descriptor->FindFieldByName(std::string(schema.name)));
  const auto field = [&](absl::string_view name) {
    return loss->GetDescriptor()->FindFieldByName(std::string(name));
  };
  for (size_t slot = 0; slot < schema.tensors.size(); ++slot) {
    const TensorView& view = from.arguments.tensors[slot];
    if (!view.present()) continue;
    FillTensor(view,
               static_cast<v1::Tensor*>(loss->GetReflection()->MutableMessage(
                   loss, field(schema.tensors[slot].name))));
  }
  for (size_t i = 0; i < schema.parameters.size(); ++i) {
    const std::optional<double>& value = from.arguments.parameters[i];
    if (value) FillParameter(*value, field(schema.parameters[i].name), loss);
  }
  return request;
}

}  // namespace lossd
