// SPDX-License-Identifier: Apache-2.0
//
// Every golden vector of PyTorch 2.15.0, through the engine and the CUDA
// backend, on the GPUs that the driver shows; random cases and rows of classes
// beside the portable kernels; and the same bits every time.

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
#include "tests/conformance/random_case.h"
#include "tests/cuda/answer_bytes.h"
#include "tests/cuda/class_case.h"
#include "tests/cuda/portable_engine.h"

namespace lossd {
namespace {

// An engine on the first GPU, if there is one. Rows longer than `warp_row` are
// a block's.
absl::StatusOr<std::unique_ptr<Engine>> MakeEngine(int64_t warp_row) {
  auto devices = cuda::OpenDevices(
      cuda::KernelImages(), [](const std::string&, const absl::Status&) {});
  if (!devices.ok()) return devices.status();
  devices->resize(1);
  CudaOptions options;
  options.arena_bytes = int64_t{1} << 30;
  options.warp_row = warp_row;
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(MakeCudaBackend(*std::move(devices), options));
  return std::make_unique<Engine>(EngineLimits(), std::move(backends),
                                  DeviceClass::kCuda);
}

// Runs an evaluation twice: the same bits, which are near those of the CPU.
void ExpectAsOnTheCpu(const Engine& gpu, const Engine& portable,
                      const Evaluation& evaluation, int64_t underflow = 0) {
  const std::unique_ptr<Task> first = RunOn(gpu, evaluation);
  const std::unique_ptr<Task> again = RunOn(gpu, evaluation);
  const std::unique_ptr<Task> expected = RunOn(portable, evaluation);
  ASSERT_EQ(first == nullptr, expected == nullptr);
  if (first == nullptr) return;
  ASSERT_EQ(first->violations.count(), expected->violations.count());
  if (!expected->violations.empty()) return;
  ExpectSameAnswer(first->result, expected->result, underflow);
  EXPECT_EQ(AnswerBytes(first->result), AnswerBytes(again->result));
}

// Skips the test where there is no GPU, and says why.
class GpuTest : public testing::Test {
 protected:
  void UseGpu(int64_t warp_row) {
    auto engine = MakeEngine(warp_row);
    if (!engine.ok()) GTEST_SKIP() << engine.status();
    engine_ = *std::move(engine);
  }
  std::unique_ptr<Engine> engine_;
};

// The loss, and who takes a row: a warp, or a block.
class GoldenGpuTest
    : public GpuTest,
      public testing::WithParamInterface<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override {
    UseGpu(std::get<1>(GetParam()) == "blocks" ? 0 : cuda::kWarpRow);
  }
};

TEST_P(GoldenGpuTest, EveryCaseIsWithinPyTorchsTolerance) {
  CheckGoldenCases(std::get<0>(GetParam()), *engine_);
}

TEST_P(GoldenGpuTest, BitsAreTheSameAloneAndInABatch) {
  std::vector<GoldenCase> cases = LoadGoldenCases(std::get<0>(GetParam()));
  std::vector<std::unique_ptr<Task>> alone, together;
  std::vector<Task*> batch;
  for (const GoldenCase& golden : cases) {
    std::unique_ptr<Task> task = RunOn(*engine_, golden.evaluation);
    if (task == nullptr) continue;
    Violations violations;
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

TEST_P(GoldenGpuTest, RandomCasesAreAsOnTheCpu) {
  const std::unique_ptr<Engine> portable = PortableEngine();
  for (const GoldenCase& c : RandomCases(*FindLoss(std::get<0>(GetParam())))) {
    SCOPED_TRACE(c.name);
    ExpectAsOnTheCpu(*engine_, *portable, c.evaluation);
  }
}

INSTANTIATE_TEST_SUITE_P(Conformance, GoldenGpuTest,
                         testing::Combine(testing::ValuesIn(LossNames()),
                                          testing::Values("warps", "blocks")),
                         [](const auto& info) {
                           return absl::StrCat(std::get<0>(info.param), "_by_",
                                               std::get<1>(info.param));
                         });

class ClassRowGpuTest : public GpuTest,
                        public testing::WithParamInterface<Dtype> {
 protected:
  void SetUp() override { UseGpu(cuda::kWarpRow); }
};

// A warp's, a block's, a cluster's of 2, 4 and 8, and longer ones.
TEST_P(ClassRowGpuTest, RowsOfEveryBinAreAsOnTheCpu) {
  const std::unique_ptr<Engine> portable = PortableEngine();
  const int64_t edges[] = {8,     128,   1016,  1024,  1032,  8192, 8200,
                           16384, 20000, 32000, 33000, 65536, 65544};
  for (const int64_t classes : edges) {
    for (const bool special : {false, true}) {
      ClassCase::Shape shape;
      shape.dtype = GetParam();
      shape.classes = classes;
      // More than a GPU has blocks for.
      shape.rows = classes > 10000 ? 150 : 600;
      shape.weighted = special;
      shape.special = special;
      const ClassCase of(shape);
      SCOPED_TRACE(absl::StrCat(classes, special ? " special" : " plain"));
      ExpectAsOnTheCpu(*engine_, *portable, of.evaluation());
    }
  }
}

TEST_P(ClassRowGpuTest, GradientsThatVanishOrOverflowAreCounted) {
  const std::unique_ptr<Engine> portable = PortableEngine();
  for (const float spread : {4.0f, 60.0f}) {
    for (const double scale : {0.0, 1e-6, 3e4, -2.0}) {
      ClassCase::Shape shape;
      shape.dtype = GetParam();
      shape.classes = 1544;
      shape.rows = 5;
      shape.spread = spread;
      shape.scale = scale;
      const ClassCase of(shape);
      SCOPED_TRACE(absl::StrCat("spread ", spread, ", scale ", scale));
      // As in simt_test: a few products are just not 0 on the CPU.
      ExpectAsOnTheCpu(*engine_, *portable, of.evaluation(), 80);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryDtype, ClassRowGpuTest,
                         testing::Values(Dtype::kFloat16, Dtype::kBfloat16,
                                         Dtype::kFloat32),
                         [](const auto& info) {
                           return std::string(DtypeName(info.param));
                         });

}  // namespace
}  // namespace lossd
