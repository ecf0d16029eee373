// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_ENGINE_CUDA_LANE_H_
#define LOSSD_SERVER_ENGINE_CUDA_LANE_H_

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/kernels/cuda/batch_plan.h"
#include "server/kernels/cuda/device.h"

namespace lossd {

// What one batch in flight has of a device: a stream, events, and memory that
// grows to what the largest batch has needed. Not thread-safe.
class CudaLane {
 public:
  // The device outlives the lane. Nothing is taken of it before the first run.
  explicit CudaLane(cuda::Device* device);
  ~CudaLane();
  CudaLane(const CudaLane&) = delete;
  CudaLane& operator=(const CudaLane&) = delete;

  // Computes a batch that needs at most `limit` bytes of the device, and writes
  // its results: how long the device copied. After an error nothing of the
  // batch is in use any more.
  absl::StatusOr<absl::Duration> Run(const cuda::BatchPlan& plan,
                                     int64_t limit);

 private:
  // Memory of the device, or of the host for the device to copy.
  class Memory {
   public:
    enum class Kind { kDevice, kHost };
    Memory(cuda::Device* device, Kind kind) : device_(device), kind_(kind) {}
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { Release(); }

    // At least `bytes`, less than `limit` if that is more. What was there
    // before is lost.
    absl::Status Reserve(int64_t bytes, int64_t limit);
    uint8_t* data() const { return data_; }

   private:
    void Release();

    cuda::Device* const device_;
    const Kind kind_;
    uint8_t* data_ = nullptr;
    int64_t size_ = 0;
  };

  // The points in a batch between which it is measured.
  enum Point { kBegin, kUploaded, kComputed, kEnd, kPoints };

  absl::Status Open();
  absl::Status Enqueue(const cuda::BatchPlan& plan);
  absl::StatusOr<absl::Duration> CopyingTime() const;

  cuda::Device* const device_;
  cuda::Device::Stream stream_ = nullptr;
  std::array<cuda::Device::Event, kPoints> events_ = {};
  Memory memory_, upload_, download_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_CUDA_LANE_H_
