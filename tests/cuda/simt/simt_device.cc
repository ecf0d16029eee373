// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/simt/simt_device.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/cuda/simt/kernels.h"
#include "tests/cuda/simt/launch_memory.h"

namespace lossd::simt {
namespace {

// Fills fresh memory, so that nothing passes for having been written.
constexpr int kPoison = 0xff;

class SimtDevice : public cuda::Device {
 public:
  SimtDevice(const cuda::DeviceInfo& info, Machine* machine)
      : info_(info), machine_(machine) {}

  const cuda::DeviceInfo& info() const override { return info_; }

  absl::StatusOr<uint8_t*> Allocate(int64_t bytes) override {
    const size_t rounded = (static_cast<size_t>(bytes) + 255) / 256 * 256;
    auto* memory = static_cast<uint8_t*>(std::aligned_alloc(256, rounded));
    std::memset(memory, kPoison, rounded);
    memory_[memory] = static_cast<int64_t>(rounded);
    return memory;
  }
  void Free(uint8_t* memory) override {
    memory_.erase(memory);
    std::free(memory);
  }
  // No kernel may touch memory of the host, either.
  absl::StatusOr<uint8_t*> AllocateHost(int64_t bytes) override {
    return Allocate(bytes);
  }
  void FreeHost(uint8_t* memory) override { Free(memory); }

  absl::Status PinHost(uint8_t*, int64_t) override { return absl::OkStatus(); }
  absl::Status UnpinHost(uint8_t*) override { return absl::OkStatus(); }

  absl::StatusOr<Stream> CreateStream() override { return this; }
  void DestroyStream(Stream) override {}
  absl::StatusOr<Event> CreateEvent() override { return this; }
  void DestroyEvent(Event) override {}
  absl::Status Record(Stream, Event) override { return absl::OkStatus(); }
  absl::StatusOr<absl::Duration> Elapsed(Event, Event) override {
    return absl::ZeroDuration();
  }

  absl::Status CopyToDevice(Stream, uint8_t* to, const uint8_t* from,
                            int64_t bytes) override {
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return absl::OkStatus();
  }
  absl::Status CopyToHost(Stream, uint8_t* to, const uint8_t* from,
                          int64_t bytes) override {
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return absl::OkStatus();
  }
  absl::Status Run(Stream, const cuda::Launch& launch) override {
    const KernelFunction kernel = FindKernel(launch.kernel);
    if (kernel == nullptr) {
      return absl::NotFoundError(
          absl::StrCat("there is no kernel ", launch.kernel));
    }
    Note(launch);
    const absl::Status claims = LaunchMemory::Check(memory_, launch);
    if (!claims.ok()) return claims;
    const LaunchMemory owned(memory_, launch);
    const Grid grid = {launch.blocks, launch.threads, launch.cluster};
    return machine_->Run(grid, [&] { kernel(launch.batch); });
  }
  absl::Status Synchronize(Stream) override { return absl::OkStatus(); }

 private:
  // Adds a line for each job, its loss and dtype, to the file that
  // LOSSD_SIMT_JOBS names.
  static void Note(const cuda::Launch& launch) {
    const char* path = std::getenv("LOSSD_SIMT_JOBS");
    if (path == nullptr) return;
    std::ofstream file(path, std::ios::app);
    for (int64_t i = 0; i < launch.batch.job_count; ++i) {
      file << launch.module << " "
           << DtypeName(launch.batch.jobs[i].tensors[0].dtype) << "\n";
    }
  }

  const cuda::DeviceInfo info_;
  Machine* const machine_;
  std::map<uint8_t*, int64_t> memory_;  // sizes
};

}  // namespace

std::unique_ptr<cuda::Device> MakeSimtDevice(const cuda::DeviceInfo& info,
                                             Machine* machine) {
  return std::make_unique<SimtDevice>(info, machine);
}

}  // namespace lossd::simt
