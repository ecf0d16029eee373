// SPDX-License-Identifier: Apache-2.0

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/kernels/cuda/driver_functions.h"
#include "tests/cuda/fake_driver/fake_driver.h"
#include "tests/cuda/simt/kernels.h"
#include "tests/cuda/simt/machine.h"

// The functions below have the library's names; their meaning is that of
// NVIDIA's "CUDA Driver API".
// NOLINTBEGIN(readability-identifier-naming)

namespace lossd {
namespace {

using cuda::driver::LaunchConfig;
using cuda::driver::Result;

constexpr Result kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2,
                 kNotInitialized = 3, kInvalidDevice = 101,
                 kInvalidContext = 201, kAlreadyRegistered = 712,
                 kNotRegistered = 713, kInvalidHandle = 400, kNotFound = 500,
                 kNotReady = 600, kLaunchFailed = 719,
                 kInvalidClusterSize = 912;

struct Event {
  int64_t at = -1;  // -1: not reached
};
struct Stream {
  std::deque<std::function<Result()>> work;
};
struct Module {};

// A device and its primary context.
struct Context {
  int ordinal = 0;
  int retained = 0;
  Result failure = kSuccess;  // every call's, from then on
  int64_t used_bytes = 0;
  std::map<uint64_t, int64_t> memory;  // addresses and sizes
  std::set<void*> host_memory;
  std::map<void*, size_t> pinned;
  std::set<Stream*> streams;
  std::set<Event*> events;
  std::set<Module*> modules;

  // What becomes of everything when nobody retains the context any more.
  void Clear() {
    for (const auto& [address, size] : memory) {
      std::free(reinterpret_cast<void*>(address));
    }
    memory.clear();
    used_bytes = 0;
    for (void* memory : std::exchange(host_memory, {})) std::free(memory);
    pinned.clear();
    for (Stream* stream : std::exchange(streams, {})) delete stream;
    for (Event* event : std::exchange(events, {})) delete event;
    for (Module* module : std::exchange(modules, {})) delete module;
    failure = kSuccess;
  }

  // Whether the bytes are in one allocation.
  bool Holds(uint64_t address, size_t bytes) const {
    auto next = memory.upper_bound(address);
    if (next == memory.begin()) return false;
    --next;
    return address + bytes <= next->first + static_cast<uint64_t>(next->second);
  }
};

struct Driver {
  std::recursive_mutex mutex;
  bool initialized = false;
  int64_t memory_bytes = int64_t{1} << 30;  // of a device
  int max_cluster = 16;
  std::vector<std::unique_ptr<Context>> contexts;
  std::map<std::string, std::pair<Result, int>> failing;
  int64_t clock = 0;
  int64_t cluster_launches = 0;
  simt::Machine machine{1};
};

Driver& TheDriver() {
  static auto* const driver = new Driver;
  return *driver;
}

thread_local Context* current = nullptr;

// A call of the function `symbol`: with the driver's lock, and the error that
// it has before it does anything.
class Call {
 public:
  explicit Call(const char* symbol, bool needs_context = true)
      : driver_(TheDriver()), lock_(driver_.mutex) {
    if (needs_context && current == nullptr) {
      result_ = kInvalidContext;
    } else if (needs_context && current->failure != kSuccess) {
      result_ = current->failure;
    }
    const auto failing = driver_.failing.find(symbol);
    if (failing == driver_.failing.end()) return;
    if (failing->second.second-- > 0) return;
    result_ = failing->second.first;
    driver_.failing.erase(failing);
    const bool sticky = result_ >= 700 && result_ < 800;
    if (needs_context && current != nullptr && sticky) {
      current->failure = result_;
    }
  }
  Result result() const { return result_; }
  Driver* operator->() const { return &driver_; }

