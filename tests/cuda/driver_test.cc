// SPDX-License-Identifier: Apache-2.0
//
// The backend down to the calls of the CUDA driver, on a library of its
// functions that runs kernels on fibers.

#include "server/kernels/cuda/driver.h"

#include <dlfcn.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/cuda_backend.h"
#include "server/engine/engine.h"
#include "tests/conformance/golden_check.h"
#include "tests/cuda/fake_driver/fake_driver.h"

namespace lossd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kOutOfMemory = 2;
constexpr int kNoBinaryForGpu = 209;
constexpr int kIllegalAddress = 700;

// The functions that tell the fake what to do, of the library that the driver's
// own lookup finds.
struct Fake {
  Fake() {
    void* const library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == nullptr) {
      std::fprintf(stderr, "%s\n", dlerror());
      std::abort();
    }
    const auto find = [library](const char* name, auto* function) {
      void* const address = dlsym(library, name);
      if (address == nullptr) std::abort();
      *function =
          reinterpret_cast<std::remove_pointer_t<decltype(function)>>(address);
    };
    find("LossdFakeDriverReset", &Reset);
    find("LossdFakeDriverFail", &Fail);
    find("LossdFakeDriverFailsYet", &FailsYet);
    find("LossdFakeDriverLimitClusters", &LimitClusters);
    find("LossdFakeDriverObjects", &Objects);
    find("LossdFakeDriverClusterLaunches", &ClusterLaunches);
  }
  decltype(&LossdFakeDriverReset) Reset;
  decltype(&LossdFakeDriverFail) Fail;
  decltype(&LossdFakeDriverFailsYet) FailsYet;
  decltype(&LossdFakeDriverLimitClusters) LimitClusters;
  decltype(&LossdFakeDriverObjects) Objects;
  decltype(&LossdFakeDriverClusterLaunches) ClusterLaunches;
};

const Fake& TheFake() {
  static const Fake fake;
  return fake;
}

class DriverTest : public testing::Test {
 protected:
  DriverTest() {
    for (const LossDefinition* loss : AllLosses()) {
      images_.push_back({loss->schema.name, "an image"});
    }
    TheFake().Reset(1, int64_t{1} << 30);
  }

  std::function<void(const std::string&, const absl::Status&)> NoteFailure() {
    return [this](const std::string& device, const absl::Status& why) {
      failures_.push_back(device + ": " + std::string(why.message()));
    };
  }

  // An engine on `count` devices.
  std::unique_ptr<Engine> Open(int count = 1,
                               int64_t memory_bytes = int64_t{1} << 30) {
    TheFake().Reset(count, memory_bytes);
    CudaOptions options;
    options.on_failure = NoteFailure();
    auto devices = cuda::OpenDevices(images_, options.on_failure);
    EXPECT_TRUE(devices.ok()) << devices.status();
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(MakeCudaBackend(*std::move(devices), options));
    return std::make_unique<Engine>(EngineLimits(), std::move(backends),
                                    DeviceClass::kCuda);
  }

  // Runs mse_loss over so many floats.
  std::unique_ptr<Task> Run(const Engine& engine, int64_t elements) {
    values_.assign(static_cast<size_t>(elements), 1.5f);
    zeros_.assign(static_cast<size_t>(elements), 0);
    const auto view = [elements](const std::vector<float>& of) {
      TensorView view;
      view.dtype = Dtype::kFloat32;
      view.shape = {elements};
      view.elements = elements;
      view.data = reinterpret_cast<const uint8_t*>(of.data());
      return view;
    };
    Evaluation evaluation;
    evaluation.loss = FindLoss("mse_loss");
    evaluation.arguments.parameters.resize(
        evaluation.loss->schema.parameters.size());
    evaluation.arguments.tensors[0] = view(values_);
    evaluation.arguments.tensors[1] = view(zeros_);
    evaluation.gradient = true;
    Violations violations;
    auto task = engine.Prepare(evaluation, &violations);
    Task* const tasks[] = {task.get()};
    engine.Run(tasks);
    return task;
  }

