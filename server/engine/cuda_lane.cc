// SPDX-License-Identifier: Apache-2.0

#include "server/engine/cuda_lane.h"

#include <algorithm>

#include "server/base/status_macros.h"

namespace lossd {
namespace {

// The least that memory grows to, so that small batches do not make it grow
// many times.
constexpr int64_t kLeastBytes = int64_t{1} << 20;

}  // namespace

absl::Status CudaLane::Memory::Reserve(int64_t bytes, int64_t limit) {
  if (bytes <= size_) return absl::OkStatus();
  Release();
  int64_t size = kLeastBytes;
  while (size < bytes) size *= 2;
  size = std::max(bytes, std::min(size, limit));
  LOSSD_ASSIGN_OR_RETURN(data_, kind_ == Kind::kDevice
                                    ? device_->Allocate(size)
                                    : device_->AllocateHost(size));
  size_ = size;
  return absl::OkStatus();
}

void CudaLane::Memory::Release() {
  if (data_ == nullptr) return;
  if (kind_ == Kind::kDevice) {
    device_->Free(data_);
  } else {
    device_->FreeHost(data_);
  }
  data_ = nullptr;
  size_ = 0;
}

CudaLane::CudaLane(cuda::Device* device)
    : device_(device),
      memory_(device, Memory::Kind::kDevice),
      upload_(device, Memory::Kind::kHost),
      download_(device, Memory::Kind::kHost) {}

CudaLane::~CudaLane() {
  for (cuda::Device::Event event : events_) {
    if (event != nullptr) device_->DestroyEvent(event);
  }
  if (stream_ != nullptr) device_->DestroyStream(stream_);
}

absl::StatusOr<absl::Duration> CudaLane::Run(const cuda::BatchPlan& plan,
                                             int64_t limit) {
  if (plan.empty()) return absl::ZeroDuration();
  LOSSD_RETURN_IF_ERROR(Open());
  LOSSD_RETURN_IF_ERROR(memory_.Reserve(plan.device_bytes(), limit));
  LOSSD_RETURN_IF_ERROR(upload_.Reserve(plan.upload_bytes(), limit));
  LOSSD_RETURN_IF_ERROR(download_.Reserve(plan.download_bytes(), limit));
  plan.Write(memory_.data(), upload_.data());
  const absl::Status enqueued = Enqueue(plan);
  // Even of a batch that failed half way: the device may still be copying.
  const absl::Status done = device_->Synchronize(stream_);
  LOSSD_RETURN_IF_ERROR(enqueued);
  LOSSD_RETURN_IF_ERROR(done);
  // Last: what is read once must not be computed again elsewhere.
  LOSSD_ASSIGN_OR_RETURN(const absl::Duration copying, CopyingTime());
  plan.Read(download_.data());
  return copying;
}

absl::Status CudaLane::Open() {
  if (stream_ == nullptr) {
    LOSSD_ASSIGN_OR_RETURN(stream_, device_->CreateStream());
  }
  for (cuda::Device::Event& event : events_) {
    if (event != nullptr) continue;
    LOSSD_ASSIGN_OR_RETURN(event, device_->CreateEvent());
  }
  return absl::OkStatus();
}

absl::Status CudaLane::Enqueue(const cuda::BatchPlan& plan) {
  uint8_t* const base = memory_.data();
  LOSSD_RETURN_IF_ERROR(device_->Record(stream_, events_[kBegin]));
  for (const cuda::HostCopy& copy : plan.Uploads(base, upload_.data())) {
    LOSSD_RETURN_IF_ERROR(
        device_->CopyToDevice(stream_, copy.device, copy.host, copy.bytes));
  }
  LOSSD_RETURN_IF_ERROR(device_->Record(stream_, events_[kUploaded]));
  for (const cuda::Launch& launch : plan.Launches(base)) {
    LOSSD_RETURN_IF_ERROR(device_->Run(stream_, launch));
  }
  LOSSD_RETURN_IF_ERROR(device_->Record(stream_, events_[kComputed]));
  for (const cuda::HostCopy& copy : plan.Downloads(base, download_.data())) {
    LOSSD_RETURN_IF_ERROR(
        device_->CopyToHost(stream_, copy.host, copy.device, copy.bytes));
  }
  return device_->Record(stream_, events_[kEnd]);
}

absl::StatusOr<absl::Duration> CudaLane::CopyingTime() const {
  LOSSD_ASSIGN_OR_RETURN(const absl::Duration up,
                         device_->Elapsed(events_[kBegin], events_[kUploaded]));
  LOSSD_ASSIGN_OR_RETURN(const absl::Duration down,
                         device_->Elapsed(events_[kComputed], events_[kEnd]));
  return up + down;
}

}  // namespace lossd
