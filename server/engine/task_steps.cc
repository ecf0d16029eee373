// SPDX-License-Identifier: Apache-2.0

#include "server/engine/task_steps.h"

#include <cfloat>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "server/engine/gradients.h"
#include "server/engine/validation.h"

namespace lossd {
namespace {

// Float lanes hold the scale only if it is a normal float.
bool FitsFloat(double scale) {
  const double magnitude = std::abs(scale);
  return !std::isfinite(scale) || magnitude == 0 ||
         (magnitude >= FLT_MIN && magnitude <= FLT_MAX);
}

void FinishLoss(Task* task, absl::FunctionRef<double(int)> total_of) {
  const Evaluation& evaluation = task->evaluation;
  Result& result = task->result;
  const Dtype dtype = evaluation.arguments.tensor(0).dtype;
  const bool wants_losses = Wants(evaluation, Output::kElementwiseLosses);
  if (evaluation.reduction == Reduction::kNone) {
    if (wants_losses) {
      result.loss_tensor =
          Allocate(*task->pool, dtype, task->geometry.loss_shape);
      if (result.loss_tensor.data.size() > 0) {
        std::memcpy(result.loss_tensor.data.data(),
                    result.elementwise_losses.data.data(),
                    static_cast<size_t>(result.loss_tensor.data.size()));
      }
    } else {
      result.loss_tensor = std::move(result.elementwise_losses);
      result.elementwise_losses = OwnedTensor();
    }
    if (!task->geometry.loss_shape.empty()) return;
    TensorView scalar;
    scalar.dtype = dtype;
    scalar.data = result.loss_tensor.data.data();
    result.loss = scalar.ValueAt(0);
    return;
  }
  double loss = total_of(kTotalSum);
  if (IsMean(evaluation)) {
    loss = *result.mean_numerator / DenominatorOf(evaluation, task->geometry);
  }
  if (std::isnan(loss)) loss = std::nan("");
  result.loss_tensor = Allocate(*task->pool, dtype, {});
  result.loss = StoreRounded(loss, dtype, result.loss_tensor.data.data());
  result.non_finite.result_nan |= std::isnan(*result.loss);
  result.non_finite.result_infinity |= std::isinf(*result.loss);
}

}  // namespace

bool Wants(const Evaluation& evaluation, Output output) {
  if (!evaluation.outputs.empty()) return evaluation.outputs.Has(output);
  return output == Output::kLoss ||
         (output == Output::kGradients && evaluation.gradient);
}

bool UsesFloatLanes(const Evaluation& evaluation, const Geometry& geometry,
                    double gradient_scale) {
  const bool wide = evaluation.arguments.tensor(0).dtype == Dtype::kFloat64 ||
                    evaluation.gradient_dtype == Dtype::kFloat64;
  return geometry.float_lanes && !wide && FitsFloat(gradient_scale);
}

void SetCounts(Task* task) {
  Result& result = task->result;
  result.counted = task->geometry.counted;
  result.mean_denominator =
      NaturalDenominator(task->evaluation, task->geometry);
  result.element_count = task->geometry.element_count;
  result.ignored_count = task->geometry.ignored_count;
}

bool DescribeFailure(const Job& job, Violations* violations) {
  if (job.failure.ok()) return false;
  const bool memory = absl::IsResourceExhausted(job.failure);
  violations->Add(memory ? Reason::kDeviceMemory : Reason::kDeviceFailed,
                  "evaluation.device", std::string(job.failure.message()));
  return true;
}

void FinishTask(Task* task, absl::FunctionRef<double(int)> total_of) {
  if (!task->violations.empty() ||
      DescribeFailure(task->job, &task->violations)) {
    return;
  }
  const Evaluation& evaluation = task->evaluation;
  const Findings& findings = task->job.findings;
  Result& result = task->result;
  if (findings.outside_domain != 0) {
    DescribeDomainViolations(evaluation, findings.outside_domain,
                             &task->violations);
    return;
  }
  result.non_finite = {findings.input_nan, findings.input_infinity,
                       findings.result_nan, findings.result_infinity};
  result.mean_numerator = total_of(kNumeratorSum);
  FinishGradients(task);
  SetCounts(task);
  if (!result.gradients.empty()) {
    result.gradient_underflow_count = findings.underflow;
  }
  if (Wants(evaluation, Output::kLoss)) FinishLoss(task, total_of);
  const auto& metrics = evaluation.loss->schema.metrics;
  const size_t present = metrics.size() - task->geometry.absent_metrics;
  for (size_t i = 0; i < present; ++i) {
    result.metrics.push_back({metrics[i].name,
                              total_of(static_cast<int>(kMetricSums + i)),
                              task->geometry.metric_denominator});
  }
}

}  // namespace lossd
