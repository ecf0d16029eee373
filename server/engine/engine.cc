// SPDX-License-Identifier: Apache-2.0

#include "server/engine/engine.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "server/base/ordered_sum.h"
#include "server/engine/gradients.h"
#include "server/engine/task_steps.h"
#include "server/engine/validation.h"

namespace lossd {
namespace {

Destination DestinationOf(OwnedTensor* tensor) {
  return {tensor->dtype, tensor->data.data()};
}

double* DoublesOf(AlignedBuffer& buffer) {
  return reinterpret_cast<double*>(buffer.data());
}

int64_t ElementsOf(const Shape& shape) { return ElementCount(shape).value(); }

// Bytes of the answer's tensors.
int64_t ResponseBytes(const Evaluation& evaluation, const Geometry& geometry) {
  const TensorView& lead = evaluation.arguments.tensor(0);
  const int64_t size = DtypeSize(lead.dtype);
  const int64_t losses = ElementsOf(geometry.loss_shape) * size;
  int64_t bytes = 0;
  if (Wants(evaluation, Output::kLoss)) {
    bytes += evaluation.reduction == Reduction::kNone ? losses : size;
  }
  if (Wants(evaluation, Output::kElementwiseLosses)) bytes += losses;
  if (Wants(evaluation, Output::kProbabilities)) bytes += lead.elements * size;
  if (Wants(evaluation, Output::kLogProbabilities))
    bytes += lead.elements * size;
  if (Wants(evaluation, Output::kPredictedClasses)) {
    bytes += ElementsOf(geometry.class_shape) * 8;
  }
  if (evaluation.gradients_elsewhere) return bytes;
  for (int slot : WantedGradients(evaluation)) {
    bytes += GradientBytes(evaluation, slot);
  }
  return bytes;
}

Cost CostOf(const Evaluation& evaluation, const Geometry& geometry,
            int64_t units) {
  const int64_t sums =
      kMetricSums +
      static_cast<int64_t>(evaluation.loss->schema.metrics.size());
  const int64_t tile = geometry.row_loss ? geometry.row_length : kLeaf;
  const double operations =
      geometry.operations > 0
          ? geometry.operations
          : static_cast<double>(evaluation.arguments.tensor(0).elements) *
                evaluation.loss->operations_per_element;
  // In double: a product may be beyond 64 bits.
  const double scratch =
      8.0 * static_cast<double>(units * sums) +
      8.0 * (2 * kMaxTensors + 4) * static_cast<double>(tile) +
      static_cast<double>(geometry.scratch_bytes) +
      WideGradientBytes(evaluation, geometry);
  return {operations + static_cast<double>(units),
          static_cast<int64_t>(std::min(scratch, 9e18))};
}

int64_t InputBytes(const Evaluation& evaluation) {
  int64_t bytes = 0;
  for (const TensorView& tensor : evaluation.arguments.tensors) {
    bytes += tensor.elements * DtypeSize(tensor.dtype);
  }
  return bytes;
}

// Allocates what the job writes.
void SetUp(Task* task) {
  const Evaluation& evaluation = task->evaluation;
  const Geometry& geometry = task->geometry;
  Result& result = task->result;
  Job& job = task->job;
  const TensorView& lead = evaluation.arguments.tensor(0);
  job.loss = evaluation.loss;
  job.loss_index = static_cast<int>(task->loss_index);
  job.pool = task->pool;
  job.arguments = &task->evaluation.arguments;
  job.geometry = &task->geometry;
  job.units = task->units;
  job.mean = IsMean(evaluation);
  SetUpGradients(task);
  job.float_lanes = UsesFloatLanes(evaluation, geometry, job.gradient_scale);

  const bool none = evaluation.reduction == Reduction::kNone;
  if (Wants(evaluation, Output::kElementwiseLosses) ||
      (none && Wants(evaluation, Output::kLoss))) {
    result.elementwise_losses =
        Allocate(*task->pool, lead.dtype, geometry.loss_shape);
    job.elementwise_losses = DestinationOf(&result.elementwise_losses);
  }
  if (Wants(evaluation, Output::kProbabilities)) {
    result.probabilities = Allocate(*task->pool, lead.dtype, lead.shape);
    job.probabilities = DestinationOf(&result.probabilities);
  }
  if (Wants(evaluation, Output::kLogProbabilities)) {
    result.log_probabilities = Allocate(*task->pool, lead.dtype, lead.shape);
    job.log_probabilities = DestinationOf(&result.log_probabilities);
  }
  if (Wants(evaluation, Output::kPredictedClasses)) {
    result.predicted_classes =
        Allocate(*task->pool, Dtype::kInt64, geometry.class_shape);
    job.predicted_classes =
        reinterpret_cast<int64_t*>(result.predicted_classes.data.data());
  }
  const size_t sums = kMetricSums + evaluation.loss->schema.metrics.size();
  task->unit_sums = task->pool->Allocate(
      static_cast<int64_t>(sums * sizeof(double)) * task->units);
  job.unit_sums = DoublesOf(task->unit_sums);
}

double SumOfUnits(const Job& job, int sum) {
  OrderedSum total;
  const double* units = job.unit_sums + sum * job.units;
  for (int64_t i = 0; i < job.units; ++i) total.Add(units[i]);
  return total.Total();
}

// Computes the mean, and nothing else, for gradients that need it.
void FindMean(Task* task) {
  AlignedBuffer unit_sums = task->pool->Allocate(task->unit_sums.size());
  Job job;
  job.loss = task->job.loss;
  job.loss_index = task->job.loss_index;
  job.pool = task->pool;
  job.arguments = task->job.arguments;
  job.geometry = task->job.geometry;
  job.units = task->units;
  job.unit_sums = DoublesOf(unit_sums);
  Job* const jobs[] = {&job};
  task->backend->Run(jobs, [](const Completion&) {});
  if (DescribeFailure(job, &task->violations)) return;
  const double denominator = task->geometry.mean_denominator;
  // Over 0 there is no mean, not an infinite one.
  task->geometry.parameters[kMeanParameter] =
      denominator == 0 ? std::nan("")
                       : SumOfUnits(job, kNumeratorSum) / denominator;
}

int64_t UnitsOf(const Geometry& geometry) {
  return geometry.row_loss ? geometry.rows
                           : (geometry.element_count + kLeaf - 1) / kLeaf;
}

// Whether some of its data arrives later.
bool IsStreamed(const Evaluation& evaluation) {
  for (const TensorView& tensor : evaluation.arguments.tensors) {
    if (tensor.present() && !tensor.readable()) return true;
  }
  return false;
}

std::shared_ptr<MappingObserver> MappingObserverOf(
    absl::Span<const std::unique_ptr<Backend>> backends) {
  for (const std::unique_ptr<Backend>& backend : backends) {
    if (auto observer = backend->mapping_observer()) return observer;
  }
  return nullptr;
}

}  // namespace

Engine::Engine(const EngineLimits& limits,
               std::vector<std::unique_ptr<Backend>> backends,
               DeviceClass default_device, int64_t max_idle_bytes,
               const Clock* clock)
    : limits_(limits),
      backends_(std::move(backends)),
      default_device_(default_device),
      clock_(clock),
      pool_(std::make_unique<BufferPool>(max_idle_bytes,
                                         MappingObserverOf(backends_))) {
  if (backends_.size() > 1) {
    chooser_ = std::make_unique<BackendChooser>(backends_);
  }
}

size_t Engine::IndexOf(const Backend* backend) const {
  size_t index = 0;
  while (backends_[index].get() != backend) ++index;
  return index;
}

DeviceClass Engine::DeviceOf(const Evaluation& evaluation) const {
  return evaluation.device == DeviceClass::kUnspecified ? default_device_
                                                        : evaluation.device;
}

bool Engine::ServesDefault() const {
  for (const std::unique_ptr<Backend>& backend : backends_) {
    if (default_device_ != DeviceClass::kAny &&
        default_device_ != backend->device_class()) {
      continue;
    }
    if (Serves(*backend)) return true;
  }
  return false;
}

Backend* Engine::FindBackend(const Evaluation& evaluation,
                             Violations* violations) const {
  const DeviceClass device = DeviceOf(evaluation);
  for (const std::unique_ptr<Backend>& backend : backends_) {
    if (device == DeviceClass::kAny || backend->device_class() == device) {
      return backend.get();
    }
  }
  const absl::string_view name = device == DeviceClass::kCuda ? "CUDA" : "CPU";
  violations->Add(
      Reason::kDeviceUnavailable, "evaluation.device",
      absl::StrCat("device = DEVICE_", name, ", but this server has no ", name,
                   " device: leave device unset, or ask for one that "
                   "GetServerInfo lists."));
  return nullptr;
}

Backend* Engine::BackendOfDefault() const {
  Backend* found = backends_[0].get();
  for (const std::unique_ptr<Backend>& backend : backends_) {
    if (!Serves(*backend)) continue;
    if (!Serves(*found) || backend->device_class() == default_device_) {
      found = backend.get();
    }
  }
  return found;
}

void Engine::AssignBackend(Task* task) const {
  if (chooser_ == nullptr || task->evaluation.validate_only) return;
  const bool any = DeviceOf(task->evaluation) == DeviceClass::kAny;
  if (IsStreamed(task->evaluation)) {
    // Its chunks are of any size, and come when they come.
    if (any) task->backend = BackendOfDefault();
    return;
  }
  const double operations = task->cost.operations;
  if (any) {
    const size_t index =
        chooser_->Choose(operations, task->input_bytes + task->response_bytes +
                                         task->cost.scratch_bytes);
    task->backend = backends_[index].get();
  }
  task->load = chooser_->Give(IndexOf(task->backend), operations);
}

std::unique_ptr<Task> Engine::Prepare(Evaluation evaluation,
                                      Violations* violations) const {
  return Prepare(std::move(evaluation), limits_, violations);
}

std::unique_ptr<Task> Engine::Prepare(Evaluation evaluation,
                                      const EngineLimits& limits,
                                      Violations* violations) const {
  auto task = std::make_unique<Task>();
  task->violations = *violations;  // for its way of naming values
  task->backend = FindBackend(evaluation, violations);
  task->pool = pool_.get();
  CheckTensors(evaluation, limits, violations);
  CheckParameters(evaluation, violations);
  CheckOptions(evaluation, violations);
  if (!violations->empty()) return nullptr;

  const LossDefinition& loss = *evaluation.loss;
  violations->set_loss(loss.schema.name);
  loss.check_shapes(evaluation.arguments, violations);
  if (violations->empty()) {
    task->geometry = loss.plan(evaluation.arguments, violations);
  }
  violations->set_loss("");
  if (!violations->empty()) return nullptr;

  task->units = UnitsOf(task->geometry);
  CheckElements(task->geometry.element_count, task->units, limits, violations);
  if (!violations->empty()) return nullptr;
  task->cost = CostOf(evaluation, task->geometry, task->units);
  task->input_bytes = InputBytes(evaluation);
  CheckGradOutput(evaluation, task->geometry, violations);
  task->response_bytes = ResponseBytes(evaluation, task->geometry);
  CheckCost(task->cost, task->response_bytes, limits, violations);
  if (!violations->empty()) return nullptr;
  const auto losses = AllLosses();
  while (losses[task->loss_index] != &loss) ++task->loss_index;
  task->evaluation = std::move(evaluation);
  AssignBackend(task.get());
  return task;
}

void Engine::Describe(Task* task) const { SetCounts(task); }

void Engine::Run(absl::Span<Task* const> tasks,
                 absl::FunctionRef<void(size_t)> done) const {
  if (tasks.empty()) return;
  absl::InlinedVector<Job*, 16> jobs;
  for (Task* task : tasks) {
    SetUp(task);
    if (GradientNeedsMean(task->evaluation, task->geometry)) FindMean(task);
    jobs.push_back(&task->job);
  }
  const auto finish = [&](const Completion& completion) {
    Task* const task = tasks[completion.job];
    task->device = completion.device;
    task->copying = completion.copying;
    FinishTask(task, [&](int sum) { return SumOfUnits(task->job, sum); });
    task->load.Release();
    done(completion.job);
  };
  if (chooser_ == nullptr) {
    tasks[0]->backend->Run(jobs, finish);
    return;
  }
  const absl::Time start = clock_->Now();
  tasks[0]->backend->Run(jobs, finish);
  RecordPace(tasks, clock_->Now() - start);
}

void Engine::RecordPace(absl::Span<Task* const> tasks,
                        absl::Duration elapsed) const {
  const size_t index = IndexOf(tasks[0]->backend);
  double operations = 0;
  for (const Task* task : tasks) operations += task->cost.operations;
  for (const Task* task : tasks) {
    if (!task->job.failure.ok()) continue;
    const double own = task->cost.operations;
    chooser_->Record(index, own, elapsed * (own / operations));
  }
}

}  // namespace lossd
