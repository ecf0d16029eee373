// SPDX-License-Identifier: Apache-2.0

#include "server/engine/cuda_backend.h"

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "tests/unit/engine/fake_device.h"

namespace lossd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// An engine on fake devices.
class CudaBackendTest : public testing::Test {
 protected:
  void Make(int devices, int64_t arena_bytes = int64_t{16} << 20) {
    std::vector<std::unique_ptr<cuda::Device>> fakes;
    for (int i = 0; i < devices; ++i) {
      states_.push_back(std::make_shared<FakeDeviceState>());
      fakes.push_back(
          MakeFakeDevice("cuda:" + std::to_string(i), states_.back()));
    }
    CudaOptions options;
    options.arena_bytes = arena_bytes;
    options.on_failure = [this](const std::string& device,
                                const absl::Status&) {
      failures_.push_back(device);
    };
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(MakeCudaBackend(std::move(fakes), options));
    engine_ = std::make_unique<Engine>(EngineLimits(), std::move(backends),
                                       DeviceClass::kCuda);
  }

  int LaunchesOf(int device) {
    absl::MutexLock lock(&states_[device]->mutex);
    return states_[device]->launches;
  }
  // An evaluation of mse_loss over `elements` floats.
  std::unique_ptr<Task> Prepare(int64_t elements) {
    values_.resize(std::max(values_.size(), static_cast<size_t>(elements)));
    TensorView view;
    view.dtype = Dtype::kFloat32;
    view.shape = {elements};
    view.elements = elements;
    view.data = reinterpret_cast<const uint8_t*>(values_.data());
    Evaluation evaluation;
    evaluation.loss = FindLoss("mse_loss");
    evaluation.arguments.parameters.resize(
        evaluation.loss->schema.parameters.size());
    evaluation.arguments.tensors[0] = view;
    evaluation.arguments.tensors[1] = view;
    Violations violations;
    return engine_->Prepare(evaluation, &violations);
  }
  std::unique_ptr<Task> Run(int64_t elements) {
    std::unique_ptr<Task> task = Prepare(elements);
    Task* tasks[] = {task.get()};
    engine_->Run(tasks);
    return task;
  }
  // Runs each in a batch and a thread of its own.
  std::vector<std::thread> RunEach(
      const std::vector<std::unique_ptr<Task>>& tasks) {
    std::vector<std::thread> threads;
    for (const auto& task : tasks) {
      threads.emplace_back([this, pointer = task.get()] {
        Task* const pointers[] = {pointer};
        engine_->Run(pointers);
      });
    }
    return threads;
  }
  static Reason ReasonOf(const Task& task) {
    return task.violations.empty() ? Reason{}
                                   : task.violations.kept()[0].reason;
  }

  std::vector<std::shared_ptr<FakeDeviceState>> states_;
  std::vector<std::string> failures_;
  std::vector<float> values_ = std::vector<float>(1 << 22);
  std::unique_ptr<Engine> engine_;
};

TEST_F(CudaBackendTest, ABatchOfOneLossIsOneLaunch) {
  Make(1);
  std::vector<std::unique_ptr<Task>> tasks;
  std::vector<Task*> pointers;
  for (int i = 0; i < 5; ++i) {
    tasks.push_back(Prepare(100 + i));
    pointers.push_back(tasks.back().get());
  }
  engine_->Run(pointers);
  EXPECT_EQ(LaunchesOf(0), 1);
  for (const auto& task : tasks) {
    EXPECT_TRUE(task->violations.empty());
    EXPECT_EQ(task->result.loss, 0.0);
  }
}