 private:
  Driver& driver_;
  const std::lock_guard<std::recursive_mutex> lock_;
  Result result_ = kSuccess;
};

#define LOSSD_BEGIN(...)                                \
  const Call call(__func__ __VA_OPT__(, ) __VA_ARGS__); \
  if (call.result() != kSuccess) return call.result()

Result Enqueue(void* stream, std::function<Result()> work) {
  auto* const queue = static_cast<Stream*>(stream);
  if (current->streams.count(queue) == 0) return kInvalidHandle;
  queue->work.push_back(std::move(work));
  return kSuccess;
}

Result EnqueueKernel(const Call& call, void* function, simt::Grid grid,
                     void** parameters, void* stream) {
  const auto kernel = reinterpret_cast<simt::KernelFunction>(function);
  const auto batch = *static_cast<const cuda::Batch*>(parameters[0]);
  Driver* const driver = call.operator->();
  if (grid.cluster > 1) ++driver->cluster_launches;
  return Enqueue(stream, [driver, kernel, batch, grid] {
    return driver->machine.Run(grid, [&] { kernel(batch); }).ok()
               ? kSuccess
               : kLaunchFailed;
  });
}

Context* ContextOf(const Call& call, int device) {
  const auto index = static_cast<size_t>(device);
  return index < call->contexts.size() ? call->contexts[index].get() : nullptr;
}

}  // namespace
}  // namespace lossd

using namespace lossd;  // NOLINT: all below is of the library

