// SPDX-License-Identifier: Apache-2.0

#include "tests/unit/engine/fake_device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace lossd {
namespace {

class FakeDevice : public cuda::Device {
 public:
  FakeDevice(const std::string& name, std::shared_ptr<FakeDeviceState> state)
      : state_(std::move(state)) {
    info_.name = name;
    info_.model = "fake";
    info_.target = "sm_90";
    info_.multiprocessors = 2;
    info_.memory_bytes = int64_t{16} << 30;
  }

  const cuda::DeviceInfo& info() const override { return info_; }

  absl::StatusOr<uint8_t*> Allocate(int64_t bytes) override {
    absl::MutexLock lock(&state_->mutex);
    if (state_->device_bytes + bytes > state_->memory_bytes) {
      return absl::ResourceExhaustedError("Allocate: out of memory");
    }
    state_->device_bytes += bytes;
    state_->most_device_bytes =
        std::max(state_->most_device_bytes, state_->device_bytes);
    return Remember(bytes);
  }
  void Free(uint8_t* memory) override {
    absl::MutexLock lock(&state_->mutex);
    state_->device_bytes -= Forget(memory);
  }
  absl::StatusOr<uint8_t*> AllocateHost(int64_t bytes) override {
    absl::MutexLock lock(&state_->mutex);
    if (state_->failing == "AllocateHost") return Failure("AllocateHost");
    state_->host_bytes += bytes;
    return Remember(bytes);
  }
  void FreeHost(uint8_t* memory) override {
    absl::MutexLock lock(&state_->mutex);
    state_->host_bytes -= Forget(memory);
  }

  absl::Status PinHost(uint8_t* memory, int64_t) override {
    absl::MutexLock lock(&state_->mutex);
    if (state_->failing == "PinHost") return Failure("PinHost");
    state_->pinned.insert(memory);
    return absl::OkStatus();
  }
  absl::Status UnpinHost(uint8_t* memory) override {
    LOSSD_RETURN_IF_ERROR(Check("UnpinHost"));
    absl::MutexLock lock(&state_->mutex);
    return state_->pinned.erase(memory) > 0 ? absl::OkStatus()
                                            : Refusal("UnpinHost");
  }

  absl::StatusOr<Stream> CreateStream() override {
    absl::MutexLock lock(&state_->mutex);
    if (state_->failing == "CreateStream") return Failure("CreateStream");
    ++state_->streams;
    return this;
  }
  void DestroyStream(Stream) override {
    absl::MutexLock lock(&state_->mutex);
    --state_->streams;
  }

  // Records are a millisecond apart.
  absl::StatusOr<Event> CreateEvent() override {
    LOSSD_RETURN_IF_ERROR(Check("CreateEvent"));
    absl::MutexLock lock(&state_->mutex);
    ++state_->events;
    return new int(0);
  }
  void DestroyEvent(Event event) override {
    absl::MutexLock lock(&state_->mutex);
    --state_->events;
    delete static_cast<int*>(event);
  }
  absl::Status Record(Stream, Event event) override {
    absl::MutexLock lock(&state_->mutex);
    *static_cast<int*>(event) = ++state_->records;
    return absl::OkStatus();
  }
  absl::StatusOr<absl::Duration> Elapsed(Event from, Event to) override {
    absl::MutexLock lock(&state_->mutex);
    return absl::Milliseconds(*static_cast<int*>(to) -
                              *static_cast<int*>(from));
  }

  absl::Status CopyToDevice(Stream, uint8_t* to, const uint8_t* from,
                            int64_t bytes) override {
    {
      absl::MutexLock lock(&state_->mutex);
      state_->copied_from.push_back(from);
    }
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return Check("CopyToDevice");
  }
  absl::Status CopyToHost(Stream, uint8_t* to, const uint8_t*,
                          int64_t bytes) override {
    std::memset(to, 0, static_cast<size_t>(bytes));
    return Check("CopyToHost");
  }
  absl::Status Run(Stream, const cuda::Launch&) override {
    {
      absl::MutexLock lock(&state_->mutex);
      ++state_->launches;
    }
    return Check("Run");
  }
  absl::Status Synchronize(Stream) override {
    absl::MutexLock lock(&state_->mutex);
    ++state_->synchronized;
    state_->most_in_flight =
        std::max(state_->most_in_flight, ++state_->in_flight);
    const auto go_on = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return !state_->held;
    };
    state_->mutex.Await(absl::Condition(&go_on));
    --state_->in_flight;
    return state_->failing == "Synchronize" ? Failure("Synchronize")
                                            : absl::OkStatus();
  }

 private:
  static absl::Status Failure(const char* call) {
    return absl::UnavailableError(absl::StrCat(call, ": CUDA_ERROR_UNKNOWN"));
  }
  static absl::Status Refusal(const char* call) {
    return absl::InternalError(absl::StrCat(call, ": CUDA_ERROR_INVALID"));
  }
  absl::Status Check(const char* call) {
    absl::MutexLock lock(&state_->mutex);
    if (state_->refusing == call) return Refusal(call);
    return state_->failing == call ? Failure(call) : absl::OkStatus();
  }

  uint8_t* Remember(int64_t bytes) {
    auto* memory = static_cast<uint8_t*>(
        std::aligned_alloc(256, static_cast<size_t>(bytes + 255) / 256 * 256));
    sizes_[memory] = bytes;
    return memory;
  }
  int64_t Forget(uint8_t* memory) {
    const int64_t bytes = sizes_.at(memory);
    sizes_.erase(memory);
    std::free(memory);
    return bytes;
  }

  cuda::DeviceInfo info_;
  const std::shared_ptr<FakeDeviceState> state_;
  std::map<uint8_t*, int64_t> sizes_;  // under state_->mutex
};

}  // namespace

void FakeDeviceState::Fail(const std::string& call) {
  absl::MutexLock lock(&mutex);
  failing = call;
}

void FakeDeviceState::Hold(bool hold) {
  absl::MutexLock lock(&mutex);
  held = hold;
}

void FakeDeviceState::AwaitInFlight(int count) {
  absl::MutexLock lock(&mutex);
  const auto reached = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return in_flight == count;
  };
  mutex.Await(absl::Condition(&reached));
}

std::unique_ptr<cuda::Device> MakeFakeDevice(
    const std::string& name, std::shared_ptr<FakeDeviceState> state) {
  return std::make_unique<FakeDevice>(name, std::move(state));
}

}  // namespace lossd