  std::vector<cuda::KernelImage> images_;
  std::vector<std::string> failures_;
  std::vector<float> values_, zeros_;
};

TEST_F(DriverTest, DevicesAreDescribed) {
  const auto engine = Open(2);
  const auto devices = engine->backends()[0]->devices();
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_EQ(devices[1].name, "cuda:1");
  EXPECT_EQ(devices[1].model, "Fibers");
  EXPECT_EQ(devices[1].target, "sm_90");
  EXPECT_EQ(devices[1].parallelism, 2);
}

TEST_F(DriverTest, WithoutADeviceThereIsNoBackend) {
  TheFake().Reset(0, 0);
  const auto devices = cuda::OpenDevices(images_, NoteFailure());
  EXPECT_EQ(devices.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(devices.status().message(), HasSubstr("shows no device"));
}

TEST_F(DriverTest, ADeviceThatCannotBeOpenedIsLeftOut) {
  TheFake().Reset(2, int64_t{1} << 30);
  TheFake().Fail("cuDevicePrimaryCtxRetain", kIllegalAddress, 0);
  const auto devices = cuda::OpenDevices(images_, NoteFailure());
  ASSERT_TRUE(devices.ok()) << devices.status();
  ASSERT_EQ(devices->size(), 1u);
  EXPECT_EQ((*devices)[0]->info().name, "cuda:1");
  EXPECT_THAT(failures_, ElementsAre("cuda:0: RetainContext: CUDA_ERROR_FAKE"));
}

TEST_F(DriverTest, WithoutADeviceThatCanBeOpenedThereIsNoBackend) {
  TheFake().Fail("cuDeviceGet", kIllegalAddress, 0);
  const auto devices = cuda::OpenDevices(images_, NoteFailure());
  EXPECT_EQ(devices.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(devices.status().message(), HasSubstr("GetDevice"));
  EXPECT_EQ(failures_.size(), 1u);
}

// Small tensors by way of the staging memory, and large ones from where they
// are, which is not written before the stream was waited for.
TEST_F(DriverTest, ResultsAreThoseOfTheKernels) {
  const auto engine = Open();
  for (int64_t elements : {1, 1000, 1 << 17}) {
    const auto task = Run(*engine, elements);
    ASSERT_TRUE(task->violations.empty());
    EXPECT_EQ(task->result.loss, 2.25);
    const auto* gradient = reinterpret_cast<const float*>(
        task->result.gradients[0].value.data.data());
    const float expected = 3.0f / static_cast<float>(elements);
    EXPECT_FLOAT_EQ(gradient[0], expected);
    EXPECT_FLOAT_EQ(gradient[elements - 1], expected);
    EXPECT_GT(task->copying, absl::ZeroDuration());
  }
}

TEST_F(DriverTest, GoldenCasesAreWithinPyTorchsTolerance) {
  const auto engine = Open();
  CheckGoldenCases("cross_entropy", *engine);
  CheckGoldenCases("ctc_loss", *engine);
}

TEST_F(DriverTest, LongRowsOfClassesTakeClusters) {
  const auto engine = Open();
  const Shape shape = {2, 20000};
  std::vector<float> input(40000, 0.5f);
  const std::vector<int64_t> target = {7, 19999};
  Evaluation evaluation;
  evaluation.loss = FindLoss("cross_entropy");
  evaluation.arguments.parameters.resize(
      evaluation.loss->schema.parameters.size());
  evaluation.arguments.tensors[0] = {
      Dtype::kFloat32, shape, 40000,
      reinterpret_cast<const uint8_t*>(input.data())};
  evaluation.arguments.tensors[1] = {
      Dtype::kInt64, {2}, 2, reinterpret_cast<const uint8_t*>(target.data())};
  Violations violations;
  const auto task = engine->Prepare(evaluation, &violations);
  ASSERT_NE(task, nullptr);
  Task* const tasks[] = {task.get()};
  engine->Run(tasks);
  EXPECT_NEAR(*task->result.loss, std::log(20000.0), 1e-6);
  EXPECT_EQ(TheFake().ClusterLaunches(), 1);
}

TEST_F(DriverTest, ADeviceWithRoomForSmallClustersGetsNoLargerOnes) {
  for (const auto& [room, cluster] :
       {std::pair(16, 8), std::pair(6, 4), std::pair(2, 2), std::pair(1, 1)}) {
    TheFake().Reset(1, int64_t{1} << 30);
    TheFake().LimitClusters(room);
    const auto devices = cuda::OpenDevices(images_, NoteFailure());
    ASSERT_TRUE(devices.ok()) << devices.status();
    EXPECT_EQ((*devices)[0]->info().max_cluster, cluster);
  }
}

TEST_F(DriverTest, ADeviceThatImagesHaveNoCodeForIsLeftOut) {
  TheFake().Fail("cuModuleLoadData", kNoBinaryForGpu, 0);
  const auto devices = cuda::OpenDevices(images_, NoteFailure());
  EXPECT_EQ(devices.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(failures_.size(), 1u);
}

TEST_F(DriverTest, ACallThatIsRefusedIsNoLossOfTheDevice) {
  const auto engine = Open();
  TheFake().Fail("cuLaunchKernel", kNoBinaryForGpu, 0);
  EXPECT_EQ(Run(*engine, 1000)->violations.kept()[0].reason,
            Reason::kDeviceFailed);
  EXPECT_TRUE(Run(*engine, 1000)->violations.empty());
  EXPECT_TRUE(failures_.empty());
}

TEST_F(DriverTest, EverythingIsGivenBack) {
  auto engine = Open(2);
  for (int64_t elements : {1000, 1 << 18}) Run(*engine, elements);
  EXPECT_GT(TheFake().Objects(), 0);
  engine.reset();
  EXPECT_EQ(TheFake().Objects(), 0);
}

TEST_F(DriverTest, MemoryThatTheDeviceLacksIsNoFailure) {
  const auto engine = Open();
  TheFake().Fail("cuMemAlloc_v2", kOutOfMemory, 0);
  const auto task = Run(*engine, 1000);
  EXPECT_EQ(task->violations.kept()[0].reason, Reason::kDeviceMemory);
  EXPECT_TRUE(failures_.empty());
  EXPECT_TRUE(Run(*engine, 1000)->violations.empty());
}

// Every call that a batch makes, each after it has worked once and before.
class DriverFailureTest : public DriverTest,
                          public testing::WithParamInterface<const char*> {};

TEST_P(DriverFailureTest, ItsDeviceIsLeftAndAnotherTakesOver) {
  for (int skip : {0, 1}) {
    failures_.clear();
    auto engine = Open(2);
    TheFake().Fail(GetParam(), kIllegalAddress, skip);
    for (int i = 0; i < 4; ++i) {
      const auto task = Run(*engine, 1000);
      ASSERT_TRUE(task->violations.empty());
      EXPECT_EQ(task->result.loss, 2.25);
    }
    const int out_of_service = !engine->backends()[0]->InService(0) +
                               !engine->backends()[0]->InService(1);
    EXPECT_EQ(static_cast<size_t>(out_of_service), failures_.size());
    // Some calls are made once for a device.
    if (skip == 1 && TheFake().FailsYet()) {
      EXPECT_TRUE(failures_.empty());
    } else {
      ASSERT_EQ(failures_.size(), 1u);
      EXPECT_THAT(failures_[0], HasSubstr("CUDA_ERROR_FAKE"));
    }
    engine.reset();
    EXPECT_EQ(TheFake().Objects(), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(
    EveryCall, DriverFailureTest,
    testing::Values("cuStreamCreate", "cuEventCreate", "cuMemAlloc_v2",
                    "cuMemHostAlloc", "cuModuleLoadData", "cuModuleGetFunction",
                    "cuEventRecord", "cuMemcpyHtoDAsync_v2", "cuLaunchKernel",
                    "cuMemcpyDtoHAsync_v2", "cuStreamSynchronize",
                    "cuEventElapsedTime", "cuCtxSetCurrent"),
    [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lossd
