// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/answer_writer.h"

#include "server/rpc/tensor_wire.h"

namespace lossd {
namespace {

TensorView ViewOf(const OwnedTensor& tensor) {
  TensorView view;
  view.dtype = tensor.dtype;
  view.shape = tensor.shape;
  view.elements = ElementCount(tensor.shape).value_or(0);
  view.data = tensor.data.data();
  return view;
}

void WriteNonFinite(const NonFinite& found, v1::NonFinite* wire) {
  wire->set_input_nan(found.input_nan);
  wire->set_input_infinity(found.input_infinity);
  wire->set_result_nan(found.result_nan);
  wire->set_result_infinity(found.result_infinity);
}

}  // namespace

std::vector<LargeTensor> WriteResult(Task& task, bool as_values,
                                     v1::Result* wire) {
  Result& result = task.result;
  std::vector<LargeTensor> large;
  if (result.loss.has_value()) wire->set_loss(*result.loss);
  if (result.mean_numerator.has_value()) {
    wire->set_mean_numerator(*result.mean_numerator);
  }
  wire->set_element_count(result.element_count);
  if (result.counted) {
    wire->set_mean_denominator(result.mean_denominator);
    wire->set_ignored_count(result.ignored_count);
  }
  if (task.evaluation.validate_only) return large;
  if (result.gradient_underflow_count.has_value()) {
    wire->set_gradient_underflow_count(*result.gradient_underflow_count);
  }
  WriteNonFinite(result.non_finite, wire->mutable_non_finite());
  for (const MetricValue& metric : result.metrics) {
    v1::Metric* out = wire->add_metrics();
    out->set_name(std::string(metric.name));
    out->set_numerator(metric.numerator);
    out->set_denominator(metric.denominator);
  }
  const auto is_large = [&](const OwnedTensor& tensor) {
    return !as_values && tensor.data.size() >= kLargeTensorBytes;
  };
  const auto write = [&](OwnedTensor& tensor, int field, auto make) {
    if (is_large(tensor)) {
      large.push_back({field, "", &tensor});
    } else if (tensor.present()) {
      WriteTensor(ViewOf(tensor), as_values, make());
    }
  };
  write(result.loss_tensor, v1::Result::kLossTensorFieldNumber,
        [&] { return wire->mutable_loss_tensor(); });
  write(result.predicted_classes, v1::Result::kPredictedClassesFieldNumber,
        [&] { return wire->mutable_predicted_classes(); });
  write(result.elementwise_losses, v1::Result::kElementwiseLossesFieldNumber,
        [&] { return wire->mutable_elementwise_losses(); });
  write(result.probabilities, v1::Result::kProbabilitiesFieldNumber,
        [&] { return wire->mutable_probabilities(); });
  write(result.log_probabilities, v1::Result::kLogProbabilitiesFieldNumber,
        [&] { return wire->mutable_log_probabilities(); });
  bool any_large = false;
  for (const GradientValue& each : result.gradients) {
    any_large = any_large || is_large(each.value);
  }
  for (GradientValue& gradient : result.gradients) {
    if (any_large) {
      large.push_back(
          {v1::Result::kGradientsFieldNumber, gradient.wrt, &gradient.value});
      continue;
    }
    v1::Gradient* out = wire->add_gradients();
    out->set_wrt(std::string(gradient.wrt));
    WriteTensor(ViewOf(gradient.value), as_values, out->mutable_value());
  }
  return large;
}

void WriteExecution(const Task& task, const ServerIdentity& identity,
                    const RunRecord& run, v1::Execution* wire) {
  wire->set_instance(std::string(identity.instance));
  wire->set_version(std::string(identity.version));
  wire->set_numerics_version(kNumericsVersion);
  wire->set_backend(task.backend->name());
  wire->set_device(task.backend->device());
  wire->set_kernel(std::string(task.evaluation.loss->schema.name));
  wire->set_target(task.backend->target());
  wire->set_batch_requests(run.batch_requests);
  wire->set_batch_rows(run.batch_rows);
  WriteDuration(run.queued, wire->mutable_queued());
  WriteDuration(run.computing, wire->mutable_computing());
}

void WriteDuration(absl::Duration duration, google::protobuf::Duration* wire) {
  absl::Duration rest;
  wire->set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  wire->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

}  // namespace lossd
