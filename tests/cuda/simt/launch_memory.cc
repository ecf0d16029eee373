// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/simt/launch_memory.h"

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "server/kernels/cuda/descriptors.h"
#include "server/kernels/job.h"

namespace lossd::simt {
namespace {

using cuda::JobDescriptor;
using cuda::OutputDescriptor;
using cuda::TensorDescriptor;

constexpr int kPoison = 0xff;

// Gathers the stretches of a launch. What is read only is taken for writable.
class Claims {
 public:
  void Read(const void* begin, int64_t bytes) { Add(begin, bytes, true); }
  void Write(const void* begin, int64_t bytes) { Add(begin, bytes, false); }
  void Output(const OutputDescriptor& to, int64_t elements) {
    Write(to.data, elements * DtypeSize(to.dtype));
  }
  // A dense tensor of a part is given with the elements of the whole.
  void Tensor(const TensorDescriptor& tensor, const JobDescriptor& job) {
    if (tensor.dtype == Dtype::kUnspecified) return;
    int64_t elements = tensor.elements;
    if (tensor.layout == TensorDescriptor::Layout::kDense) {
      elements = std::min(elements, job.element_count);
    }
    Read(tensor.data, elements * DtypeSize(tensor.dtype));
  }
  std::vector<Stretch> Take() && { return std::move(stretches_); }

 private:
  void Add(const void* begin, int64_t bytes, bool is_written) {
    if (begin == nullptr || bytes == 0) return;
    stretches_.push_back(
        {static_cast<uint8_t*>(const_cast<void*>(begin)), bytes, is_written});
  }

  std::vector<Stretch> stretches_;
};

// Elements of the loss's shape, of which a part has element_count.
int64_t ElementsOfShape(const JobDescriptor& job) {
  int64_t elements = 1;
  for (int d = 0; d < job.dimensions; ++d) elements *= job.sizes[d];
  return elements;
}

void AddJob(const JobDescriptor& job, Claims* claims) {
  for (const TensorDescriptor& tensor : job.tensors) {
    claims->Tensor(tensor, job);
  }
  claims->Tensor(job.grad_output, job);
  const bool has_rows = job.rows > 0;
  const int64_t lead = job.tensors[0].elements;
  const int64_t elements =
      has_rows ? job.element_count
               : std::min(job.element_count, ElementsOfShape(job));
  for (const OutputDescriptor& gradient : job.gradients) {
    claims->Output(gradient, has_rows ? lead : elements);
  }
  claims->Output(job.losses, elements);
  claims->Output(job.probabilities, lead);
  claims->Output(job.log_probabilities, lead);
  claims->Write(job.predicted_classes, 8 * (has_rows ? job.rows : elements));
  claims->Write(job.unit_sums, 8 * (kMetricSums + job.metrics) * job.units);
  claims->Read(job.findings, sizeof(*job.findings));
}

int64_t GroupsOf(const cuda::Launch& launch, int64_t units) {
  // A warp's kernels have scratch for each warp, a block's for each block.
  const bool by_warp = launch.kernel.find("_warp_") != std::string::npos;
  const int64_t groups =
      by_warp ? launch.blocks * (launch.threads / cuda::kWarpThreadsOfHost)
              : launch.blocks / launch.cluster;
  return units == 0 ? 0 : groups;
}

}  // namespace

std::vector<Stretch> MemoryOf(const cuda::Launch& launch) {
  const cuda::Batch& batch = launch.batch;
  Claims claims;
  claims.Read(batch.jobs, batch.job_count * int64_t{sizeof(JobDescriptor)});
  claims.Read(batch.first_units, (batch.job_count + 1) * 8);
  for (int64_t i = 0; i < batch.job_count; ++i) AddJob(batch.jobs[i], &claims);
  const int64_t units = batch.first_units[batch.job_count];
  if (batch.scratch_bytes > 0) {
    claims.Write(batch.scratch, batch.scratch_bytes * GroupsOf(launch, units));
  }
  return std::move(claims).Take();
}

absl::Status LaunchMemory::Check(const std::map<uint8_t*, int64_t>& memory,
                                 const cuda::Launch& launch) {
  std::vector<Stretch> stretches = MemoryOf(launch);
  std::sort(
      stretches.begin(), stretches.end(),
      [](const Stretch& a, const Stretch& b) { return a.begin < b.begin; });
  const uint8_t* end = nullptr;
  for (const Stretch& stretch : stretches) {
    if (stretch.begin < end) {
      return absl::InternalError(
          absl::StrCat(launch.kernel, " has memory of two uses"));
    }
    end = stretch.begin + stretch.bytes;
    auto allocation = memory.upper_bound(stretch.begin);
    if (allocation == memory.begin() ||
        end > (--allocation)->first + allocation->second) {
      return absl::InternalError(
          absl::StrCat(launch.kernel, " has memory that is not the device's"));
    }
  }
  return absl::OkStatus();
}

LaunchMemory::LaunchMemory(const std::map<uint8_t*, int64_t>& memory,
                           const cuda::Launch& launch)
    : memory_(memory) {
  const std::vector<Stretch> stretches = MemoryOf(launch);
  for (const auto& [begin, bytes] : memory) {
    ASAN_POISON_MEMORY_REGION(begin, static_cast<size_t>(bytes));
  }
  for (const Stretch& stretch : stretches) {
    const auto bytes = static_cast<size_t>(stretch.bytes);
    ASAN_UNPOISON_MEMORY_REGION(stretch.begin, bytes);
    if (!stretch.is_written) std::memset(stretch.begin, kPoison, bytes);
  }
}

LaunchMemory::~LaunchMemory() {
  for (const auto& [begin, bytes] : memory_) {
    ASAN_UNPOISON_MEMORY_REGION(begin, static_cast<size_t>(bytes));
  }
}

bool LaunchMemory::IsWatched() {
#if defined(__SANITIZE_ADDRESS__)
  return true;
#else
  return false;
#endif
}

}  // namespace lossd::simt
