// SPDX-License-Identifier: Apache-2.0
//
// A library with the functions of libcuda.so.1 that lossd uses, for as many
// devices as a test likes, whose kernels run on fibers. What is put into a
// stream happens when the stream is synchronized, which is as late as CUDA
// allows: memory that is given back or written too early shows in the results.
//
// It is as strict as the real one where that is documented: a call without a
// current context, a copy beyond an allocation, memory that is pinned twice or
// was not pinned, are errors; and after an error of a device, other than a lack
// of memory, every call with its context returns that error.
//
// These functions are how a test tells it what to do.

#ifndef LOSSD_TESTS_CUDA_FAKE_DRIVER_FAKE_DRIVER_H_
#define LOSSD_TESTS_CUDA_FAKE_DRIVER_FAKE_DRIVER_H_

#include <cstdint>

extern "C" {

// Begins anew, with so many devices, each of so many bytes of memory.
void LossdFakeDriverReset(int devices, int64_t memory_bytes);

// The call of that name, such as "cuMemAlloc_v2", returns `result` once, after
// it has worked `skip` times.
void LossdFakeDriverFail(const char* symbol, int result, int skip);

// Whether that has not happened yet, for any call.
bool LossdFakeDriverFailsYet();

// A device has room for clusters of so many blocks at most; 16 at first.
void LossdFakeDriverLimitClusters(int blocks);

// How many allocations, pinned ranges, streams, events, modules and contexts
// there are.
int64_t LossdFakeDriverObjects();

// Kernels that have run with clusters of more than one block.
int64_t LossdFakeDriverClusterLaunches();
}

#endif  // LOSSD_TESTS_CUDA_FAKE_DRIVER_FAKE_DRIVER_H_
