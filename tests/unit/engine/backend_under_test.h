// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_UNIT_ENGINE_BACKEND_UNDER_TEST_H_
#define LOSSD_TESTS_UNIT_ENGINE_BACKEND_UNDER_TEST_H_

#include <cstdint>
#include <memory>

#include "server/engine/backend.h"

namespace lossd {

// The backend that a suite is about. A suite is linked with the library that
// defines these for it: lossd_cpu_under_test for the best kernels of this CPU
// without threads, lossd_simt_under_test for the CUDA kernels on fibers.
std::unique_ptr<Backend> MakeBackendUnderTest();

// How many of `repetitions` the backend has time for: all, or `least`.
int64_t RepetitionsUnderTest(int64_t repetitions, int64_t least = 1);

}  // namespace lossd

#endif  // LOSSD_TESTS_UNIT_ENGINE_BACKEND_UNDER_TEST_H_
