// SPDX-License-Identifier: Apache-2.0
//
// The few things that the CUDA backend asks of a device, so that tests can be
// one.

#ifndef LOSSD_SERVER_KERNELS_CUDA_DEVICE_H_
#define LOSSD_SERVER_KERNELS_CUDA_DEVICE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/kernels/cuda/batch.h"

namespace lossd::cuda {

struct DeviceInfo {
  std::string name;    // such as "cuda:0"
  std::string model;   // such as "NVIDIA H100 80GB HBM3"
  std::string target;  // such as "sm_90"
  int multiprocessors = 1;
  int64_t memory_bytes = 0;
  // The most blocks of a cluster; 1 where there are no clusters.
  int max_cluster = 1;
};

// A kernel over a batch, whose pointers are the device's.
struct Launch {
  std::string module;  // the loss's name
  std::string kernel;  // its name in the module
  Batch batch;
  int64_t blocks = 1;
  int threads = 1;
  int cluster = 1;
};

// A GPU with lossd's kernels. Thread-safe. Its errors are
//
//   - UNAVAILABLE where nothing works any more (what CUDA calls sticky); what
//   is
//     allocated must still be freed;
//   - RESOURCE_EXHAUSTED where there is not enough memory;
//   - INTERNAL where this call is refused and others are not.
class Device {
 public:
  using Stream = void*;
  using Event = void*;

  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;

  // Memory of the device, aligned to 256 bytes. RESOURCE_EXHAUSTED if there is
  // not enough.
  virtual absl::StatusOr<uint8_t*> Allocate(int64_t bytes) = 0;
  virtual void Free(uint8_t* memory) = 0;
  // Memory of the host that the device copies from and to by itself, aligned
  // likewise.
  virtual absl::StatusOr<uint8_t*> AllocateHost(int64_t bytes) = 0;
  virtual void FreeHost(uint8_t* memory) = 0;
  // Makes memory of the host such, until it is unpinned, for every device.
  virtual absl::Status PinHost(uint8_t* memory, int64_t bytes) = 0;
  virtual absl::Status UnpinHost(uint8_t* memory) = 0;

  // What is put into one stream happens in that order.
  virtual absl::StatusOr<Stream> CreateStream() = 0;
  virtual void DestroyStream(Stream stream) = 0;

  // A point in a stream, once it is recorded there.
  virtual absl::StatusOr<Event> CreateEvent() = 0;
  virtual void DestroyEvent(Event event) = 0;
  virtual absl::Status Record(Stream stream, Event event) = 0;
  // The device's time between two points, both of which were reached.
  virtual absl::StatusOr<absl::Duration> Elapsed(Event from, Event to) = 0;

  // These return at once; the memory must stay until Synchronize. Memory of the
  // host that is not pinned is copied more slowly.
  virtual absl::Status CopyToDevice(Stream stream, uint8_t* to,
                                    const uint8_t* from, int64_t bytes) = 0;
  virtual absl::Status CopyToHost(Stream stream, uint8_t* to,
                                  const uint8_t* from, int64_t bytes) = 0;
  virtual absl::Status Run(Stream stream, const Launch& launch) = 0;
  // Waits for all that is in the stream; the first error of any of it.
  virtual absl::Status Synchronize(Stream stream) = 0;
};

}  // namespace lossd::cuda

#endif  // LOSSD_SERVER_KERNELS_CUDA_DEVICE_H_