TEST_F(CudaBackendTest, ABatchBeyondTheArenaIsSeveral) {
  Make(1, int64_t{4} << 20);  // 2 MiB for a batch
  std::vector<std::unique_ptr<Task>> tasks;
  std::vector<Task*> pointers;
  for (int i = 0; i < 4; ++i) {
    tasks.push_back(Prepare(100000));  // 800 kB each
    pointers.push_back(tasks.back().get());
  }
  engine_->Run(pointers);
  EXPECT_EQ(LaunchesOf(0), 2);
  for (const auto& task : tasks) EXPECT_TRUE(task->violations.empty());
  absl::MutexLock lock(&states_[0]->mutex);
  EXPECT_LE(states_[0]->most_device_bytes, int64_t{4} << 20);
}

TEST_F(CudaBackendTest, AnEvaluationBeyondTheArenaIsRefusedAlone) {
  Make(1, int64_t{4} << 20);
  const auto large = Run(1 << 20);
  EXPECT_EQ(ReasonOf(*large), Reason::kDeviceMemory);
  EXPECT_THAT(large->violations.kept()[0].description, HasSubstr("2097152"));
  EXPECT_TRUE(Run(1000)->violations.empty());
  EXPECT_TRUE(failures_.empty());
}

TEST_F(CudaBackendTest, MemoryThatTheDeviceLacksIsRefusedAndTheDeviceStays) {
  Make(1);
  {
    absl::MutexLock lock(&states_[0]->mutex);
    states_[0]->memory_bytes = 2 << 20;
  }
  EXPECT_EQ(ReasonOf(*Run(1 << 19)), Reason::kDeviceMemory);
  EXPECT_TRUE(Run(1000)->violations.empty());
  EXPECT_TRUE(failures_.empty());
}

TEST_F(CudaBackendTest, ABatchThatTheDeviceHasNoMemoryForIsTakenApart) {
  Make(1);
  {
    absl::MutexLock lock(&states_[0]->mutex);
    states_[0]->memory_bytes = 3 << 19;
  }
  std::vector<std::unique_ptr<Task>> tasks;
  std::vector<Task*> pointers;
  for (int64_t elements : {100000, 100000, 400000}) {
    tasks.push_back(Prepare(elements));
    pointers.push_back(tasks.back().get());
  }
  engine_->Run(pointers);
  EXPECT_TRUE(tasks[0]->violations.empty());
  EXPECT_TRUE(tasks[1]->violations.empty());
  EXPECT_EQ(ReasonOf(*tasks[2]), Reason::kDeviceMemory);
  EXPECT_TRUE(failures_.empty());
}

class CudaFailureTest : public CudaBackendTest,
                        public testing::WithParamInterface<const char*> {};

TEST_P(CudaFailureTest, ADeviceThatFailsIsLeftAndAnotherTakesOver) {
  Make(2);
  states_[0]->Fail(GetParam());
  states_[1]->Fail("");
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(Run(1000)->violations.empty());
  EXPECT_THAT(failures_, ElementsAre("cuda:0"));
  EXPECT_LE(LaunchesOf(0), 1);
  EXPECT_EQ(LaunchesOf(1), 4);
}

TEST_P(CudaFailureTest, TheLastDeviceThatFailsIsUnavailable) {
  Make(1);
  states_[0]->Fail(GetParam());
  const auto task = Run(1000);
  EXPECT_EQ(ReasonOf(*task), Reason::kDeviceFailed);
  EXPECT_THAT(failures_, ElementsAre("cuda:0"));
  // It is not tried again, even if it works again.
  states_[0]->Fail("");
  EXPECT_EQ(ReasonOf(*Run(1000)), Reason::kDeviceFailed);
}

INSTANTIATE_TEST_SUITE_P(EveryCall, CudaFailureTest,
                         testing::Values("Run", "Synchronize", "CopyToDevice",
                                         "CopyToHost", "CreateStream",
                                         "CreateEvent", "AllocateHost"),
                         [](const auto& info) {
                           return std::string(info.param);
                         });

