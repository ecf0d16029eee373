// SPDX-License-Identifier: Apache-2.0

#include "server/kernels/cuda/driver.h"

#include <dlfcn.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "server/base/status_macros.h"
#include "server/kernels/cuda/driver_functions.h"
#include "server/kernels/cuda/launch_shape.h"

namespace lossd::cuda {
namespace {

using driver::Functions;

// The kernel that runs in clusters, and the largest that it is written for.
constexpr char kClusterModule[] = "cross_entropy";
constexpr char kClusterKernel[] = "lossd_cross_entropy_class_team_float32";
constexpr unsigned kMostCluster = 8;

// libcuda.so.1 and its functions. It is never unloaded.
absl::StatusOr<Functions> LoadDriver() {
  void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("there is no CUDA driver: ", dlerror()));
  }
  Functions functions;
  std::string missing;
  const auto find = [&](const char* symbol, auto* function) {
    void* const address = dlsym(library, symbol);
    if (address == nullptr) absl::StrAppend(&missing, " ", symbol);
    *function =
        reinterpret_cast<std::remove_pointer_t<decltype(function)>>(address);
  };
#define LOSSD_DRIVER(name, symbol, parameters) find(symbol, &functions.name);
  LOSSD_DRIVER_FUNCTIONS
#undef LOSSD_DRIVER
  find("cuLaunchKernel", &functions.Launch);
  if (!missing.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the CUDA driver lacks", missing));
  }
  find("cuLaunchKernelEx", &functions.LaunchEx);
  find("cuOccupancyMaxPotentialClusterSize", &functions.ClusterSize);
  return functions;
}

// An error of the driver, as in "cuInit: CUDA_ERROR_NO_DEVICE".
absl::Status StatusOf(const Functions& functions, const char* call,
                      driver::Result result) {
  if (result == driver::kSuccess) return absl::OkStatus();
  const char* name = nullptr;
  functions.ErrorName(result, &name);
  const std::string message =
      absl::StrCat(call, ": ", name != nullptr ? name : "unknown error");
  if (result == driver::kOutOfMemory) {
    return absl::ResourceExhaustedError(message);
  }
  return absl::c_linear_search(driver::kRefusals, result)
             ? absl::InternalError(message)
             : absl::UnavailableError(message);
}

