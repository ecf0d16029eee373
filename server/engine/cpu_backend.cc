// SPDX-License-Identifier: Apache-2.0

#include "server/engine/cpu_backend.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/base/ordered_sum.h"
#include "server/base/worker_pool.h"
#include "server/kernels/cpu/cpu_kernels.h"
#include "server/kernels/reference/reference_kernels.h"

namespace lossd {
namespace {

// A range of units of the job at `index`.
struct Chunk {
  size_t index;
  int64_t begin;
  int64_t end;
  int64_t elements;
};

// What is left to do of a job in several chunks.
struct Remainder {
  int64_t chunks = 0;
  Findings findings;
};

// What finding one element anywhere costs, in elements that follow one another.
constexpr int64_t kElementsOfLabel = 32;

// The elements of a unit that a kernel touches, about.
int64_t ElementsOf(const Job& job) {
  const Geometry& geometry = *job.geometry;
  const bool writes = job.gradients[0].data || job.probabilities.data ||
                      job.log_probabilities.data || job.predicted_classes;
  if (geometry.label_only && !writes) return kElementsOfLabel;
  return geometry.row_loss ? geometry.row_length * geometry.steps : kLeaf;
}

// The units of a chunk of about `grain` elements, where a unit has `elements`.
int64_t UnitsOfChunk(int64_t grain, int64_t elements) {
  return std::max<int64_t>(1, grain / std::max<int64_t>(1, elements));
}

void AppendChunks(const Job& job, size_t index, int64_t grain,
                  std::vector<Chunk>* chunks) {
  const int64_t elements = ElementsOf(job);
  const int64_t step = UnitsOfChunk(grain, elements);
  for (int64_t begin = 0; begin < job.units; begin += step) {
    const int64_t end = std::min(begin + step, job.units);
    chunks->push_back({index, begin, end, (end - begin) * elements});
  }
}

// Where each thread's share of the chunks begins: small chunks, such as those
// of a batch of small requests, are taken together, up to `grain` elements.
std::vector<size_t> Shares(const std::vector<Chunk>& chunks, int64_t grain) {
  std::vector<size_t> begins;
  int64_t elements = 0;
  for (size_t i = 0; i < chunks.size(); ++i) {
    if (begins.empty() || elements + chunks[i].elements > grain) {
      begins.push_back(i);
      elements = 0;
    }
    elements += chunks[i].elements;
  }
  begins.push_back(chunks.size());
  return begins;
}

// The chunks of some jobs, which threads run in any order.
class ChunkedJobs {
 public:
  ChunkedJobs(absl::Span<Job* const> jobs, int64_t grain,
              absl::FunctionRef<void(const Completion&)> done)
      : jobs_(jobs), done_(done), remainders_(jobs.size()) {
    for (size_t i = 0; i < jobs.size(); ++i) {
      const size_t before = chunks_.size();
      AppendChunks(*jobs[i], i, grain, &chunks_);
      remainders_[i].chunks = static_cast<int64_t>(chunks_.size() - before);
    }
  }

  const std::vector<Chunk>& chunks() const { return chunks_; }

  void Run(const KernelTable& kernels, const Chunk& chunk) {
    Job& job = *jobs_[chunk.index];
    const Findings findings = kernels.Run(job, chunk.begin, chunk.end);
    Remainder& remainder = remainders_[chunk.index];
    {
      absl::MutexLock lock(&mutex_);
      remainder.findings.Merge(findings);
      if (--remainder.chunks > 0) return;
    }
    job.findings.Merge(remainder.findings);
    done_({.job = chunk.index});
  }

 private:
  const absl::Span<Job* const> jobs_;
  const absl::FunctionRef<void(const Completion&)> done_;
  std::vector<Chunk> chunks_;
  absl::Mutex mutex_;
  std::vector<Remainder> remainders_ ABSL_GUARDED_BY(mutex_);
};

class CpuBackend : public Backend {
 public:
  CpuBackend(std::string name, int threads, const KernelTable& kernels,
             int64_t grain)
      : name_(std::move(name)),
        kernels_(kernels),
        grain_(grain),
        pool_(threads) {
    device_.name = "cpu:0";
    device_.target = kernels.target;
    device_.parallelism = pool_.threads();
  }

  DeviceClass device_class() const override { return DeviceClass::kCpu; }
  std::string name() const override { return name_; }
  absl::Span<const DeviceDescription> devices() const override {
    return {&device_, 1};
  }
  bool InService(size_t) const override { return true; }
  int max_runs() const override { return pool_.threads(); }
  std::shared_ptr<MappingObserver> mapping_observer() override {
    return nullptr;
  }

  void Run(absl::Span<Job* const> jobs,
           absl::FunctionRef<void(const Completion&)> done) override {
    if (jobs.size() == 1 &&
        jobs[0]->units <= UnitsOfChunk(grain_, ElementsOf(*jobs[0]))) {
      // Nothing is there to share.
      Job& job = *jobs[0];
      if (job.units > 0) job.findings.Merge(kernels_.Run(job, 0, job.units));
      done({.job = 0});
      return;
    }
    for (size_t i = 0; i < jobs.size(); ++i) {
      if (jobs[i]->units == 0) done({.job = i});
    }
    ChunkedJobs chunked(jobs, grain_, done);
    const std::vector<Chunk>& chunks = chunked.chunks();
    const std::vector<size_t> shares = Shares(chunks, grain_);
    pool_.ParallelFor(
        static_cast<int64_t>(shares.size()) - 1, [&](int64_t share) {
          for (size_t i = shares[share]; i < shares[share + 1]; ++i) {
            chunked.Run(kernels_, chunks[i]);
          }
        });
  }

 private:
  const std::string name_;
  DeviceDescription device_;
  const KernelTable kernels_;
  const int64_t grain_;
  WorkerPool pool_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(
    int threads, absl::string_view target, int64_t grain) {
  std::string known;
  for (const KernelTable& kernels : CpuKernels()) {
    if (target.empty() || target == kernels.target) {
      return std::make_unique<CpuBackend>("cpu", threads, kernels, grain);
    }
    absl::StrAppend(&known, known.empty() ? "" : ", ", kernels.target);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "target = ", target, " is not one that this CPU has: ", known,
      ". Leave it empty for the best."));
}

std::unique_ptr<Backend> MakeReferenceBackend() {
  return std::make_unique<CpuBackend>("reference", 1, ReferenceKernels(),
                                      kDefaultGrain);
}

}  // namespace lossd
