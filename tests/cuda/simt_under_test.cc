// SPDX-License-Identifier: Apache-2.0

#include <algorithm>

#include "tests/cuda/simt/simt_engine.h"
#include "tests/unit/engine/backend_under_test.h"

namespace lossd {

std::unique_ptr<Backend> MakeBackendUnderTest() {
  static auto* const machine = new simt::Machine(simt::Seed());
  return simt::MakeSimtBackend(simt::MakeFiberDevice(machine));
}

int64_t RepetitionsUnderTest(int64_t repetitions, int64_t least) {
  return std::min(repetitions, least);
}

}  // namespace lossd
