// SPDX-License-Identifier: Apache-2.0
//
// The names of server/kernels/cuda/threads.h on the host: a kernel is a
// function that a simt::Machine calls for each of its threads.

#ifndef LOSSD_TESTS_CUDA_SIMT_THREADS_H_
#define LOSSD_TESTS_CUDA_SIMT_THREADS_H_

#include <cstdint>
#include <cstring>

#include "server/base/half.h"
#include "server/kernels/cuda/batch.h"
#include "tests/cuda/simt/machine.h"

#define LOSSD_FN inline
#define LOSSD_CALL inline
#define LOSSD_KERNEL(threads, blocks, name) \
  extern "C" void name(const ::lossd::cuda::Batch& batch)
#define LOSSD_UNROLL
#define LOSSD_SHARED(type, name, count)                                 \
  static const char name##_key = 0;                                     \
  type* const name =                                                    \
      reinterpret_cast<type*>(::lossd::simt::Machine::Current().Shared( \
          &name##_key, sizeof(type) * (count)))

namespace lossd::cuda {

inline constexpr int kWarpThreads = 32;

inline int ThreadIndex() { return simt::Machine::Current().thread(); }
inline int64_t BlockIndex() { return simt::Machine::Current().block(); }
inline int64_t BlockCount() { return simt::Machine::Current().block_count(); }

inline void SyncWarp(const char* file, int line) {
  simt::Machine::Current().Sync(simt::Machine::Scope::kWarp, file, line);
}
inline void SyncBlock(const char* file, int line) {
  simt::Machine::Current().Sync(simt::Machine::Scope::kBlock, file, line);
}

// The values of the warp, as they are when all its threads have come here.
template <class T>
T Exchanged(T value, int lane, const char* file, int line) {
  simt::Machine& machine = simt::Machine::Current();
  std::memcpy(machine.Slot(), &value, sizeof(T));
  machine.Exchange(file, line);
  std::memcpy(&value, machine.SlotOf(lane), sizeof(T));
  return value;
}
template <class T>
T ShuffleXor(T value, int mask, const char* file = __builtin_FILE(),
             int line = __builtin_LINE()) {
  return Exchanged(value, (ThreadIndex() % kWarpThreads) ^ mask, file, line);
}
inline bool AnyInWarp(bool value, const char* file = __builtin_FILE(),
                      int line = __builtin_LINE()) {
  simt::Machine& machine = simt::Machine::Current();
  std::memcpy(machine.Slot(), &value, sizeof(value));
  machine.Exchange(file, line);
  bool any = false;
  for (int lane = 0; lane < kWarpThreads; ++lane) {
    any |= *machine.SlotOf(lane) != 0;
  }
  return any;
}

inline void AtomicAdd(uint64_t* to, uint64_t value) { *to += value; }
inline void AtomicOr(uint32_t* to, uint32_t value) { *to |= value; }

inline int ClusterSize() { return simt::Machine::Current().cluster_size(); }
inline int ClusterRank() { return simt::Machine::Current().cluster_rank(); }
inline void SyncCluster(const char* file, int line) {
  simt::Machine::Current().Sync(simt::Machine::Scope::kCluster, file, line);
}
template <class T>
const T* OfClusterBlock(const T* shared, int rank) {
  return reinterpret_cast<const T*>(simt::Machine::Current().SharedOf(
      reinterpret_cast<const char*>(shared), rank));
}

inline float WidenHalf(Float16 x) { return ToFloat(x); }
inline void RoundPair(float a, float b, Float16* to_a, Float16* to_b) {
  *to_a = ToFloat16(a);
  *to_b = ToFloat16(b);
}
inline void RoundPair(float a, float b, Bfloat16* to_a, Bfloat16* to_b) {
  *to_a = ToBfloat16(a);
  *to_b = ToBfloat16(b);
}

template <class T>
T LoadOnce(const T* p) {
  static_assert(sizeof(T) == 16 && alignof(T) == 16);
  return *p;
}
template <class T>
void StoreOnce(T* p, const T& value) {
  *p = value;
}

}  // namespace lossd::cuda

#endif  // LOSSD_TESTS_CUDA_SIMT_THREADS_H_