extern "C" {

void LossdFakeDriverReset(int devices, int64_t memory_bytes) {
  Driver& driver = TheDriver();
  const std::lock_guard lock(driver.mutex);
  current = nullptr;
  driver.initialized = false;
  driver.memory_bytes = memory_bytes;
  driver.max_cluster = 16;
  for (const auto& context : driver.contexts) context->Clear();
  driver.contexts.clear();
  driver.failing.clear();
  driver.cluster_launches = 0;
  for (int i = 0; i < devices; ++i) {
    driver.contexts.push_back(std::make_unique<Context>());
    driver.contexts.back()->ordinal = i;
  }
}

void LossdFakeDriverFail(const char* symbol, int result, int skip) {
  Driver& driver = TheDriver();
  const std::lock_guard lock(driver.mutex);
  driver.failing[symbol] = {result, skip};
}

void LossdFakeDriverLimitClusters(int blocks) {
  Driver& driver = TheDriver();
  const std::lock_guard lock(driver.mutex);
  driver.max_cluster = blocks;
}

bool LossdFakeDriverFailsYet() {
  Driver& driver = TheDriver();
  const std::lock_guard lock(driver.mutex);
  return !driver.failing.empty();
}

int64_t LossdFakeDriverObjects() {
  Driver& driver = TheDriver();
  const std::lock_guard lock(driver.mutex);
  size_t count = 0;
  for (const auto& context : driver.contexts) {
    count += context->memory.size() + context->host_memory.size() +
             context->pinned.size() + context->streams.size() +
             context->events.size() + context->modules.size() +
             static_cast<size_t>(context->retained);
  }
  return static_cast<int64_t>(count);
}

int64_t LossdFakeDriverClusterLaunches() {
  Driver& driver = TheDriver();
  const std::lock_guard lock(driver.mutex);
  return driver.cluster_launches;
}

Result cuInit(unsigned flags) {
  LOSSD_BEGIN(false);
  if (flags != 0) return kInvalidValue;
  call->initialized = true;
  return kSuccess;
}
Result cuDeviceGetCount(int* count) {
  LOSSD_BEGIN(false);
  if (!call->initialized) return kNotInitialized;
  *count = static_cast<int>(call->contexts.size());
  return kSuccess;
}
Result cuDeviceGet(int* device, int index) {
  LOSSD_BEGIN(false);
  if (ContextOf(call, index) == nullptr) return kInvalidDevice;
  *device = index;
  return kSuccess;
}
Result cuDeviceGetName(char* name, int bytes, int) {
  LOSSD_BEGIN(false);
  std::strncpy(name, "Fibers", static_cast<size_t>(bytes));
  return kSuccess;
}
Result cuDeviceGetAttribute(int* value, int attribute, int) {
  LOSSD_BEGIN(false);
  switch (attribute) {
    case cuda::driver::kMultiprocessors:
      *value = 2;
      return kSuccess;
    case cuda::driver::kClusterLaunch:
      *value = 1;
      return kSuccess;
    case cuda::driver::kCapabilityMajor:
      *value = 9;
      return kSuccess;
    case cuda::driver::kCapabilityMinor:
      *value = 0;
      return kSuccess;
    default:
      return kInvalidValue;
  }
}
Result cuDeviceTotalMem_v2(size_t* bytes, int) {
  LOSSD_BEGIN(false);
  *bytes = static_cast<size_t>(call->memory_bytes);
  return kSuccess;
}
Result cuDevicePrimaryCtxSetFlags_v2(int, unsigned) {
  LOSSD_BEGIN(false);
  return kSuccess;
}
Result cuDevicePrimaryCtxRetain(void** context, int device) {
  LOSSD_BEGIN(false);
  Context* const found = ContextOf(call, device);
  if (found == nullptr) return kInvalidDevice;
  ++found->retained;
  *context = found;
  return kSuccess;
}
Result cuDevicePrimaryCtxRelease_v2(int device) {
  LOSSD_BEGIN(false);
  Context* const found = ContextOf(call, device);
  if (found == nullptr || found->retained == 0) return kInvalidContext;
  if (--found->retained == 0) found->Clear();
  return kSuccess;
}
Result cuCtxSetCurrent(void* context) {
  LOSSD_BEGIN(false);
  current = static_cast<Context*>(context);
  return kSuccess;
}

Result cuModuleLoadData(void** module, const void* image) {
  LOSSD_BEGIN();
  if (image == nullptr) return kInvalidValue;
  auto* const made = new Module;
  current->modules.insert(made);
  *module = made;
  return kSuccess;
}
Result cuModuleUnload(void* module) {
  LOSSD_BEGIN();
  auto* const gone = static_cast<Module*>(module);
  if (current->modules.erase(gone) == 0) return kInvalidHandle;
  delete gone;
  return kSuccess;
}
Result cuModuleGetFunction(void** function, void* module, const char* name) {
  LOSSD_BEGIN();
  if (current->modules.count(static_cast<Module*>(module)) == 0) {
    return kInvalidHandle;
  }
  const simt::KernelFunction kernel = simt::FindKernel(name);
  if (kernel == nullptr) return kNotFound;
  *function = reinterpret_cast<void*>(kernel);
  return kSuccess;
}

Result cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  LOSSD_BEGIN();
  const auto size = static_cast<int64_t>(bytes);
  if (size == 0) return kInvalidValue;
  if (current->used_bytes + size > call->memory_bytes) return kOutOfMemory;
  void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(memory, 0xff, bytes);
  *address = reinterpret_cast<uint64_t>(memory);
  current->memory[*address] = size;
  current->used_bytes += size;
  return kSuccess;
}
Result cuMemFree_v2(uint64_t address) {
  LOSSD_BEGIN();
  const auto found = current->memory.find(address);
  if (found == current->memory.end()) return kInvalidValue;
  current->used_bytes -= found->second;
  current->memory.erase(found);
  std::free(reinterpret_cast<void*>(address));
  return kSuccess;
}
Result cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
  LOSSD_BEGIN();
  *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  std::memset(*memory, 0xff, bytes);
  current->host_memory.insert(*memory);
  return kSuccess;
}
Result cuMemFreeHost(void* memory) {
  LOSSD_BEGIN();
  if (current->host_memory.erase(memory) == 0) return kInvalidValue;
  std::free(memory);
  return kSuccess;
}
Result cuMemHostRegister_v2(void* memory, size_t bytes, unsigned) {
  LOSSD_BEGIN();
  if (!current->pinned.emplace(memory, bytes).second) return kAlreadyRegistered;
  return kSuccess;
}
Result cuMemHostUnregister(void* memory) {
  LOSSD_BEGIN();
  return current->pinned.erase(memory) == 0 ? kNotRegistered : kSuccess;
}

