// SPDX-License-Identifier: Apache-2.0
//
// Every golden vector of PyTorch 2.15.0, through the engine and the CUDA
// backend, on kernels whose threads are fibers that run in random order.

#include <memory>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/conformance/golden_check.h"
#include "tests/cuda/simt/simt_engine.h"

namespace lossd {
namespace {

// The loss, and who takes a row: a warp, or a block.
class GoldenSimtTest
    : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(GoldenSimtTest, EveryCaseIsWithinPyTorchsTolerance) {
  const auto& [loss, group] = GetParam();
  simt::Machine machine(simt::Seed());
  const std::unique_ptr<Engine> engine =
      simt::MakeSimtEngine(&machine, group == "blocks" ? 0 : cuda::kWarpRow);
  CheckGoldenCases(loss, *engine);
}

INSTANTIATE_TEST_SUITE_P(Conformance, GoldenSimtTest,
                         testing::Combine(testing::ValuesIn(LossNames()),
                                          testing::Values("warps", "blocks")),
                         [](const auto& info) {
                           return absl::StrCat(std::get<0>(info.param), "_by_",
                                               std::get<1>(info.param));
                         });

}  // namespace
}  // namespace lossd
