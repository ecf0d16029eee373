// SPDX-License-Identifier: Apache-2.0

#include "server/engine/cuda_backend.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/base/status_macros.h"
#include "server/engine/cuda_lane.h"
#include "server/kernels/cuda/batch_plan.h"
#include "server/kernels/cuda/driver.h"
#include "server/kernels/cuda/kernel_images.h"

namespace lossd {
namespace {

using cuda::BatchPlan;
using cuda::Device;

// Locks what a pool maps, so that devices copy from and to it by themselves.
// Thread-safe.
class Pins final : public MappingObserver {
 public:
  // What one device locks is locked for all.
  explicit Pins(std::vector<Device*> devices) : devices_(std::move(devices)) {}

  // Memory that no device can lock is copied all the same, only more slowly.
  void OnMap(uint8_t* data, int64_t bytes) override {
    absl::ReaderMutexLock use(&use_);
    for (Device* device : devices_) {
      if (!device->PinHost(data, bytes).ok()) continue;
      absl::MutexLock lock(&mutex_);
      pinned_.insert(data);
      return;
    }
  }
  // What stays locked must not become other memory: devices would go on to use
  // what was there.
  bool OnUnmap(uint8_t* data) override {
    absl::ReaderMutexLock use(&use_);
    {
      absl::MutexLock lock(&mutex_);
      if (pinned_.erase(data) == 0) return true;
    }
    return Unpin(data);
  }
  // The devices are about to go, and with them every lock.
  void Forget() {
    absl::WriterMutexLock use(&use_);
    absl::MutexLock lock(&mutex_);
    for (uint8_t* data : pinned_) Unpin(data);
    pinned_.clear();
    devices_.clear();
  }

 private:
  // By way of any device that can.
  bool Unpin(uint8_t* data) ABSL_SHARED_LOCKS_REQUIRED(use_) {
    for (Device* device : devices_) {
      if (device->UnpinHost(data).ok()) return true;
    }
    return false;
  }

  // Held while devices are asked, which can take milliseconds.
  absl::Mutex use_;
  std::vector<Device*> devices_ ABSL_GUARDED_BY(use_);
  absl::Mutex mutex_;
  std::set<uint8_t*> pinned_ ABSL_GUARDED_BY(mutex_);
};

// The most memory of a device that one batch may have: its share of the arena,
// and of what the device has.
int64_t LimitOf(const std::vector<std::unique_ptr<Device>>& devices,
                const CudaOptions& options) {
  int64_t arena = options.arena_bytes;
  for (const std::unique_ptr<Device>& device : devices) {
    // The rest is for the driver, and for whoever else uses the device.
    arena = std::min(arena, device->info().memory_bytes / 5 * 4);
  }
  return arena / options.batches_in_flight;
}

// A device, and the lanes of it that nobody uses.
struct Member {
  size_t index = 0;
  std::unique_ptr<Device> device;
  std::vector<std::unique_ptr<CudaLane>> lanes;
  std::vector<CudaLane*> idle;
  bool in_service = true;
};

class CudaBackend : public Backend {
 public:
  CudaBackend(std::vector<std::unique_ptr<Device>> devices,
              const CudaOptions& options)
      : options_(options), limit_(LimitOf(devices, options)) {
    std::vector<Device*> pinning;
    absl::MutexLock lock(&mutex_);
    for (std::unique_ptr<Device>& device : devices) {
      pinning.push_back(device.get());
      const cuda::DeviceInfo& info = device->info();
      descriptions_.push_back({.name = info.name,
                               .model = info.model,
                               .target = info.target,
                               .parallelism = info.multiprocessors,
                               .max_evaluation_bytes = limit_});
      Member member;
      member.index = members_.size();
      for (int i = 0; i < options.batches_in_flight; ++i) {
        member.lanes.push_back(std::make_unique<CudaLane>(device.get()));
        member.idle.push_back(member.lanes.back().get());
      }
      member.device = std::move(device);
      members_.push_back(std::move(member));
    }
    pins_ = std::make_shared<Pins>(std::move(pinning));
  }
  ~CudaBackend() override { pins_->Forget(); }

  DeviceClass device_class() const override { return DeviceClass::kCuda; }
  std::string name() const override { return "cuda"; }
  absl::Span<const DeviceDescription> devices() const override {
    return descriptions_;
  }
  bool InService(size_t device) const override {
    absl::MutexLock lock(&mutex_);
    return members_[device].in_service;
  }
  int max_runs() const override {
    absl::MutexLock lock(&mutex_);
    int runs = 0;
    for (const Member& member : members_) {
      if (member.in_service) runs += options_.batches_in_flight;
    }
    return runs;
  }
  std::shared_ptr<MappingObserver> mapping_observer() override { return pins_; }

  void Run(absl::Span<Job* const> jobs,
           absl::FunctionRef<void(const Completion&)> done) override {
    if (!jobs.empty()) RunFrom(0, jobs, done);
  }

