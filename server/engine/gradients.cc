// SPDX-License-Identifier: Apache-2.0

#include "server/engine/gradients.h"

#include <cmath>
#include <utility>
#include <vector>

#include "server/base/broadcast.h"
#include "server/base/ordered_sum.h"
#include "server/engine/task_steps.h"
#include "server/engine/validation.h"

namespace lossd {
namespace {

bool WantsGradients(const Evaluation& evaluation) {
  return Wants(evaluation, Output::kGradients);
}

bool HasScalarGradOutput(const Evaluation& evaluation) {
  return evaluation.grad_output.present() &&
         evaluation.grad_output.shape.empty();
}

// The shape of what a kernel writes as the gradient of any tensor.
const Shape& KernelShape(const Evaluation& evaluation,
                         const Geometry& geometry) {
  return geometry.row_loss ? evaluation.arguments.tensor(0).shape
                           : geometry.loss_shape;
}

bool IsBroadcast(const Evaluation& evaluation, const Geometry& geometry,
                 int slot) {
  return evaluation.arguments.tensor(slot).shape !=
         KernelShape(evaluation, geometry);
}

// Sums `wide`, of shape `shape`, to the elements of a tensor of shape `view`:
// each in the order of the linear index.
std::vector<double> SumTo(const Shape& view, const Shape& shape,
                          const double* wide, int64_t sums) {
  const Shape strides = BroadcastStrides(view, shape);
  std::vector<CompensatedSum> totals(static_cast<size_t>(sums));
  std::vector<int64_t> subscripts(shape.size(), 0);
  const int64_t count = ElementCount(shape).value();
  int64_t offset = 0;
  for (int64_t i = 0; i < count; ++i) {
    totals[static_cast<size_t>(offset)].Add(wide[i]);
    for (size_t d = shape.size(); d-- > 0;) {
      offset += strides[d];
      if (++subscripts[d] < shape[d]) break;
      offset -= strides[d] * shape[d];
      subscripts[d] = 0;
    }
  }
  std::vector<double> values;
  values.reserve(totals.size());
  for (const CompensatedSum& total : totals) values.push_back(total.Total());
  return values;
}

}  // namespace

bool IsMean(const Evaluation& evaluation) {
  return evaluation.reduction == Reduction::kMean ||
         evaluation.reduction == Reduction::kDefault ||
         evaluation.reduction == Reduction::kBatchMean;
}

double NaturalDenominator(const Evaluation& evaluation,
                          const Geometry& geometry) {
  return evaluation.reduction == Reduction::kBatchMean
             ? geometry.batch_size
             : geometry.mean_denominator;
}

double DenominatorOf(const Evaluation& evaluation, const Geometry& geometry) {
  return evaluation.normalizer.value_or(
      NaturalDenominator(evaluation, geometry));
}

double WideGradientBytes(const Evaluation& evaluation,
                         const Geometry& geometry) {
  if (!WantsGradients(evaluation)) return 0;
  int64_t count = 0;
  for (int slot : GradientSlots(evaluation)) {
    count += IsBroadcast(evaluation, geometry, slot);
  }
  const int64_t elements =
      ElementCount(KernelShape(evaluation, geometry)).value();
  return 8.0 * static_cast<double>(count) * static_cast<double>(elements);
}

bool GradientNeedsMean(const Evaluation& evaluation, const Geometry& geometry) {
  if (!geometry.divides_by_weight || !WantsGradients(evaluation) ||
      !IsMean(evaluation) || evaluation.normalizer.has_value()) {
    return false;
  }
  for (int slot : GradientSlots(evaluation)) {
    if (evaluation.loss->schema.tensors[slot].role == TensorRole::kWeight) {
      return true;
    }
  }
  return false;
}

double GradientScale(const Evaluation& evaluation, const Geometry& geometry) {
  const double scale =
      HasScalarGradOutput(evaluation) ? evaluation.grad_output.ValueAt(0) : 1.0;
  return IsMean(evaluation) ? scale / DenominatorOf(evaluation, geometry)
                            : scale;
}

void SetUpGradients(Task* task) {
  const Evaluation& evaluation = task->evaluation;
  const Geometry& geometry = task->geometry;
  Job& job = task->job;
  if (!HasScalarGradOutput(evaluation)) {
    job.grad_output = evaluation.grad_output;
  }
  job.gradient_scale = GradientScale(evaluation, geometry);
  if (!WantsGradients(evaluation)) return;
  const SlotList slots = GradientSlots(evaluation);
  task->result.gradients.resize(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    const TensorView& tensor = evaluation.arguments.tensor(slots[i]);
    const Dtype dtype = evaluation.gradient_dtype == Dtype::kUnspecified
                            ? tensor.dtype
                            : evaluation.gradient_dtype;
    GradientValue& gradient = task->result.gradients[i];
    gradient.wrt = evaluation.loss->schema.tensors[slots[i]].name;
    if (task->gradient_memory.empty()) {
      gradient.value = Allocate(*task->pool, dtype, tensor.shape);
    } else {
      gradient.value = {dtype, tensor.shape,
                        std::move(task->gradient_memory[i])};
    }
    OwnedTensor* target = &gradient.value;
    if (IsBroadcast(evaluation, geometry, slots[i])) {
      task->wide_gradients.push_back(
          {slots[i], i,
           Allocate(*task->pool, Dtype::kFloat64,
                    KernelShape(evaluation, geometry))});
      target = &task->wide_gradients.back().value;
    }
    job.gradients[slots[i]] = {target->dtype, target->data.data()};
  }
}

void FinishGradients(Task* task) {
  for (const Task::WideGradient& each : task->wide_gradients) {
    const OwnedTensor& wide = each.value;
    OwnedTensor& gradient = task->result.gradients[each.position].value;
    const auto& view = task->geometry.views[each.slot];
    const int64_t size = DtypeSize(gradient.dtype);
    const std::vector<double> sums =
        SumTo(view ? *view : gradient.shape, wide.shape,
              reinterpret_cast<const double*>(wide.data.data()),
              gradient.data.size() / size);
    for (size_t k = 0; k < sums.size(); ++k) {
      const double sum = std::isnan(sums[k]) ? std::nan("") : sums[k];
      const double stored =
          StoreRounded(sum, gradient.dtype,
                       gradient.data.data() + static_cast<int64_t>(k) * size);
      task->job.findings.underflow += stored == 0 && sum != 0;
      task->result.non_finite.result_nan |= std::isnan(stored);
      task->result.non_finite.result_infinity |= std::isinf(stored);
    }
  }
  task->wide_gradients.clear();
}

}  // namespace lossd
