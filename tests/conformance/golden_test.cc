// SPDX-License-Identifier: Apache-2.0
//
// Every golden vector of PyTorch 2.15.0, through the engine, on every kernel
// table of this CPU and on the scalar reference, within assert_close's
// tolerance.

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/engine/cpu_backend.h"
#include "server/engine/engine.h"
#include "server/kernels/cpu/cpu_kernels.h"
#include "tests/conformance/golden_check.h"

namespace lossd {
namespace {

// The targets, by name: those of this CPU, and the reference.
std::vector<std::string> Targets() {
  std::vector<std::string> targets = {"reference"};
  for (const KernelTable& table : CpuKernels()) targets.push_back(table.target);
  return targets;
}

class GoldenTest
    : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(GoldenTest, EveryCaseIsWithinPyTorchsTolerance) {
  const auto& [loss, target] = GetParam();
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(target == "reference" ? MakeReferenceBackend()
                                           : MakeCpuBackend(2, target).value());
  const Engine engine(EngineLimits(), std::move(backends), DeviceClass::kCpu);
  CheckGoldenCases(loss, engine);
}

INSTANTIATE_TEST_SUITE_P(Conformance, GoldenTest,
                         testing::Combine(testing::ValuesIn(LossNames()),
                                          testing::ValuesIn(Targets())),
                         [](const auto& info) {
                           return absl::StrCat(std::get<0>(info.param), "_on_",
                                               std::get<1>(info.param));
                         });

}  // namespace
}  // namespace lossd