 private:
  // A lane of a member, in use.
  struct Lease {
    Member* member = nullptr;
    CudaLane* lane = nullptr;
  };

  BatchPlan PlanOf(absl::Span<Job* const> jobs,
                   const cuda::DeviceInfo& info) const {
    cuda::PlanOptions options;
    options.multiprocessors = info.multiprocessors;
    options.max_cluster = info.max_cluster;
    options.max_scratch_bytes = limit_ / 4;
    options.warp_row = options_.warp_row;
    return BatchPlan(jobs, options);
  }

  // How a batch ended, and where.
  struct Outcome {
    absl::Status status;
    Completion completion;
  };

  // Runs jobs, the first of which is at that position, in one batch if there is
  // memory for it, or in halves: what there is no memory for is refused alone.
  void RunFrom(size_t position, absl::Span<Job* const> jobs,
               absl::FunctionRef<void(const Completion&)> done) {
    Outcome outcome = RunBatch(jobs);
    if (jobs.size() > 1 && absl::IsResourceExhausted(outcome.status)) {
      const size_t half = jobs.size() / 2;
      RunFrom(position, jobs.first(half), done);
      RunFrom(position + half, jobs.subspan(half), done);
      return;
    }
    for (Job* job : jobs) {
      job->failure = outcome.status;
      outcome.completion.job = position++;
      done(outcome.completion);
    }
  }

  // Runs a batch on a device, and if that fails on another.
  Outcome RunBatch(absl::Span<Job* const> jobs) {
    Outcome outcome;
    for (int attempt = 0; attempt < 2; ++attempt) {
      const Lease lease = Acquire();
      if (lease.lane == nullptr) {
        outcome.status = absl::UnavailableError("no CUDA device is in service");
        break;
      }
      const cuda::DeviceInfo& info = lease.member->device->info();
      outcome.completion.device = lease.member->index;
      const absl::StatusOr<absl::Duration> copying =
          RunOn(*lease.lane, PlanOf(jobs, info));
      outcome.status = copying.status();
      if (copying.ok()) outcome.completion.copying = *copying;
      if (copying.ok() || absl::IsResourceExhausted(outcome.status)) {
        Release(lease);
        break;
      }
      const bool lost = absl::IsUnavailable(outcome.status);
      outcome.status = absl::UnavailableError(
          absl::StrCat(info.name, " failed: ", outcome.status.message()));
      if (!lost) {
        Release(lease);
        break;
      }
      if (ReleaseFailed(lease)) options_.on_failure(info.name, outcome.status);
    }
    return outcome;
  }

  absl::StatusOr<absl::Duration> RunOn(CudaLane& lane,
                                       const BatchPlan& plan) const {
    if (plan.device_bytes() > limit_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the evaluation needs ", plan.device_bytes(),
                       " bytes of device memory, and may have ", limit_));
    }
    return lane.Run(plan, limit_);
  }

  bool HasIdleOrNone() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    bool in_service = false;
    for (const Member& member : members_) {
      if (!member.in_service) continue;
      in_service = true;
      if (!member.idle.empty()) return true;
    }
    return !in_service;
  }

  // A lane of the device with the fewest in use; none if no device is in
  // service.
  Lease Acquire() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &CudaBackend::HasIdleOrNone));
    Member* best = nullptr;
    for (Member& member : members_) {
      if (!member.in_service || member.idle.empty()) continue;
      if (best == nullptr || member.idle.size() > best->idle.size()) {
        best = &member;
      }
    }
    if (best == nullptr) return {};
    CudaLane* lane = best->idle.back();
    best->idle.pop_back();
    return {best, lane};
  }

  void Release(const Lease& lease) {
    absl::MutexLock lock(&mutex_);
    lease.member->idle.push_back(lease.lane);
  }
  // Takes the device out of service; true for the first of its batches that
  // does.
  bool ReleaseFailed(const Lease& lease) {
    absl::MutexLock lock(&mutex_);
    lease.member->idle.push_back(lease.lane);
    return std::exchange(lease.member->in_service, false);
  }

  const CudaOptions options_;
  const int64_t limit_;  // of one batch
  std::vector<DeviceDescription> descriptions_;
  std::shared_ptr<Pins> pins_;
  mutable absl::Mutex mutex_;
  std::vector<Member> members_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Backend> MakeCudaBackend(
    std::vector<std::unique_ptr<cuda::Device>> devices,
    const CudaOptions& options) {
  return std::make_unique<CudaBackend>(std::move(devices), options);
}

absl::StatusOr<std::unique_ptr<Backend>> OpenCudaBackend(
    const CudaOptions& options) {
  const auto images = cuda::KernelImages();
  if (images.empty()) {
    return absl::UnimplementedError("lossd was built without CUDA");
  }
  LOSSD_ASSIGN_OR_RETURN(auto devices,
                         cuda::OpenDevices(images, options.on_failure));
  return MakeCudaBackend(std::move(devices), options);
}

}  // namespace lossd
