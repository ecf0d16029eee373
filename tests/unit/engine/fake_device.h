// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_UNIT_ENGINE_FAKE_DEVICE_H_
#define LOSSD_TESTS_UNIT_ENGINE_FAKE_DEVICE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/kernels/cuda/device.h"

namespace lossd {

// What a test sees of a fake device, and tells it to do. Thread-safe.
struct FakeDeviceState {
  // The call of that name fails from now on; empty: none does.
  void Fail(const std::string& call);
  // Synchronize waits from now on, or goes on.
  void Hold(bool hold);
  // Waits until that many threads wait for the device.
  void AwaitInFlight(int count);

  absl::Mutex mutex;
  int64_t device_bytes ABSL_GUARDED_BY(mutex) = 0;  // allocated now
  int64_t most_device_bytes ABSL_GUARDED_BY(mutex) = 0;
  int64_t host_bytes ABSL_GUARDED_BY(mutex) = 0;
  int streams ABSL_GUARDED_BY(mutex) = 0;
  int events ABSL_GUARDED_BY(mutex) = 0;
  int records ABSL_GUARDED_BY(mutex) = 0;
  std::set<uint8_t*> pinned ABSL_GUARDED_BY(mutex);
  int launches ABSL_GUARDED_BY(mutex) = 0;
  int synchronized ABSL_GUARDED_BY(mutex) = 0;  // calls of Synchronize
  std::vector<const uint8_t*> copied_from ABSL_GUARDED_BY(mutex);
  int in_flight ABSL_GUARDED_BY(mutex) = 0;  // threads that synchronize
  int most_in_flight ABSL_GUARDED_BY(mutex) = 0;
  // Memory that there is.
  int64_t memory_bytes ABSL_GUARDED_BY(mutex) = int64_t{1} << 30;
  // The error of each call of that name from now on: "Run", "Synchronize",
  // "CopyToDevice", "CopyToHost", "CreateStream", "CreateEvent",
  // "AllocateHost", "PinHost" or "UnpinHost".
  std::string failing ABSL_GUARDED_BY(mutex);
  // The call of that name is refused, and the device goes on.
  std::string refusing ABSL_GUARDED_BY(mutex);
  // Synchronize waits until it is false.
  bool held ABSL_GUARDED_BY(mutex) = false;
};

// A device with the host's memory that computes nothing: every unit sum, output
// and finding is 0.
std::unique_ptr<cuda::Device> MakeFakeDevice(
    const std::string& name, std::shared_ptr<FakeDeviceState> state);

}  // namespace lossd

#endif  // LOSSD_TESTS_UNIT_ENGINE_FAKE_DEVICE_H_
