// SPDX-License-Identifier: Apache-2.0

#include "server/engine/cuda_backend.h"

#include <algorithm>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/base/status_macros.h"
#include "server/kernels/cuda/batch_plan.h"
#include "server/kernels/cuda/driver.h"
#include "server/kernels/cuda/kernel_images.h"

namespace lossd {
namespace {

using cuda::BatchPlan;
using cuda::Device;

// The least that a buffer grows to, so that small batches do not make it grow
// many times.
constexpr int64_t kLeastBytes = int64_t{1} << 20;

// Memory of one kind that grows to what the largest batch has needed.
class GrowingMemory {
 public:
  enum class Kind { kDevice, kHost };
  GrowingMemory(Device* device, Kind kind) : device_(device), kind_(kind) {}
  GrowingMemory(const GrowingMemory&) = delete;
  GrowingMemory& operator=(const GrowingMemory&) = delete;
  ~GrowingMemory() { Release(); }

  // At least `bytes`, less than `limit`. What was there before is lost.
  absl::Status Reserve(int64_t bytes, int64_t limit) {
    if (bytes <= size_) return absl::OkStatus();
    Release();
    int64_t size = kLeastBytes;
    while (size < bytes) size *= 2;
    size = std::max(bytes, std::min(size, limit));
    auto memory = kind_ == Kind::kDevice ? device_->Allocate(size)
                                         : device_->AllocateHost(size);
    if (!memory.ok()) return memory.status();
    data_ = *memory;
    size_ = size;
    return absl::OkStatus();
  }
  uint8_t* data() const { return data_; }

 private:
  void Release() {
    if (data_ == nullptr) return;
    if (kind_ == Kind::kDevice) {
      device_->Free(data_);
    } else {
      device_->FreeHost(data_);
    }
    data_ = nullptr;
    size_ = 0;
  }

  Device* const device_;
  const Kind kind_;
  uint8_t* data_ = nullptr;
  int64_t size_ = 0;
};

// What one batch in flight has of a device: a stream and memory. Used by one
// thread at a time.
class Lane {
 public:
  explicit Lane(Device* device)
      : device_(device),
        memory_(device, GrowingMemory::Kind::kDevice),
        upload_(device, GrowingMemory::Kind::kHost),
        download_(device, GrowingMemory::Kind::kHost) {}
  ~Lane() {
    if (stream_ != nullptr) device_->DestroyStream(stream_);
  }

  // Computes a batch that needs at most `limit` bytes, and writes its results.
  absl::Status Run(const BatchPlan& plan, int64_t limit) {
    if (stream_ == nullptr) {
      LOSSD_ASSIGN_OR_RETURN(stream_, device_->CreateStream());
    }
    LOSSD_RETURN_IF_ERROR(memory_.Reserve(plan.device_bytes(), limit));
    LOSSD_RETURN_IF_ERROR(upload_.Reserve(plan.upload_bytes(), limit));
    LOSSD_RETURN_IF_ERROR(download_.Reserve(plan.download_bytes(), limit));
    uint8_t* const base = memory_.data();
    plan.Write(base, upload_.data());
    LOSSD_RETURN_IF_ERROR(device_->CopyToDevice(stream_, base, upload_.data(),
                                                plan.upload_bytes()));
    for (const cuda::Launch& launch : plan.Launches(base)) {
      LOSSD_RETURN_IF_ERROR(device_->Run(stream_, launch));
    }
    LOSSD_RETURN_IF_ERROR(device_->CopyToHost(stream_, download_.data(),
                                              base + plan.download_begin(),
                                              plan.download_bytes()));
    LOSSD_RETURN_IF_ERROR(device_->Synchronize(stream_));
    plan.Read(download_.data());
    return absl::OkStatus();
  }