TEST_F(CudaBackendTest, ABatchThatADeviceRefusesIsNoLossOfIt) {
  Make(2);
  for (auto& state : states_) {
    absl::MutexLock lock(&state->mutex);
    state->refusing = "Run";
  }
  const auto task = Run(1000);
  EXPECT_EQ(ReasonOf(*task), Reason::kDeviceFailed);
  for (auto& state : states_) {
    absl::MutexLock lock(&state->mutex);
    state->refusing = "";
  }
  EXPECT_TRUE(Run(1000)->violations.empty());
  EXPECT_TRUE(failures_.empty());
}

TEST_F(CudaBackendTest, AnEvaluationOfNothingAsksNothingOfTheDevice) {
  Make(1);
  states_[0]->Fail("CopyToHost");
  EXPECT_TRUE(Run(0)->violations.empty());
  EXPECT_TRUE(failures_.empty());
}

TEST_F(CudaBackendTest, ABatchHasAtMostItsShareOfWhatTheDeviceHas) {
  Make(1, int64_t{1} << 40);
  // Four fifths of 16 GiB, for two batches.
  EXPECT_EQ(engine_->backends()[0]->devices()[0].max_evaluation_bytes,
            (int64_t{16} << 30) / 5 * 4 / 2);
}

TEST_F(CudaBackendTest, ADeviceThatFailsSeveralBatchesIsToldOnce) {
  Make(1);
  states_[0]->Hold(true);
  std::vector<std::unique_ptr<Task>> tasks;
  for (int i = 0; i < 2; ++i) tasks.push_back(Prepare(1000));
  std::vector<std::thread> threads = RunEach(tasks);
  states_[0]->AwaitInFlight(2);
  states_[0]->Fail("Synchronize");
  states_[0]->Hold(false);
  for (std::thread& thread : threads) thread.join();
  for (const auto& task : tasks) {
    EXPECT_EQ(ReasonOf(*task), Reason::kDeviceFailed);
  }
  EXPECT_THAT(failures_, ElementsAre("cuda:0"));
}

TEST_F(CudaBackendTest, ABatchIsTriedOnTwoDevicesAtMost) {
  Make(3);
  states_[0]->Fail("Run");
  states_[1]->Fail("Run");
  states_[2]->Fail("Run");
  EXPECT_EQ(ReasonOf(*Run(1000)), Reason::kDeviceFailed);
  EXPECT_EQ(failures_.size(), 2u);
}

TEST_F(CudaBackendTest, TwoBatchesAreInFlightAndTheThirdWaits) {
  Make(1);
  states_[0]->Hold(true);
  std::vector<std::unique_ptr<Task>> tasks;
  for (int i = 0; i < 3; ++i) tasks.push_back(Prepare(1000));
  std::vector<std::thread> threads = RunEach(tasks);
  states_[0]->AwaitInFlight(2);
  EXPECT_EQ(LaunchesOf(0), 2);
  states_[0]->Hold(false);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(LaunchesOf(0), 3);
  absl::MutexLock lock(&states_[0]->mutex);
  EXPECT_EQ(states_[0]->most_in_flight, 2);
}

TEST_F(CudaBackendTest, TheDeviceWithTheFewestBatchesIsNext) {
  Make(2);
  states_[0]->Hold(true);
  states_[1]->Hold(true);
  std::vector<std::unique_ptr<Task>> tasks;
  for (int i = 0; i < 2; ++i) tasks.push_back(Prepare(1000));
  std::vector<std::thread> threads = RunEach(tasks);
  states_[0]->AwaitInFlight(1);
  states_[1]->AwaitInFlight(1);
  states_[0]->Hold(false);
  states_[1]->Hold(false);
  for (std::thread& thread : threads) thread.join();
}

TEST_F(CudaBackendTest, EverythingIsGivenBack) {
  Make(1);
  Run(1000);
  engine_.reset();
  absl::MutexLock lock(&states_[0]->mutex);
  EXPECT_EQ(states_[0]->device_bytes, 0);
  EXPECT_EQ(states_[0]->host_bytes, 0);
  EXPECT_EQ(states_[0]->streams, 0);
  EXPECT_EQ(states_[0]->events, 0);
  EXPECT_TRUE(states_[0]->pinned.empty());
}

