// SPDX-License-Identifier: Apache-2.0
//
// Threads of a CUDA device, the one place that names its intrinsics. Kernels
// are written against these names; a test gives the same names a meaning on the
// host (tests/cuda/simt/threads.h), and a source file chooses by including one
// of them before the kernels.
//
// The arguments `file` and `line` of a barrier name its place for tests. A
// barrier is reached by all threads of its warp or block.

#ifndef LOSSD_SERVER_KERNELS_CUDA_THREADS_H_
#define LOSSD_SERVER_KERNELS_CUDA_THREADS_H_

#include <cuda_fp16.h>

#include <cstdint>

#include "server/base/half.h"
#include "server/kernels/cuda/batch.h"

#define LOSSD_FN __device__ __forceinline__
#define LOSSD_CALL __device__ inline
// A kernel, found by its name in the module.
#define LOSSD_KERNEL(threads, blocks, name)                     \
  extern "C" __global__ void __launch_bounds__(threads, blocks) \
      name(const __grid_constant__ ::lossd::cuda::Batch batch)
#define LOSSD_UNROLL _Pragma("unroll")
// An array that the threads of a block share; it is not initialised.
#define LOSSD_SHARED(type, name, count) __shared__ type name[count]

namespace lossd::cuda {

inline constexpr int kWarpThreads = 32;

LOSSD_FN int ThreadIndex() { return static_cast<int>(threadIdx.x); }
LOSSD_FN int64_t BlockIndex() { return blockIdx.x; }
LOSSD_FN int64_t BlockCount() { return gridDim.x; }

LOSSD_FN void SyncWarp(const char*, int) { __syncwarp(); }
LOSSD_FN void SyncBlock(const char*, int) { __syncthreads(); }

// The value of the thread whose index in the warp differs in the bits of
// `mask`. All threads of the warp call it together.
template <class T>
LOSSD_FN T ShuffleXor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
LOSSD_FN bool AnyInWarp(bool value) { return __any_sync(0xffffffffu, value); }

LOSSD_FN void AtomicAdd(uint64_t* to, uint64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(to), value);
}
LOSSD_FN void AtomicOr(uint32_t* to, uint32_t value) { atomicOr(to, value); }

// Of the blocks of a cluster, which the device runs together. A cluster of one
// is what any device has.
#if __CUDA_ARCH__ >= 900
LOSSD_FN int ClusterSize() {
  int size;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}
LOSSD_FN int ClusterRank() {
  int rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
LOSSD_FN void SyncCluster(const char*, int) {
  asm volatile("barrier.cluster.arrive.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
}
// Where a shared array of this block lies in block `rank` of the cluster.
template <class T>
LOSSD_FN const T* OfClusterBlock(const T* shared, int rank) {
  uint64_t address;
  asm("mapa.u64 %0, %1, %2;"
      : "=l"(address)
      : "l"(reinterpret_cast<uint64_t>(shared)), "r"(rank));
  return reinterpret_cast<const T*>(address);
}
#else
LOSSD_FN int ClusterSize() { return 1; }
LOSSD_FN int ClusterRank() { return 0; }
LOSSD_FN void SyncCluster(const char*, int) { __syncthreads(); }
template <class T>
LOSSD_FN const T* OfClusterBlock(const T* shared, int) {
  return shared;
}
#endif

LOSSD_FN float WidenHalf(Float16 x) {
  return __half2float(__ushort_as_half(x.bits));
}
// Two values, neither of them NaN, to the nearest.
LOSSD_FN void RoundPair(float a, float b, Float16* to_a, Float16* to_b) {
  to_a->bits = __half_as_ushort(__float2half_rn(a));
  to_b->bits = __half_as_ushort(__float2half_rn(b));
}
LOSSD_FN void RoundPair(float a, float b, Bfloat16* to_a, Bfloat16* to_b) {
#if __CUDA_ARCH__ >= 800
  uint32_t bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(b), "f"(a));
  to_a->bits = static_cast<uint16_t>(bits);
  to_b->bits = static_cast<uint16_t>(bits >> 16);
#else
  *to_a = ToBfloat16(a);
  *to_b = ToBfloat16(b);
#endif
}

// 16 bytes of read-once, or write-once, memory, aligned to their size.
template <class T>
LOSSD_FN T LoadOnce(const T* p) {
  static_assert(sizeof(T) == 16);
  const uint4 bits = __ldcs(reinterpret_cast<const uint4*>(p));
  return __builtin_bit_cast(T, bits);
}
template <class T>
LOSSD_FN void StoreOnce(T* p, const T& value) {
  static_assert(sizeof(T) == 16);
  __stcs(reinterpret_cast<uint4*>(p), __builtin_bit_cast(uint4, value));
}

}  // namespace lossd::cuda

#endif  // LOSSD_SERVER_KERNELS_CUDA_THREADS_H_
