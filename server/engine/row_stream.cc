// SPDX-License-Identifier: Apache-2.0

#include "server/engine/row_stream.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/engine/gradients.h"
#include "server/engine/row_stream_checks.h"
#include "server/engine/task_steps.h"
#include "server/engine/validation.h"

namespace lossd {
namespace {

// The limits of a chunk say nothing of the whole, which is computed as it
// comes.
// Of a tensor: the bytes of all of them are then within 64 bits.
constexpr int64_t kMaxStreamElements = int64_t{1} << 56;

EngineLimits LimitsOfWhole(const EngineLimits& of_chunk) {
  EngineLimits limits = of_chunk;
  limits.max_elements = kMaxStreamElements;
  limits.max_operations = std::numeric_limits<double>::infinity();
  limits.max_response_bytes = std::numeric_limits<int64_t>::max();
  limits.max_scratch_bytes = std::numeric_limits<int64_t>::max();
  return limits;
}

uint32_t WithoutData(const Arguments& arguments) {
  uint32_t slots = 0;
  for (int slot = 0; slot < kMaxTensors; ++slot) {
    const TensorView& tensor = arguments.tensor(slot);
    if (tensor.present() && tensor.data == nullptr) slots |= 1u << slot;
  }
  return slots;
}

// Elements of a row of a tensor, whose dimension 0 is that of the samples.
int64_t RowElements(const TensorView& tensor) {
  if (tensor.shape.empty()) return 1;
  return ElementCount(absl::MakeConstSpan(tensor.shape).subspan(1)).value();
}

void Copy(const uint8_t* from, int64_t bytes, uint8_t* to) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

}  // namespace

std::unique_ptr<RowStream> RowStream::Create(const Engine& engine,
                                             Evaluation head,
                                             Violations* violations) {
  const uint32_t streamed = WithoutData(head.arguments);
  std::unique_ptr<Task> whole = engine.Prepare(
      std::move(head), LimitsOfWhole(engine.limits()), violations);
  if (whole == nullptr) return nullptr;
  CheckStreamable(*whole, streamed, violations);
  if (!violations->empty()) return nullptr;
  std::unique_ptr<RowStream> stream(
      new RowStream(engine, std::move(whole), streamed));
  return stream;
}

RowStream::RowStream(const Engine& engine, std::unique_ptr<Task> whole,
                     uint32_t streamed)
    : engine_(engine), whole_(std::move(whole)), streamed_(streamed) {
  const Evaluation& evaluation = whole_->evaluation;
  const Geometry& geometry = whole_->geometry;
  rows_ = geometry.loss_shape[0];
  if (!geometry.row_loss) {
    row_elements_ =
        ElementCount(absl::MakeConstSpan(geometry.loss_shape).subspan(1))
            .value();
  }
  gradient_scale_ = GradientScale(evaluation, geometry);
  float_lanes_ = UsesFloatLanes(evaluation, geometry, gradient_scale_);
  totals_.resize(kMetricSums + loss().schema.metrics.size());
  for (int slot = 0; slot < kMaxTensors && !geometry.row_loss; ++slot) {
    if (!streams(slot)) continue;
    kept_data_[static_cast<size_t>(slot)] = AlignedBuffer(
        kLeaf * DtypeSize(evaluation.arguments.tensor(slot).dtype));
  }
  if (!Wants(evaluation, Output::kGradients)) return;
  for (int slot : GradientSlots(evaluation)) {
    const TensorView& tensor = evaluation.arguments.tensor(slot);
    const Dtype dtype = evaluation.gradient_dtype == Dtype::kUnspecified
                            ? tensor.dtype
                            : evaluation.gradient_dtype;
    gradient_slots_.push_back(
        {.slot = slot,
         .wrt = loss().schema.tensors[static_cast<size_t>(slot)].name,
         .dtype = dtype,
         .row_bytes = RowElements(tensor) * DtypeSize(dtype),
         .carried = {}});
  }
}

int64_t RowStream::RowBytes(int slot) const {
  const TensorView& tensor = whole_->evaluation.arguments.tensor(slot);
  return RowElements(tensor) * DtypeSize(tensor.dtype);
}

int64_t RowStream::UnitsOf(int64_t rows) const {
  if (!whole_->geometry.row_loss) return rows * row_elements_ / kLeaf + 2;
  return rows_ == 0 ? 0 : whole_->geometry.rows / rows_ * rows;
}

Cost RowStream::CostOf(int64_t rows) const {
  const auto sums = static_cast<int64_t>(8 * totals_.size());
  const double share = static_cast<double>(rows) /
                       static_cast<double>(std::max<int64_t>(rows_, 1));
  return {.operations = whole_->cost.operations * share,
          .scratch_bytes = std::max<int64_t>(0, whole_->cost.scratch_bytes -
                                                    whole_->units * sums) +
                           UnitsOf(rows) * sums};
}

int64_t RowStream::GradientBytes(int64_t rows) const {
  int64_t bytes = 0;
  for (const GradientSlot& each : gradient_slots_) {
    bytes += each.row_bytes * rows;
  }
  return bytes;
}

bool RowStream::Feed(const Chunk& chunk, Gradients* gradients,
                     Violations* violations) {
  const TensorView& lead = whole_->evaluation.arguments.tensor(0);
  CheckChunkLimits(RowElements(lead) * chunk.rows, CostOf(chunk.rows),
                   GradientBytes(chunk.rows), engine_.limits(), violations);
  if (!violations->empty()) return false;
  const bool good = whole_->geometry.row_loss
                        ? FeedRows(chunk, gradients, violations)
                        : FeedElements(chunk, gradients, violations);
  rows_fed_ += chunk.rows;
  return good;
}

Job RowStream::NewJob(int64_t units, std::vector<double>* sums) const {
  sums->resize(totals_.size() * static_cast<size_t>(units));
  Job job;
  job.loss = &loss();
  job.loss_index = static_cast<int>(whole_->loss_index);
  job.pool = whole_->pool;
  job.units = units;
  job.float_lanes = float_lanes_;
  job.mean = IsMean(whole_->evaluation);
  job.gradient_scale = gradient_scale_;
  job.unit_sums = sums->data();
  return job;
}

void RowStream::RunJob(Job* job) {
  Job* const jobs[] = {job};
  backend()->Run(jobs, [this](const Completion& completion) {
    whole_->device = completion.device;
    whole_->copying += completion.copying;
  });
  whole_->job.findings.Merge(job->findings);
  const double* value = job->unit_sums;
  for (OrderedSum& total : totals_) {
    for (int64_t i = 0; i < job->units; ++i) total.Add(*value++);
  }
}

bool RowStream::DescribeDomain(const Job& job, const Arguments& arguments,
                               Violations* violations) const {
  if (job.findings.outside_domain == 0) return true;
  Evaluation named;
  named.loss = &loss();
  named.arguments = arguments;
  DescribeDomainViolations(named, job.findings.outside_domain, violations);
  return false;
}

void RowStream::NameRows(int64_t begin, int64_t end,
                         Violations* violations) const {
  violations->AddSentence(
      absl::StrCat("Counted in rows ", begin, " to ", end - 1, "."));
}

Arguments RowStream::RowsOf(const Chunk& chunk) {
  const Arguments& whole = whole_->evaluation.arguments;
  Arguments rows = whole;
  rows.weight_sum = &weight_sum_;
  for (int slot = 0; slot < kMaxTensors; ++slot) {
    const TensorView& from = whole.tensor(slot);
    if (!from.present() ||
        loss().schema.tensors[static_cast<size_t>(slot)].role ==
            TensorRole::kWeight) {
      continue;
    }
    TensorView& tensor = rows.tensors[static_cast<size_t>(slot)];
    const int64_t row = RowElements(from);
    tensor.whole = &from;
    tensor.begin = rows_fed_ * row;
    tensor.shape[0] = chunk.rows;
    tensor.elements = row * chunk.rows;
    tensor.data = streams(slot)
                      ? chunk.data[static_cast<size_t>(slot)]
                      : from.data + tensor.begin * DtypeSize(from.dtype);
  }
  return rows;
}

bool RowStream::FeedRows(const Chunk& chunk, Gradients* gradients,
                         Violations* violations) {
  const Arguments arguments = RowsOf(chunk);
  violations->set_loss(loss().schema.name);
  Geometry geometry = loss().plan(arguments, violations);
  violations->set_loss("");
  if (!violations->empty()) {
    NameRows(rows_fed_, rows_fed_ + chunk.rows, violations);
    return false;
  }
  denominator_ += geometry.mean_denominator;
  metric_denominator_ += geometry.metric_denominator;
  ignored_ += geometry.ignored_count;

  std::vector<double> sums;
  Job job = NewJob(geometry.rows, &sums);
  job.arguments = &arguments;
  job.geometry = &geometry;
  for (const GradientSlot& each : gradient_slots_) {
    const int64_t bytes = each.row_bytes * chunk.rows;
    gradients->tensors.push_back(
        {each.wrt, engine_.pool().Allocate(bytes), bytes});
    job.gradients[static_cast<size_t>(each.slot)] = {
        each.dtype, gradients->tensors.back().data.data()};
  }
  gradients->rows = chunk.rows;
  RunJob(&job);
  if (DescribeFailure(job, violations)) return false;
  if (DescribeDomain(job, arguments, violations)) return true;
  NameRows(rows_fed_, rows_fed_ + chunk.rows, violations);
  return false;
}

bool RowStream::FeedElements(const Chunk& chunk, Gradients* gradients,
                             Violations* violations) {
  const int64_t arrived = chunk.rows * row_elements_;
  const bool last = rows_fed_ + chunk.rows == rows_;
  const int64_t left = kept_ + arrived;
  const int64_t count = last ? left : left / kLeaf * kLeaf;
  AddWeights(chunk);
  if (count == 0) {
    // An empty row is complete when it has come.
    if (row_elements_ == 0) AllocateGradients(0, chunk.rows, gradients);
    Carry(chunk, 0, arrived);
    return true;
  }
  const int64_t complete = (computed_ + count) / row_elements_;
  const int64_t offset = computed_ - rows_given_ * row_elements_;
  AllocateGradients(offset + count, complete - rows_given_, gradients);

  // What was kept, filled up to a leaf, and then whole leaves where they lie.
  int64_t taken = 0;
  if (kept_ > 0) {
    taken = std::min(kLeaf - kept_, arrived);
    Carry(chunk, 0, taken);
    Run run = {.begin = computed_, .count = kept_, .data = {}};
    for (size_t slot = 0; slot < kMaxTensors; ++slot) {
      run.data[slot] = kept_data_[slot].data();
    }
    if (!RunElements(run, gradients, offset, violations)) return false;
    computed_ += kept_;
    kept_ = 0;
  }
  const int64_t end =
      offset + count - (computed_ - rows_given_ * row_elements_);
  if (end > 0) {
    const Run run = {
        .begin = computed_, .count = end, .data = From(chunk, taken)};
    if (!RunElements(run, gradients, offset + count - end, violations)) {
      return false;
    }
    computed_ += end;
  }
  Carry(chunk, taken + end, arrived);
  CarryGradients(offset + count, gradients);
  rows_given_ = complete;
  return true;
}

std::array<const uint8_t*, kMaxTensors> RowStream::From(const Chunk& chunk,
                                                        int64_t element) const {
  std::array<const uint8_t*, kMaxTensors> data = {};
  for (int slot = 0; slot < kMaxTensors; ++slot) {
    if (!streams(slot)) continue;
    data[static_cast<size_t>(slot)] =
        chunk.data[static_cast<size_t>(slot)] +
        element * DtypeSize(whole_->evaluation.arguments.tensor(slot).dtype);
  }
  return data;
}

void RowStream::Carry(const Chunk& chunk, int64_t from, int64_t to) {
  for (int slot = 0; slot < kMaxTensors; ++slot) {
    if (!streams(slot)) continue;
    const int64_t size =
        DtypeSize(whole_->evaluation.arguments.tensor(slot).dtype);
    Copy(chunk.data[static_cast<size_t>(slot)] + from * size,
         (to - from) * size,
         kept_data_[static_cast<size_t>(slot)].data() + kept_ * size);
  }
  kept_ += to - from;
}

void RowStream::AddWeights(const Chunk& chunk) {
  const Geometry& geometry = whole_->geometry;
  if (geometry.denominator_known) return;
  for (int slot = 0; slot < kMaxTensors; ++slot) {
    if (!streams(slot) ||
        loss().schema.tensors[static_cast<size_t>(slot)].role !=
            TensorRole::kWeight) {
      continue;
    }
    TensorView rows = whole_->evaluation.arguments.tensor(slot);
    rows.data = chunk.data[static_cast<size_t>(slot)];
    OrderedSum& sum = weight_sum_.Continue();
    for (int64_t i = 0; i < chunk.rows * row_elements_; ++i) {
      sum.Add(rows.ValueAt(i));
    }
  }
}

Arguments RowStream::ElementsOf(const Run& run, bool named) const {
  const Arguments& whole = whole_->evaluation.arguments;
  Arguments elements = whole;
  for (int slot = 0; slot < kMaxTensors; ++slot) {
    const TensorView& from = whole.tensor(slot);
    const auto& view = whole_->geometry.views[static_cast<size_t>(slot)];
    // A tensor that broadcasts is read from its beginning.
    if (!from.present() ||
        (view ? *view : from.shape) != whole_->geometry.loss_shape) {
      continue;
    }
    TensorView& tensor = elements.tensors[static_cast<size_t>(slot)];
    tensor.data = streams(slot) ? run.data[static_cast<size_t>(slot)]
                                : from.data + run.begin * DtypeSize(from.dtype);
    if (!named) continue;
    tensor.whole = &from;
    tensor.begin = run.begin;
    tensor.elements = run.count;
  }
  return elements;
}

bool RowStream::RunElements(const Run& run, Gradients* gradients,
                            int64_t offset, Violations* violations) {
  const Arguments arguments = ElementsOf(run, false);
  Geometry geometry = whole_->geometry;
  geometry.element_count = run.count;
  std::vector<double> sums;
  Job job = NewJob((run.count + kLeaf - 1) / kLeaf, &sums);
  job.first_element = run.begin;
  job.arguments = &arguments;
  job.geometry = &geometry;
  for (size_t i = 0; i < gradient_slots_.size(); ++i) {
    const GradientSlot& each = gradient_slots_[i];
    job.gradients[static_cast<size_t>(each.slot)] = {
        each.dtype,
        gradients->tensors[i].data.data() + offset * DtypeSize(each.dtype)};
  }
  RunJob(&job);
  if (DescribeFailure(job, violations)) return false;
  if (DescribeDomain(job, ElementsOf(run, true), violations)) return true;
  NameRows(run.begin / row_elements_,
           (run.begin + run.count - 1) / row_elements_ + 1, violations);
  return false;
}

void RowStream::AllocateGradients(int64_t elements, int64_t rows,
                                  Gradients* gradients) {
  gradients->rows = rows;
  for (GradientSlot& each : gradient_slots_) {
    AlignedBuffer data =
        engine_.pool().Allocate(elements * DtypeSize(each.dtype));
    Copy(each.carried.data(), each.carried.size(), data.data());
    gradients->tensors.push_back(
        {each.wrt, std::move(data), each.row_bytes * rows});
  }
}

void RowStream::CarryGradients(int64_t elements, Gradients* gradients) {
  for (size_t i = 0; i < gradient_slots_.size(); ++i) {
    GradientSlot& each = gradient_slots_[i];
    const Gradients::Rows& rows = gradients->tensors[i];
    const int64_t bytes = elements * DtypeSize(each.dtype) - rows.bytes;
    if (each.carried.size() != bytes) {
      each.carried = engine_.pool().Allocate(bytes);
    }
    Copy(rows.data.data() + rows.bytes, bytes, each.carried.data());
  }
}

Task& RowStream::Finish() {
  Geometry& geometry = whole_->geometry;
  if (!geometry.counted) {
    geometry.counted = true;
    geometry.ignored_count = ignored_;
    geometry.metric_denominator = metric_denominator_;
    if (!geometry.denominator_known) {
      geometry.mean_denominator =
          weight_sum_.used() ? weight_sum_.Total() : denominator_;
    }
  }
  FinishTask(whole_.get(), [&](int sum) {
    return totals_[static_cast<size_t>(sum)].Total();
  });
  if (!gradient_slots_.empty()) {
    whole_->result.gradient_underflow_count = whole_->job.findings.underflow;
  }
  return *whole_;
}

}  // namespace lossd
