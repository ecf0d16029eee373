// SPDX-License-Identifier: Apache-2.0

#include "server/kernels/cuda/batch_plan.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "server/kernels/cuda/descriptors.h"

namespace lossd::cuda {
namespace {

// The alignment of everything in device memory.
constexpr int64_t kAlignment = 256;

// Blocks for each multiprocessor, so that one waits for memory while another
// computes.
constexpr int64_t kBlocksEach = 16;

int64_t Rounded(int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Turns an offset into a pointer, in place.
template <class T>
void Relocate(uint8_t* base, T** pointer) {
  if (*pointer == nullptr) return;
  *pointer = reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(base) +
                                  reinterpret_cast<uintptr_t>(*pointer));
}

template <class T>
T* AtOffset(int64_t offset) {
  return reinterpret_cast<T*>(static_cast<uintptr_t>(offset));
}

int64_t SumsOf(const Job& job) {
  return kMetricSums + static_cast<int64_t>(job.loss->schema.metrics.size());
}

}  // namespace

BatchPlan::BatchPlan(absl::Span<Job* const> jobs, const PlanOptions& options)
    : options_(options) {
  jobs_.reserve(jobs.size());
  for (Job* job : jobs) {
    if (job->units == 0) continue;
    jobs_.push_back({job, DescriptorOf(*job), {}, {}});
    Assign(jobs_.size() - 1);
  }
  LayOut();
}

int64_t BatchPlan::Take(int64_t bytes) {
  const int64_t offset = end_;
  end_ += Rounded(bytes);
  return offset;
}

// Puts a job into the launch of its kernel.
void BatchPlan::Assign(size_t index) {
  const Job& job = *jobs_[index].job;
  const KernelChoice choice = ChooseKernel(
      job, jobs_[index].descriptor, options_.warp_row, options_.max_cluster);
  LaunchPlan* launch = nullptr;
  for (LaunchPlan& other : launches_) {
    if (other.kernel == choice.kernel && other.cluster == choice.cluster &&
        other.threads == choice.threads) {
      launch = &other;
    }
  }
  if (launch == nullptr) {
    launches_.emplace_back();
    launch = &launches_.back();
    launch->module = choice.module;
    launch->kernel = choice.kernel;
    launch->by_block = choice.by_block;
    launch->threads = choice.threads;
    launch->cluster = choice.cluster;
  }
  launch->jobs.push_back(index);
  launch->units += job.units;
  launch->group_scratch =
      std::max(launch->group_scratch, Rounded(choice.scratch_bytes));
}

void BatchPlan::LayOut() {
  for (LaunchPlan& launch : launches_) {
    const auto count = static_cast<int64_t>(launch.jobs.size());
    launch.jobs_offset =
        Take(count * static_cast<int64_t>(sizeof(JobDescriptor)));
    launch.units_offset = Take((count + 1) * 8);
  }
  for (JobPlan& plan : jobs_) AddInputs(false, &plan);
  download_begin_ = end_;
  for (JobPlan& plan : jobs_) {
    plan.descriptor.findings = AtOffset<FindingsDescriptor>(
        Take(static_cast<int64_t>(sizeof(FindingsDescriptor))));
  }
  upload_bytes_ = end_;
  for (JobPlan& plan : jobs_) AddOutputs(false, &plan);
  download_end_ = end_;
  for (JobPlan& plan : jobs_) {
    AddInputs(true, &plan);
    AddOutputs(true, &plan);
  }
  for (LaunchPlan& launch : launches_) {
    const int64_t groups_each =
        launch.by_block ? 1 : launch.threads / kWarpThreadsOfHost;
    int64_t blocks = (launch.units + groups_each - 1) / groups_each;
    if (launch.group_scratch > 0) {
      const int64_t most =
          options_.max_scratch_bytes / (launch.group_scratch * groups_each);
      blocks = std::min({blocks, std::max<int64_t>(1, most),
                         options_.multiprocessors * kBlocksEach});
      launch.scratch_offset = Take(launch.group_scratch * groups_each * blocks);
    }
    launch.blocks = blocks * launch.cluster;
  }
  device_bytes_ = end_;
}

void BatchPlan::AddInputs(bool direct, JobPlan* plan) {
  const Arguments& arguments = *plan->job->arguments;
  JobDescriptor& descriptor = plan->descriptor;
  for (int slot = 0; slot < kMaxTensors; ++slot) {
    AddInput(arguments.tensor(slot), direct, &descriptor.tensors[slot], plan);
  }
  AddInput(plan->job->grad_output, direct, &descriptor.grad_output, plan);
}

void BatchPlan::AddInput(const TensorView& tensor, bool direct,
                         TensorDescriptor* descriptor, JobPlan* plan) {
  if (!tensor.present()) return;
  // Of a job in parts, a tensor's elements may be those of the whole.
  const bool dense = descriptor->layout == TensorDescriptor::Layout::kDense;
  const int64_t elements =
      dense ? plan->job->geometry->element_count : tensor.elements;
  const int64_t bytes = elements * DtypeSize(tensor.dtype);
  if (IsDirect(bytes) != direct) return;
  const int64_t offset = Take(bytes);
  descriptor->data = AtOffset<const uint8_t>(offset);
  // It is only read there.
  plan->inputs.push_back({const_cast<uint8_t*>(tensor.data), offset, bytes});
}

void BatchPlan::AddOutput(const Destination& to, int64_t elements, bool direct,
                          OutputDescriptor* descriptor, JobPlan* plan) {
  const int64_t bytes = elements * DtypeSize(to.dtype);
  if (to.data == nullptr || IsDirect(bytes) != direct) return;
  const int64_t offset = Take(bytes);
  plan->outputs.push_back({to.data, offset, bytes});
  *descriptor = {AtOffset<uint8_t>(offset), to.dtype};
}

void BatchPlan::AddOutputs(bool direct, JobPlan* plan) {
  const Job& job = *plan->job;
  JobDescriptor& descriptor = plan->descriptor;
  const auto add = [&](const Destination& to, int64_t elements,
                       OutputDescriptor* output) {
    AddOutput(to, elements, direct, output, plan);
  };
  for (int slot = 0; slot < kMaxTensors; ++slot) {
    add(job.gradients[slot], GradientElements(job),
        &descriptor.gradients[slot]);
  }
  add(job.elementwise_losses, job.geometry->element_count, &descriptor.losses);
  const int64_t lead = job.arguments->tensor(0).elements;
  add(job.probabilities, lead, &descriptor.probabilities);
  add(job.log_probabilities, lead, &descriptor.log_probabilities);
  // The others have one dtype each.
  OutputDescriptor classes = {
      reinterpret_cast<uint8_t*>(descriptor.predicted_classes), Dtype::kInt64};
  const int64_t class_count =
      job.geometry->row_loss ? job.geometry->rows : job.geometry->element_count;
  add({Dtype::kInt64, reinterpret_cast<uint8_t*>(job.predicted_classes)},
      class_count, &classes);
  descriptor.predicted_classes = reinterpret_cast<int64_t*>(classes.data);
  OutputDescriptor sums = {reinterpret_cast<uint8_t*>(descriptor.unit_sums),
                           Dtype::kFloat64};
  add({Dtype::kFloat64, reinterpret_cast<uint8_t*>(job.unit_sums)},
      SumsOf(job) * job.units, &sums);
  descriptor.unit_sums = reinterpret_cast<double*>(sums.data);
}

void BatchPlan::Write(uint8_t* base, uint8_t* upload) const {
  for (const LaunchPlan& launch : launches_) {
    auto* jobs = reinterpret_cast<JobDescriptor*>(upload + launch.jobs_offset);
    auto* units = reinterpret_cast<int64_t*>(upload + launch.units_offset);
    int64_t first = 0;
    for (size_t i : launch.jobs) {
      JobDescriptor descriptor = jobs_[i].descriptor;
      for (TensorDescriptor& tensor : descriptor.tensors) {
        Relocate(base, &tensor.data);
      }
      Relocate(base, &descriptor.grad_output.data);
      for (OutputDescriptor& gradient : descriptor.gradients) {
        Relocate(base, &gradient.data);
      }
      Relocate(base, &descriptor.losses.data);
      Relocate(base, &descriptor.probabilities.data);
      Relocate(base, &descriptor.log_probabilities.data);
      Relocate(base, &descriptor.predicted_classes);
      Relocate(base, &descriptor.unit_sums);
      Relocate(base, &descriptor.findings);
      std::memcpy(jobs++, &descriptor, sizeof(descriptor));
      *units++ = first;
      first += descriptor.units;
    }
    *units = first;
  }
  for (const JobPlan& plan : jobs_) {
    for (const Place& input : plan.inputs) {
      if (input.bytes == 0 || IsDirect(input.bytes)) continue;
      std::memcpy(upload + input.offset, input.host,
                  static_cast<size_t>(input.bytes));
    }
  }
  std::memset(upload + download_begin_, 0,
              static_cast<size_t>(upload_bytes_ - download_begin_));
}

std::vector<HostCopy> BatchPlan::Uploads(uint8_t* base, uint8_t* upload) const {
  std::vector<HostCopy> copies = {{base, upload, upload_bytes_}};
  for (const JobPlan& plan : jobs_) {
    for (const Place& input : plan.inputs) {
      if (!IsDirect(input.bytes)) continue;
      copies.push_back({base + input.offset, input.host, input.bytes});
    }
  }
  return copies;
}

std::vector<HostCopy> BatchPlan::Downloads(uint8_t* base,
                                           uint8_t* download) const {
  std::vector<HostCopy> copies = {
      {base + download_begin_, download, download_bytes()}};
  for (const JobPlan& plan : jobs_) {
    for (const Place& output : plan.outputs) {
      if (!IsDirect(output.bytes)) continue;
      copies.push_back({base + output.offset, output.host, output.bytes});
    }
  }
  return copies;
}

std::vector<Launch> BatchPlan::Launches(uint8_t* base) const {
  std::vector<Launch> launches;
  for (const LaunchPlan& plan : launches_) {
    Launch launch;
    launch.module = plan.module;
    launch.kernel = plan.kernel;
    launch.batch.jobs =
        reinterpret_cast<const JobDescriptor*>(base + plan.jobs_offset);
    launch.batch.first_units =
        reinterpret_cast<const int64_t*>(base + plan.units_offset);
    launch.batch.job_count = static_cast<int64_t>(plan.jobs.size());
    launch.batch.scratch = base + plan.scratch_offset;
    launch.batch.scratch_bytes = plan.group_scratch;
    launch.blocks = plan.blocks;
    launch.threads = plan.threads;
    launch.cluster = plan.cluster;
    launches.push_back(launch);
  }
  return launches;
}

void BatchPlan::Read(const uint8_t* download) const {
  const uint8_t* image = download - download_begin_;
  for (const JobPlan& plan : jobs_) {
    for (const Place& output : plan.outputs) {
      if (output.bytes == 0 || IsDirect(output.bytes)) continue;
      std::memcpy(output.host, image + output.offset,
                  static_cast<size_t>(output.bytes));
    }
    FindingsDescriptor found;
    std::memcpy(&found,
                image + reinterpret_cast<uintptr_t>(plan.descriptor.findings),
                sizeof(found));
    plan.job->findings.Merge(FindingsOf(found));
  }
}

}  // namespace lossd::cuda
