// SPDX-License-Identifier: Apache-2.0
//
// Every golden vector of PyTorch 2.15.0, through the engine and the CUDA
// backend, on kernels whose threads are fibers that run in random order.

#include <cstdlib>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/engine/cuda_backend.h"
#include "server/engine/engine.h"
#include "tests/conformance/golden_check.h"
#include "tests/cuda/simt/simt_device.h"

namespace lossd {
namespace {

// The seed of this run: LOSSD_SEED, or one that no other run has had.
uint64_t Seed() {
  const char* given = std::getenv("LOSSD_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10)
                                         : std::random_device()();
  std::cout << "LOSSD_SEED=" << seed << std::endl;
  return seed;
}

// The loss, and who takes a row: a warp, or a block.
class GoldenSimtTest
    : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(GoldenSimtTest, EveryCaseIsWithinPyTorchsTolerance) {
  const auto& [loss, group] = GetParam();
  simt::Machine machine(Seed());
  std::vector<std::unique_ptr<cuda::Device>> devices;
  devices.push_back(simt::MakeSimtDevice(
      {.name = "cuda:0", .model = "fibers", .target = "simt"}, &machine));
  CudaOptions options;
  options.arena_bytes = int64_t{64} << 20;
  if (group == "blocks") options.warp_row = 0;
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(MakeCudaBackend(std::move(devices), options));
  const Engine engine(EngineLimits(), std::move(backends), DeviceClass::kCuda);
  CheckGoldenCases(loss, engine);
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