#define LOSSD_CALL_DRIVER(functions, name, ...) \
  StatusOf(functions, #name, (functions).name(__VA_ARGS__))

uint8_t* PointerOf(driver::Pointer address) {
  return reinterpret_cast<uint8_t*>(static_cast<uintptr_t>(address));
}
driver::Pointer AddressOf(const uint8_t* pointer) {
  return static_cast<driver::Pointer>(reinterpret_cast<uintptr_t>(pointer));
}

std::string NameOf(int index) { return absl::StrCat("cuda:", index); }

class DriverDevice : public Device {
 public:
  DriverDevice(const Functions& functions, absl::Span<const KernelImage> images)
      : functions_(functions), images_(images) {}
  ~DriverDevice() override {
    if (context_ == nullptr) return;
    {
      absl::MutexLock lock(&mutex_);
      functions_.SetCurrent(context_);
      for (const auto& [name, module] : modules_) {
        functions_.UnloadModule(module);
      }
    }
    functions_.ReleaseContext(ordinal_);
  }

  absl::Status Open(int index) {
    LOSSD_RETURN_IF_ERROR(
        LOSSD_CALL_DRIVER(functions_, GetDevice, &ordinal_, index));
    // A thread that waits for a batch leaves its core to others.
    LOSSD_RETURN_IF_ERROR(LOSSD_CALL_DRIVER(functions_, SetContextFlags,
                                            ordinal_, driver::kBlockingSync));
    LOSSD_RETURN_IF_ERROR(
        LOSSD_CALL_DRIVER(functions_, RetainContext, &context_, ordinal_));
    char model[256] = {};
    LOSSD_RETURN_IF_ERROR(LOSSD_CALL_DRIVER(functions_, DeviceName, model,
                                            sizeof(model), ordinal_));
    size_t bytes = 0;
    LOSSD_RETURN_IF_ERROR(
        LOSSD_CALL_DRIVER(functions_, DeviceMemory, &bytes, ordinal_));
    LOSSD_ASSIGN_OR_RETURN(const int major,
                           Attribute(driver::kCapabilityMajor));
    LOSSD_ASSIGN_OR_RETURN(const int minor,
                           Attribute(driver::kCapabilityMinor));
    LOSSD_ASSIGN_OR_RETURN(info_.multiprocessors,
                           Attribute(driver::kMultiprocessors));
    info_.name = NameOf(index);
    info_.model = model;
    info_.target = absl::StrCat("sm_", major, minor);
    info_.memory_bytes = static_cast<int64_t>(bytes);
    // That the images have code for this device, before anybody relies on it.
    Launch clustered;
    clustered.module = kClusterModule;
    clustered.kernel = kClusterKernel;
    LOSSD_RETURN_IF_ERROR(Enter());
    LOSSD_ASSIGN_OR_RETURN(const driver::Function function,
                           FindFunction(clustered));
    info_.max_cluster = MaxCluster(function);
    return absl::OkStatus();
  }

  const DeviceInfo& info() const override { return info_; }

  absl::StatusOr<uint8_t*> Allocate(int64_t bytes) override {
    LOSSD_RETURN_IF_ERROR(Enter());
    driver::Pointer address = 0;
    LOSSD_RETURN_IF_ERROR(LOSSD_CALL_DRIVER(functions_, Allocate, &address,
                                            static_cast<size_t>(bytes)));
    return PointerOf(address);
  }
  void Free(uint8_t* memory) override {
    if (Enter().ok()) functions_.Free(AddressOf(memory));
  }
  absl::StatusOr<uint8_t*> AllocateHost(int64_t bytes) override {
    LOSSD_RETURN_IF_ERROR(Enter());
    void* memory = nullptr;
    LOSSD_RETURN_IF_ERROR(LOSSD_CALL_DRIVER(functions_, AllocateHost, &memory,
                                            static_cast<size_t>(bytes),
                                            driver::kPortableHostMemory));
    return static_cast<uint8_t*>(memory);
  }
  void FreeHost(uint8_t* memory) override {
    if (Enter().ok()) functions_.FreeHost(memory);
  }

  absl::Status PinHost(uint8_t* memory, int64_t bytes) override {
    LOSSD_RETURN_IF_ERROR(Enter());
    return LOSSD_CALL_DRIVER(functions_, PinHost, memory,
                             static_cast<size_t>(bytes),
                             driver::kPortableHostMemory);
  }
  absl::Status UnpinHost(uint8_t* memory) override {
    LOSSD_RETURN_IF_ERROR(Enter());
    return LOSSD_CALL_DRIVER(functions_, UnpinHost, memory);
  }

  absl::StatusOr<Stream> CreateStream() override {
    LOSSD_RETURN_IF_ERROR(Enter());
    driver::Stream stream = nullptr;
    LOSSD_RETURN_IF_ERROR(LOSSD_CALL_DRIVER(functions_, CreateStream, &stream,
                                            driver::kNonBlockingStream));
    return stream;
  }
  void DestroyStream(Stream stream) override {
    if (Enter().ok()) functions_.DestroyStream(stream);
  }

  absl::StatusOr<Event> CreateEvent() override {
    LOSSD_RETURN_IF_ERROR(Enter());
    driver::Event event = nullptr;
    LOSSD_RETURN_IF_ERROR(
        LOSSD_CALL_DRIVER(functions_, CreateEvent, &event, 0));
    return event;
  }
  void DestroyEvent(Event event) override {
    if (Enter().ok()) functions_.DestroyEvent(event);
  }
  absl::Status Record(Stream stream, Event event) override {
    LOSSD_RETURN_IF_ERROR(Enter());
    return LOSSD_CALL_DRIVER(functions_, RecordEvent, event, stream);
  }
  absl::StatusOr<absl::Duration> Elapsed(Event from, Event to) override {
    LOSSD_RETURN_IF_ERROR(Enter());
    float milliseconds = 0;
    LOSSD_RETURN_IF_ERROR(
        LOSSD_CALL_DRIVER(functions_, ElapsedTime, &milliseconds, from, to));
    return absl::Milliseconds(static_cast<double>(milliseconds));
  }

  absl::Status CopyToDevice(Stream stream, uint8_t* to, const uint8_t* from,
                            int64_t bytes) override {
    LOSSD_RETURN_IF_ERROR(Enter());
    return LOSSD_CALL_DRIVER(functions_, CopyToDevice, AddressOf(to), from,
                             static_cast<size_t>(bytes), stream);
  }
  absl::Status CopyToHost(Stream stream, uint8_t* to, const uint8_t* from,
                          int64_t bytes) override {
    LOSSD_RETURN_IF_ERROR(Enter());
    return LOSSD_CALL_DRIVER(functions_, CopyToHost, to, AddressOf(from),
                             static_cast<size_t>(bytes), stream);
  }
  absl::Status Run(Stream stream, const Launch& launch) override {
    LOSSD_RETURN_IF_ERROR(Enter());
    LOSSD_ASSIGN_OR_RETURN(const driver::Function function,
                           FindFunction(launch));
    Batch batch = launch.batch;
    void* parameters[] = {&batch};
    const auto blocks = static_cast<unsigned>(launch.blocks);
    const auto threads = static_cast<unsigned>(launch.threads);
    if (launch.cluster == 1) {
      return LOSSD_CALL_DRIVER(functions_, Launch, function, blocks, 1, 1,
                               threads, 1, 1, 0, stream, parameters, nullptr);
    }
    driver::LaunchAttribute attribute = {};
    attribute.id = driver::kClusterDimension;
    attribute.value.cluster = {static_cast<unsigned>(launch.cluster), 1, 1};
    const driver::LaunchConfig config = {{blocks, 1, 1}, {threads, 1, 1}, 0,
                                         stream,         &attribute,      1};
    return LOSSD_CALL_DRIVER(functions_, LaunchEx, &config, function,
                             parameters, nullptr);
  }
  absl::Status Synchronize(Stream stream) override {
    LOSSD_RETURN_IF_ERROR(Enter());
    return LOSSD_CALL_DRIVER(functions_, Synchronize, stream);
  }

 private:
  // The context is this thread's for what follows.
  absl::Status Enter() const {
    return LOSSD_CALL_DRIVER(functions_, SetCurrent, context_);
  }

  absl::StatusOr<int> Attribute(int attribute) const {
    int value = 0;
    LOSSD_RETURN_IF_ERROR(LOSSD_CALL_DRIVER(functions_, DeviceAttribute, &value,
                                            attribute, ordinal_));
    return value;
  }

  // The most blocks of a cluster, a power of two: 1 where the device has none.
  // Small devices, and slices of devices, have room for fewer than others.
  int MaxCluster(driver::Function kernel) const {
    if (functions_.LaunchEx == nullptr || functions_.ClusterSize == nullptr ||
        Attribute(driver::kClusterLaunch).value_or(0) == 0) {
      return 1;
    }
    const driver::LaunchConfig config = {
        {kMostCluster, 1, 1}, {kClassBlock, 1, 1}, 0, nullptr, nullptr, 0};
    int blocks = 1;
    if (functions_.ClusterSize(&blocks, kernel, &config) != driver::kSuccess) {
      return 1;
    }
    int cluster = 1;
    while (2 * cluster <= std::min<int>(blocks, kMostCluster)) cluster *= 2;
    return cluster;
  }

  absl::StatusOr<driver::Function> FindFunction(const Launch& launch) {
    absl::MutexLock lock(&mutex_);
    const auto found = kernels_.find(launch.kernel);
    if (found != kernels_.end()) return found->second;
    driver::Module& module = modules_[launch.module];
    for (const KernelImage& image : images_) {
      if (module != nullptr || image.module != launch.module) continue;
      LOSSD_RETURN_IF_ERROR(
          LOSSD_CALL_DRIVER(functions_, LoadModule, &module, image.data));
    }
    driver::Function function = nullptr;
    LOSSD_RETURN_IF_ERROR(LOSSD_CALL_DRIVER(functions_, GetFunction, &function,
                                            module, launch.kernel.c_str()));
    kernels_[launch.kernel] = function;
    return function;
  }

  const Functions functions_;
  const absl::Span<const KernelImage> images_;
  driver::Ordinal ordinal_ = 0;
  driver::Context context_ = nullptr;
  DeviceInfo info_;
  absl::Mutex mutex_;
  std::map<std::string, driver::Module> modules_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, driver::Function> kernels_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<Device>>> OpenDevices(
    absl::Span<const KernelImage> images,
    absl::FunctionRef<void(const std::string&, const absl::Status&)>
        on_failure) {
  LOSSD_ASSIGN_OR_RETURN(const Functions functions, LoadDriver());
  int count = 0;
  absl::Status status = LOSSD_CALL_DRIVER(functions, Init, 0);
  if (status.ok()) {
    status = LOSSD_CALL_DRIVER(functions, DeviceCount, &count);
  }
  if (status.ok() && count == 0) {
    status = absl::FailedPreconditionError("the CUDA driver shows no device");
  }
  if (!status.ok()) return absl::FailedPreconditionError(status.message());
  std::vector<std::unique_ptr<Device>> devices;
  for (int i = 0; i < count; ++i) {
    auto device = std::make_unique<DriverDevice>(functions, images);
    status = device->Open(i);
    if (status.ok()) {
      devices.push_back(std::move(device));
    } else {
      on_failure(NameOf(i), status);
    }
  }
  // Of those that were left out, the last one's.
  if (devices.empty()) return absl::FailedPreconditionError(status.message());
  return devices;
}

}  // namespace lossd::cuda