Result cuStreamCreate(void** stream, unsigned) {
  LOSSD_BEGIN();
  auto* const made = new Stream;
  current->streams.insert(made);
  *stream = made;
  return kSuccess;
}
Result cuStreamDestroy_v2(void* stream) {
  LOSSD_BEGIN();
  auto* const gone = static_cast<Stream*>(stream);
  if (current->streams.erase(gone) == 0) return kInvalidHandle;
  delete gone;
  return kSuccess;
}
Result cuStreamSynchronize(void* stream) {
  LOSSD_BEGIN();
  auto* const queue = static_cast<Stream*>(stream);
  if (current->streams.count(queue) == 0) return kInvalidHandle;
  while (!queue->work.empty()) {
    const Result result = queue->work.front()();
    queue->work.pop_front();
    if (result != kSuccess) return current->failure = result;
  }
  return kSuccess;
}
Result cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes,
                            void* stream) {
  LOSSD_BEGIN();
  if (!current->Holds(to, bytes)) return kInvalidValue;
  return Enqueue(stream, [=] {
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    return kSuccess;
  });
}
Result cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes,
                            void* stream) {
  LOSSD_BEGIN();
  if (!current->Holds(from, bytes)) return kInvalidValue;
  return Enqueue(stream, [=] {
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return kSuccess;
  });
}

Result cuEventCreate(void** event, unsigned) {
  LOSSD_BEGIN();
  auto* const made = new Event;
  current->events.insert(made);
  *event = made;
  return kSuccess;
}
Result cuEventDestroy_v2(void* event) {
  LOSSD_BEGIN();
  auto* const gone = static_cast<Event*>(event);
  if (current->events.erase(gone) == 0) return kInvalidHandle;
  delete gone;
  return kSuccess;
}
Result cuEventRecord(void* event, void* stream) {
  LOSSD_BEGIN();
  auto* const point = static_cast<Event*>(event);
  if (current->events.count(point) == 0) return kInvalidHandle;
  point->at = -1;
  Driver* const driver = call.operator->();
  return Enqueue(stream, [=] {
    point->at = ++driver->clock;
    return kSuccess;
  });
}
Result cuEventElapsedTime(float* milliseconds, void* from, void* to) {
  LOSSD_BEGIN();
  const auto* const begin = static_cast<Event*>(from);
  const auto* const end = static_cast<Event*>(to);
  if (begin->at < 0 || end->at < 0) return kNotReady;
  *milliseconds = static_cast<float>(end->at - begin->at);
  return kSuccess;
}

Result cuLaunchKernel(void* function, unsigned blocks, unsigned, unsigned,
                      unsigned threads, unsigned, unsigned, unsigned,
                      void* stream, void** parameters, void**) {
  LOSSD_BEGIN();
  return EnqueueKernel(call, function, {blocks, static_cast<int>(threads), 1},
                       parameters, stream);
}
Result cuLaunchKernelEx(const LaunchConfig* config, void* function,
                        void** parameters, void**) {
  LOSSD_BEGIN();
  int cluster = 1;
  for (unsigned i = 0; i < config->attribute_count; ++i) {
    if (config->attributes[i].id != cuda::driver::kClusterDimension) {
      return kInvalidValue;
    }
    cluster = static_cast<int>(config->attributes[i].value.cluster.x);
  }
  if (config->grid[0] % static_cast<unsigned>(cluster) != 0) {
    return kInvalidValue;
  }
  if (cluster > call->max_cluster) return kInvalidClusterSize;
  return EnqueueKernel(
      call, function,
      {config->grid[0], static_cast<int>(config->block[0]), cluster},
      parameters, config->stream);
}

Result cuOccupancyMaxPotentialClusterSize(int* blocks, void*,
                                          const LaunchConfig*) {
  LOSSD_BEGIN();
  *blocks = call->max_cluster;
  return kSuccess;
}

Result cuGetErrorName(Result result, const char** name) {
  *name = result == kSuccess       ? "CUDA_SUCCESS"
          : result == kOutOfMemory ? "CUDA_ERROR_OUT_OF_MEMORY"
                                   : "CUDA_ERROR_FAKE";
  return kSuccess;
}
}
// NOLINTEND(readability-identifier-naming)