TEST_F(CudaBackendTest, MappingsOfThePoolArePinned) {
  Make(1);
  constexpr int64_t kBytes = BufferPool::kMappedBytes;
  AlignedBuffer large = engine_->pool().Allocate(kBytes);
  const AlignedBuffer small = engine_->pool().Allocate(kBytes / 2);
  {
    absl::MutexLock lock(&states_[0]->mutex);
    EXPECT_THAT(states_[0]->pinned, ElementsAre(large.data()));
  }
  // They stay pinned until the system gets them back.
  large = AlignedBuffer();
  for (size_t pinned : {1, 1, 0}) {
    {
      absl::MutexLock lock(&states_[0]->mutex);
      EXPECT_EQ(states_[0]->pinned.size(), pinned);
    }
    engine_->pool().Trim();
  }
}

TEST_F(CudaBackendTest, AMappingThatOutlivesTheBackendIsUnpinnedWithIt) {
  Make(1);
  const AlignedBuffer large =
      engine_->pool().Allocate(BufferPool::kMappedBytes);
  engine_.reset();
  absl::MutexLock lock(&states_[0]->mutex);
  EXPECT_TRUE(states_[0]->pinned.empty());
}

TEST_F(CudaBackendTest, MemoryThatCannotBePinnedIsUsedAllTheSame) {
  Make(1);
  states_[0]->Fail("PinHost");
  EXPECT_TRUE(Run(1 << 19)->violations.empty());
  EXPECT_TRUE(failures_.empty());
}

TEST_F(CudaBackendTest, ADeviceThatFailedLeavesPinningToAnother) {
  Make(2);
  states_[0]->Fail("PinHost");
  const AlignedBuffer large =
      engine_->pool().Allocate(BufferPool::kMappedBytes);
  absl::MutexLock lock(&states_[1]->mutex);
  EXPECT_THAT(states_[1]->pinned, ElementsAre(large.data()));
}

TEST_F(CudaBackendTest, MemoryThatStaysPinnedNeverBecomesOtherMemory) {
  Make(1);
  AlignedBuffer large = engine_->pool().Allocate(BufferPool::kMappedBytes);
  uint8_t* const data = large.data();
  *data = 17;
  states_[0]->Fail("UnpinHost");
  large = AlignedBuffer();
  engine_->pool().Trim();
  engine_->pool().Trim();
  *data = 18;  // it is still there
  EXPECT_NE(engine_->pool().Allocate(BufferPool::kMappedBytes).data(), data);
}

TEST_F(CudaBackendTest, SmallTensorsAreOneCopyAndLargeOnesAreCopiedDirectly) {
  Make(1);
  Run(1000);
  {
    absl::MutexLock lock(&states_[0]->mutex);
    EXPECT_EQ(states_[0]->copied_from.size(), 1u);
    states_[0]->copied_from.clear();
  }
  Run(1 << 19);
  absl::MutexLock lock(&states_[0]->mutex);
  // Both tensors of the evaluation lie at the same place.
  const auto* values = reinterpret_cast<const uint8_t*>(values_.data());
  ASSERT_EQ(states_[0]->copied_from.size(), 3u);
  EXPECT_EQ(states_[0]->copied_from[1], values);
  EXPECT_EQ(states_[0]->copied_from[2], values);
}

TEST_F(CudaBackendTest, ABatchThatFailsIsWaitedForBeforeItsMemoryGoes) {
  Make(1);
  states_[0]->Fail("Run");
  Run(1000);
  absl::MutexLock lock(&states_[0]->mutex);
  EXPECT_EQ(states_[0]->synchronized, 1);
}

}  // namespace
}  // namespace lossd