 private:
  Device* const device_;
  Device::Stream stream_ = nullptr;
  GrowingMemory memory_, upload_, download_;
};

// A device, and the lanes of it that nobody uses.
struct Member {
  std::unique_ptr<Device> device;
  std::vector<std::unique_ptr<Lane>> lanes;
  std::vector<Lane*> idle;
  bool in_service = true;
};

class CudaBackend : public Backend {
 public:
  CudaBackend(std::vector<std::unique_ptr<Device>> devices,
              const CudaOptions& options)
      : options_(options),
        limit_(options.arena_bytes / options.batches_in_flight) {
    absl::MutexLock lock(&mutex_);
    for (std::unique_ptr<Device>& device : devices) {
      Member member;
      for (int i = 0; i < options.batches_in_flight; ++i) {
        member.lanes.push_back(std::make_unique<Lane>(device.get()));
        member.idle.push_back(member.lanes.back().get());
      }
      absl::StrAppend(&names_, names_.empty() ? "" : ",", device->info().name);
      targets_ = device->info().target;
      parallelism_ += device->info().multiprocessors;
      member.device = std::move(device);
      members_.push_back(std::move(member));
    }
  }

  DeviceClass device_class() const override { return DeviceClass::kCuda; }
  std::string name() const override { return "cuda"; }
  std::string device() const override { return names_; }
  std::string target() const override { return targets_; }
  int parallelism() const override { return parallelism_; }

  void Run(absl::Span<Job* const> jobs,
           absl::FunctionRef<void(size_t)> done) override {
    // The largest batches that fit, in order.
    size_t begin = 0;
    while (begin < jobs.size()) {
      size_t count = jobs.size() - begin;
      while (count > 1 && !Fits(jobs.subspan(begin, count))) count /= 2;
      RunBatch(jobs.subspan(begin, count));
      for (size_t i = begin; i < begin + count; ++i) done(i);
      begin += count;
    }
  }

 private:
  // A lane of a member, in use.
  struct Lease {
    Member* member = nullptr;
    Lane* lane = nullptr;
  };

  bool Fits(absl::Span<Job* const> jobs) const {
    return PlanOf(jobs, cuda::DeviceInfo()).device_bytes() <= limit_;
  }

  BatchPlan PlanOf(absl::Span<Job* const> jobs,
                   const cuda::DeviceInfo& info) const {
    cuda::PlanOptions options;
    options.multiprocessors = info.multiprocessors;
    options.max_cluster = info.max_cluster;
    options.max_scratch_bytes = limit_ / 4;
    options.warp_row = options_.warp_row;
    return BatchPlan(jobs, options);
  }

  void RunBatch(absl::Span<Job* const> jobs) {
    absl::Status status;
    for (int attempt = 0; attempt < 2; ++attempt) {
      const Lease lease = Acquire();
      if (lease.lane == nullptr) {
        status = absl::UnavailableError("no CUDA device is in service");
        break;
      }
      const cuda::DeviceInfo& info = lease.member->device->info();
      const BatchPlan plan = PlanOf(jobs, info);
      status = plan.device_bytes() > limit_
                   ? absl::ResourceExhaustedError(absl::StrCat(
                         "the evaluation needs ", plan.device_bytes(),
                         " bytes of device memory, and may have ", limit_))
                   : lease.lane->Run(plan, limit_);
      const bool failed = !status.ok() && !absl::IsResourceExhausted(status);
      Release(lease, failed);
      if (!failed) break;
      options_.on_failure(info.name, status);
      status = absl::UnavailableError(
          absl::StrCat(info.name, " failed: ", status.message()));
    }
    for (Job* job : jobs) job->failure = status;
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
    Lane* lane = best->idle.back();
    best->idle.pop_back();
    return {best, lane};
  }

  void Release(const Lease& lease, bool failed) {
    absl::MutexLock lock(&mutex_);
    lease.member->idle.push_back(lease.lane);
    if (failed) lease.member->in_service = false;
  }

  const CudaOptions options_;
  const int64_t limit_;  // of one batch
  std::string names_;
  std::string targets_;
  int parallelism_ = 0;
  absl::Mutex mutex_;
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
    return absl::FailedPreconditionError("lossd was built without CUDA");
  }
  LOSSD_ASSIGN_OR_RETURN(auto devices, cuda::OpenDevices(images));
  return MakeCudaBackend(std::move(devices), options);
}

}  // namespace lossd
