// SPDX-License-Identifier: Apache-2.0
//
// The part of the CUDA driver's binary interface that driver.cc uses, as NVIDIA
// documents it ("CUDA Driver API"), so that building needs none of its headers.

#ifndef LOSSD_SERVER_KERNELS_CUDA_DRIVER_FUNCTIONS_H_
#define LOSSD_SERVER_KERNELS_CUDA_DRIVER_FUNCTIONS_H_

#include <cstddef>
#include <cstdint>

namespace lossd::cuda::driver {

using Result = int;
inline constexpr Result kSuccess = 0;
inline constexpr Result kOutOfMemory = 2;
// What refuses a call and leaves the context as it was: invalid values, images,
// PTX, handles and names; what is not ready or not supported; more resources or
// larger clusters than the device has; host memory that is pinned, or is not.
// Any other error is taken for one after which nothing works.
inline constexpr Result kRefusals[] = {1,   200, 209, 218, 222, 400, 500,
                                       600, 701, 712, 713, 801, 912};

using Ordinal = int;
using Context = void*;
using Module = void*;
using Function = void*;
using Stream = void*;
using Event = void*;
using Pointer = uint64_t;

inline constexpr int kMultiprocessors = 16;  // attributes of a device
inline constexpr int kCapabilityMajor = 75;
inline constexpr int kCapabilityMinor = 76;
inline constexpr int kClusterLaunch = 120;
inline constexpr unsigned kBlockingSync = 0x04;
inline constexpr unsigned kNonBlockingStream = 0x01;
inline constexpr unsigned kPortableHostMemory = 0x01;

inline constexpr int kClusterDimension = 4;  // an attribute of a launch
struct LaunchAttribute {
  int id;
  char pad[4];
  union {
    char bytes[64];
    struct {
      unsigned x, y, z;
    } cluster;
  } value;
};
struct LaunchConfig {
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  Stream stream;
  LaunchAttribute* attributes;
  unsigned attribute_count;
};

// LOSSD_DRIVER(our name, the library's, parameters)
#define LOSSD_DRIVER_FUNCTIONS                                                 \
  LOSSD_DRIVER(Init, "cuInit", (unsigned))                                     \
  LOSSD_DRIVER(DeviceCount, "cuDeviceGetCount", (int*))                        \
  LOSSD_DRIVER(GetDevice, "cuDeviceGet", (Ordinal*, int))                      \
  LOSSD_DRIVER(DeviceName, "cuDeviceGetName", (char*, int, Ordinal))           \
  LOSSD_DRIVER(DeviceAttribute, "cuDeviceGetAttribute", (int*, int, Ordinal))  \
  LOSSD_DRIVER(DeviceMemory, "cuDeviceTotalMem_v2", (size_t*, Ordinal))        \
  LOSSD_DRIVER(SetContextFlags, "cuDevicePrimaryCtxSetFlags_v2",               \
               (Ordinal, unsigned))                                            \
  LOSSD_DRIVER(RetainContext, "cuDevicePrimaryCtxRetain", (Context*, Ordinal)) \
  LOSSD_DRIVER(ReleaseContext, "cuDevicePrimaryCtxRelease_v2", (Ordinal))      \
  LOSSD_DRIVER(SetCurrent, "cuCtxSetCurrent", (Context))                       \
  LOSSD_DRIVER(LoadModule, "cuModuleLoadData", (Module*, const void*))         \
  LOSSD_DRIVER(UnloadModule, "cuModuleUnload", (Module))                       \
  LOSSD_DRIVER(GetFunction, "cuModuleGetFunction",                             \
               (Function*, Module, const char*))                               \
  LOSSD_DRIVER(Allocate, "cuMemAlloc_v2", (Pointer*, size_t))                  \
  LOSSD_DRIVER(Free, "cuMemFree_v2", (Pointer))                                \
  LOSSD_DRIVER(AllocateHost, "cuMemHostAlloc", (void**, size_t, unsigned))     \
  LOSSD_DRIVER(FreeHost, "cuMemFreeHost", (void*))                             \
  LOSSD_DRIVER(PinHost, "cuMemHostRegister_v2", (void*, size_t, unsigned))     \
  LOSSD_DRIVER(UnpinHost, "cuMemHostUnregister", (void*))                      \
  LOSSD_DRIVER(CreateStream, "cuStreamCreate", (Stream*, unsigned))            \
  LOSSD_DRIVER(DestroyStream, "cuStreamDestroy_v2", (Stream))                  \
  LOSSD_DRIVER(Synchronize, "cuStreamSynchronize", (Stream))                   \
  LOSSD_DRIVER(CopyToDevice, "cuMemcpyHtoDAsync_v2",                           \
               (Pointer, const void*, size_t, Stream))                         \
  LOSSD_DRIVER(CopyToHost, "cuMemcpyDtoHAsync_v2",                             \
               (void*, Pointer, size_t, Stream))                               \
  LOSSD_DRIVER(CreateEvent, "cuEventCreate", (Event*, unsigned))               \
  LOSSD_DRIVER(RecordEvent, "cuEventRecord", (Event, Stream))                  \
  LOSSD_DRIVER(ElapsedTime, "cuEventElapsedTime", (float*, Event, Event))      \
  LOSSD_DRIVER(DestroyEvent, "cuEventDestroy_v2", (Event))                     \
  LOSSD_DRIVER(ErrorName, "cuGetErrorName", (Result, const char**))

// The two ways to launch: the second is what devices with clusters come with.
using LaunchFunction = Result (*)(Function, unsigned, unsigned, unsigned,
                                  unsigned, unsigned, unsigned, unsigned,
                                  Stream, void**, void**);
using LaunchExFunction = Result (*)(const LaunchConfig*, Function, void**,
                                    void**);

using ClusterSizeFunction = Result (*)(int*, Function, const LaunchConfig*);

struct Functions {
#define LOSSD_DRIVER(name, symbol, parameters) Result(*name) parameters;
  LOSSD_DRIVER_FUNCTIONS
#undef LOSSD_DRIVER
  LaunchFunction Launch;
  // Null in a driver before CUDA 11.8.
  LaunchExFunction LaunchEx;
  ClusterSizeFunction ClusterSize;
};

}  // namespace lossd::cuda::driver

#endif  // LOSSD_SERVER_KERNELS_CUDA_DRIVER_FUNCTIONS_H_
