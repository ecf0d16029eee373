// SPDX-License-Identifier: Apache-2.0
//
// Every golden vector of PyTorch 2.15.0, through the engine and the CUDA
// backend, on the GPUs that the driver shows; and the same bits every time.

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/engine/cuda_backend.h"
#include "server/engine/engine.h"
#include "server/kernels/cuda/kernel_images.h"
#include "tests/conformance/golden_case.h"
#include "tests/conformance/golden_check.h"
#include "tests/cuda/answer_bytes.h"

namespace lossd {
namespace {

// An engine on the first GPU; null, after skipping the test, where there is
// none. Rows longer than `warp_row` are a block's.
std::unique_ptr<Engine> MakeEngine(int64_t warp_row) {
  auto devices = cuda::OpenDevices(cuda::KernelImages());
  if (!devices.ok()) return nullptr;
  devices->resize(1);
  CudaOptions options;
  options.arena_bytes = int64_t{1} << 30;
  options.warp_row = warp_row;
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(MakeCudaBackend(*std::move(devices), options));
  return std::make_unique<Engine>(EngineLimits(), std::move(backends),
                                  DeviceClass::kCuda);
}

// The loss, and who takes a row: a warp, or a block.
class GoldenGpuTest
    : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override {
    engine_ =
        MakeEngine(std::get<1>(GetParam()) == "blocks" ? 0 : cuda::kWarpRow);
    if (engine_ == nullptr) {
      GTEST_SKIP() << cuda::OpenDevices(cuda::KernelImages()).status();
    }
  }
  std::unique_ptr<Engine> engine_;
};

TEST_P(GoldenGpuTest, EveryCaseIsWithinPyTorchsTolerance) {
  CheckGoldenCases(std::get<0>(GetParam()), *engine_);
}

TEST_P(GoldenGpuTest, BitsAreTheSameAloneAndInABatch) {
  std::vector<GoldenCase> cases = LoadGoldenCases(std::get<0>(GetParam()));
  std::vector<std::unique_ptr<Task>> alone, together;
  std::vector<Task*> batch;
  for (const GoldenCase& golden : cases) {
    Violations violations;
    std::unique_ptr<Task> task =
        engine_->Prepare(golden.evaluation, &violations);
    if (task == nullptr) continue;
    Task* tasks[] = {task.get()};
    engine_->Run(tasks);
    alone.push_back(std::move(task));
    together.push_back(engine_->Prepare(golden.evaluation, &violations));
    batch.push_back(together.back().get());
  }
  engine_->Run(batch);
  for (size_t i = 0; i < alone.size(); ++i) {
    EXPECT_EQ(AnswerBytes(alone[i]->result), AnswerBytes(together[i]->result))
        << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Conformance, GoldenGpuTest,
                         testing::Combine(testing::ValuesIn(LossNames()),
                                          testing::Values("warps", "blocks")),
                         [](const auto& info) {
                           return absl::StrCat(std::get<0>(info.param), "_by_",
                                               std::get<1>(info.param));
                         });

}  // namespace
}  // namespace lossd
