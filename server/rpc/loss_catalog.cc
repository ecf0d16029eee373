// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/loss_catalog.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

constexpr v1::Dtype kFloating[] = {v1::DTYPE_FLOAT16, v1::DTYPE_BFLOAT16,
                                   v1::DTYPE_FLOAT32, v1::DTYPE_FLOAT64};
constexpr v1::Dtype kClassIndices[] = {v1::DTYPE_INT32, v1::DTYPE_INT64,
                                       v1::DTYPE_UINT8};
constexpr v1::Dtype kAllButBool[] = {
    v1::DTYPE_FLOAT16, v1::DTYPE_BFLOAT16, v1::DTYPE_FLOAT32, v1::DTYPE_FLOAT64,
    v1::DTYPE_INT32,   v1::DTYPE_INT64,    v1::DTYPE_UINT8};
constexpr v1::Dtype kAll[] = {
    v1::DTYPE_FLOAT16, v1::DTYPE_BFLOAT16, v1::DTYPE_FLOAT32, v1::DTYPE_FLOAT64,
    v1::DTYPE_INT32,   v1::DTYPE_INT64,    v1::DTYPE_UINT8,   v1::DTYPE_BOOL};

void DescribeTensor(const TensorSchema& tensor, v1::TensorDescriptor* wire) {
  wire->set_name(std::string(tensor.name));
  wire->set_role(static_cast<v1::TensorDescriptor::Role>(tensor.role));
  wire->set_required(tensor.required);
  wire->set_differentiable(tensor.differentiable);
  wire->set_default_wrt(tensor.default_wrt);
  for (v1::Dtype dtype : AllowedDtypes(tensor.dtypes)) wire->add_dtypes(dtype);
  wire->set_shape_rule(std::string(tensor.shape_rule));
  if (tensor.minimum.has_value()) wire->set_minimum(*tensor.minimum);
  if (tensor.maximum.has_value()) wire->set_maximum(*tensor.maximum);
  wire->set_description(std::string(tensor.description));
}

// A default as text, which is empty for what is off.
std::string DefaultText(const ParameterSchema& parameter) {
  if (!parameter.default_value.has_value()) return "";
  const double value = *parameter.default_value;
  switch (parameter.type) {
    case ParameterType::kBool:
      return value != 0 ? "true" : "false";
    case ParameterType::kEnum:
      return std::string(parameter.choices[static_cast<size_t>(value) - 1]);
    default:
      return absl::StrCat(value);
  }
}

void DescribeParameter(const ParameterSchema& parameter,
                       v1::ParameterDescriptor* wire) {
  wire->set_name(std::string(parameter.name));
  wire->set_type(static_cast<v1::ParameterDescriptor::Type>(parameter.type));
  wire->set_default_value(DefaultText(parameter));
  wire->set_range(std::string(parameter.range));
  for (absl::string_view choice : parameter.choices) {
    wire->add_choices(std::string(choice));
  }
  wire->set_description(std::string(parameter.description));
}

void DescribeOutputs(const LossSchema& schema, v1::LossDescriptor* wire) {
  wire->add_outputs(v1::OUTPUT_LOSS);
  wire->add_outputs(v1::OUTPUT_ELEMENTWISE_LOSSES);
  wire->add_outputs(v1::OUTPUT_GRADIENTS);
  if (schema.has_probabilities) {
    wire->add_outputs(v1::OUTPUT_PROBABILITIES);
    wire->add_outputs(v1::OUTPUT_LOG_PROBABILITIES);
    wire->add_outputs(v1::OUTPUT_PREDICTED_CLASSES);
  }
}

void DescribeLoss(const LossSchema& schema,
                  absl::Span<const DeviceClass> devices,
                  v1::LossDescriptor* wire) {
  wire->set_name(std::string(schema.name));
  wire->set_summary(std::string(schema.summary));
  wire->set_formula(std::string(schema.formula));
  wire->set_denominator(std::string(schema.denominator));
  wire->set_source(std::string(schema.source));
  for (absl::string_view difference : schema.differences) {
    wire->add_differences(std::string(difference));
  }
  wire->set_cost_rule(std::string(schema.cost_rule));
  wire->add_reductions(v1::REDUCTION_NONE);
  wire->add_reductions(v1::REDUCTION_MEAN);
  wire->add_reductions(v1::REDUCTION_SUM);
  if (schema.has_batch_mean) wire->add_reductions(v1::REDUCTION_BATCHMEAN);
  wire->set_default_reduction(v1::REDUCTION_MEAN);
  DescribeOutputs(schema, wire);
  for (DeviceClass device : devices) {
    wire->add_devices(static_cast<v1::Device>(device));
  }
  for (const ParameterSchema& parameter : schema.parameters) {
    DescribeParameter(parameter, wire->add_parameters());
  }
  for (const MetricSchema& metric : schema.metrics) {
    v1::MetricDescriptor* out = wire->add_metrics();
    out->set_name(std::string(metric.name));
    out->set_description(std::string(metric.description));
  }
  for (const TensorSchema& tensor : schema.tensors) {
    DescribeTensor(tensor, wire->add_tensors());
  }
}

}  // namespace

absl::Span<const v1::Dtype> AllowedDtypes(DtypeRule rule) {
  switch (rule) {
    case DtypeRule::kClassIndex:
      return kClassIndices;
    case DtypeRule::kClassIndexOrAsLeading:
      return kAllButBool;
    case DtypeRule::kAny:
      return kAll;
    default:
      return kFloating;
  }
}

v1::ListLossesResponse DescribeLosses(const WireBinding& binding,
                                      absl::Span<const DeviceClass> devices) {
  v1::ListLossesResponse response;
  for (const BoundLoss& loss : binding.losses()) {
    DescribeLoss(loss.schema(), devices, response.add_losses());
  }
  return response;
}

}  // namespace lossd
