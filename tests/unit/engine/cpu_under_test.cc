// SPDX-License-Identifier: Apache-2.0

#include "server/engine/cpu_backend.h"
#include "tests/unit/engine/backend_under_test.h"

namespace lossd {

std::unique_ptr<Backend> MakeBackendUnderTest() {
  return MakeCpuBackend(1, "").value();
}

int64_t RepetitionsUnderTest(int64_t repetitions, int64_t) {
  return repetitions;
}

}  // namespace lossd
