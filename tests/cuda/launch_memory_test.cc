// SPDX-License-Identifier: Apache-2.0
//
// A kernel on the machine of fibers that leaves what its launch owns is ended
// by AddressSanitizer at once: each test spoils the launch of a batch of three,
// in its middle.

#include "tests/cuda/simt/launch_memory.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "tests/cuda/simt/simt_engine.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

using cuda::JobDescriptor;
using cuda::TensorDescriptor;
using Spoil = std::function<void(JobDescriptor* middle, cuda::Launch* launch)>;

// A device of fibers that is told something else about a batch's second job.
class SpoiledDevice : public cuda::Device {
 public:
  // Puts the first failure into `failure`, which must outlive it.
  SpoiledDevice(std::unique_ptr<cuda::Device> of, Spoil spoil,
                absl::Status* failure)
      : of_(std::move(of)), spoil_(std::move(spoil)), failure_(failure) {}

  const cuda::DeviceInfo& info() const override { return of_->info(); }
  absl::StatusOr<uint8_t*> Allocate(int64_t bytes) override {
    return of_->Allocate(bytes);
  }
  void Free(uint8_t* memory) override { of_->Free(memory); }
  absl::StatusOr<uint8_t*> AllocateHost(int64_t bytes) override {
    return of_->AllocateHost(bytes);
  }
  void FreeHost(uint8_t* memory) override { of_->FreeHost(memory); }
  absl::Status PinHost(uint8_t* memory, int64_t bytes) override {
    return of_->PinHost(memory, bytes);
  }
  absl::Status UnpinHost(uint8_t* memory) override {
    return of_->UnpinHost(memory);
  }
  absl::StatusOr<Event> CreateEvent() override { return of_->CreateEvent(); }
  void DestroyEvent(Event event) override { of_->DestroyEvent(event); }
  absl::Status Record(Stream stream, Event event) override {
    return of_->Record(stream, event);
  }
  absl::StatusOr<absl::Duration> Elapsed(Event from, Event to) override {
    return of_->Elapsed(from, to);
  }
  absl::StatusOr<Stream> CreateStream() override { return of_->CreateStream(); }
  void DestroyStream(Stream stream) override { of_->DestroyStream(stream); }
  absl::Status CopyToDevice(Stream stream, uint8_t* to, const uint8_t* from,
                            int64_t bytes) override {
    return of_->CopyToDevice(stream, to, from, bytes);
  }
  absl::Status CopyToHost(Stream stream, uint8_t* to, const uint8_t* from,
                          int64_t bytes) override {
    return of_->CopyToHost(stream, to, from, bytes);
  }
  absl::Status Run(Stream stream, const cuda::Launch& launch) override {
    cuda::Launch spoiled = launch;
    spoil_(const_cast<JobDescriptor*>(launch.batch.jobs) + 1, &spoiled);
    failure_->Update(of_->Run(stream, spoiled));
    return *failure_;
  }
  absl::Status Synchronize(Stream stream) override {
    return of_->Synchronize(stream);
  }

 private:
  const std::unique_ptr<cuda::Device> of_;
  const Spoil spoil_;
  absl::Status* const failure_;
};

// Runs the evaluation three times in a batch; what the device says.
absl::Status RunSpoiled(const TestEvaluation& evaluation, const Spoil& spoil) {
  simt::Machine machine(1);
  absl::Status failure;
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(simt::MakeSimtBackend(std::make_unique<SpoiledDevice>(
      simt::MakeFiberDevice(&machine), spoil, &failure)));
  const Engine engine(EngineLimits(), std::move(backends), DeviceClass::kCuda);
  std::vector<std::unique_ptr<Task>> owned;
  std::vector<Task*> tasks;
  for (int i = 0; i < 3; ++i) {
    Violations violations;
    owned.push_back(engine.Prepare(evaluation.Make(), &violations));
    EXPECT_NE(owned.back(), nullptr);
    tasks.push_back(owned.back().get());
  }
  engine.Run(tasks);
  return failure;
}

TestEvaluation Mse(Dtype dtype) {
  TestEvaluation evaluation("mse_loss");
  evaluation.Set("input", Filled(dtype, {7, 3}, 0.5))
      .Set("target", Filled(dtype, {7, 3}, 0.25))
      .Ask({Output::kLoss, Output::kElementwiseLosses, Output::kGradients})
      .Gradient({"input"});
  return evaluation;
}

// In rows of five, widened from half precision in the group's scratch.
TestEvaluation Cosine() {
  TestEvaluation evaluation("cosine_embedding_loss");
  evaluation.Set("input1", Filled(Dtype::kFloat16, {7, 5}, 0.5))
      .Set("input2", Filled(Dtype::kFloat16, {7, 5}, 0.25))
      .Set("target", Filled(Dtype::kFloat16, {7}, 1))
      .Gradient({"input1"});
  return evaluation;
}

class LaunchMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!simt::LaunchMemory::IsWatched()) {
      GTEST_SKIP() << "there is no AddressSanitizer in this build";
    }
  }
};
using LaunchMemoryDeathTest = LaunchMemoryTest;

TEST_F(LaunchMemoryTest, WhatIsNotSpoiledRuns) {
  const Spoil nothing = [](JobDescriptor*, cuda::Launch*) {};
  EXPECT_TRUE(RunSpoiled(Mse(Dtype::kFloat16), nothing).ok());
  EXPECT_TRUE(RunSpoiled(Mse(Dtype::kFloat64), nothing).ok());
  EXPECT_TRUE(RunSpoiled(Cosine(), nothing).ok());
}

// There is room for an element behind each tensor, which the next one, aligned
// to 256 bytes, leaves.
TEST_F(LaunchMemoryDeathTest, AnElementBehindATensorIsNotRead) {
  for (const Dtype dtype : {Dtype::kFloat16, Dtype::kFloat32}) {
    EXPECT_DEATH(RunSpoiled(Mse(dtype),
                            [](JobDescriptor* job, cuda::Launch*) {
                              job->direct = false;
                              ++job->element_count;
                            })
                     .IgnoreError(),
                 dtype == Dtype::kFloat16 ? "use-after-poison.*READ of size 2"
                                          : "use-after-poison.*READ of size 4");
  }
}

TEST_F(LaunchMemoryDeathTest, PacketsEndWithTheTensor) {
  EXPECT_DEATH(RunSpoiled(Mse(Dtype::kFloat32),
                          [](JobDescriptor* job, cuda::Launch*) {
                            ++job->element_count;
                          })
                   .IgnoreError(),
               "use-after-poison.*READ of size");
}

TEST_F(LaunchMemoryDeathTest, AnElementBehindAnOutputIsNotWritten) {
  EXPECT_DEATH(RunSpoiled(Mse(Dtype::kFloat32),
                          [](JobDescriptor* job, cuda::Launch*) {
                            for (TensorDescriptor& tensor : job->tensors) {
                              tensor.layout = TensorDescriptor::Layout::kOne;
                            }
                            job->direct = false;
                            ++job->element_count;
                          })
                   .IgnoreError(),
               "use-after-poison.*WRITE of size 4");
}

TEST_F(LaunchMemoryDeathTest, AnElementBehindTheLastRowIsNotRead) {
  EXPECT_DEATH(RunSpoiled(Cosine(), [](JobDescriptor* job,
                                       cuda::Launch*) { ++job->row_length; })
                   .IgnoreError(),
               "use-after-poison.*READ of size 2");
}

TEST_F(LaunchMemoryDeathTest, ATensorThatEndsTooSoonIsSeen) {
  EXPECT_DEATH(
      RunSpoiled(Cosine(), [](JobDescriptor* job,
                              cuda::Launch*) { --job->tensors[1].elements; })
          .IgnoreError(),
      "use-after-poison.*READ of size 2");
}

TEST_F(LaunchMemoryDeathTest, ScratchEndsWithTheLastGroups) {
  EXPECT_DEATH(RunSpoiled(Cosine(),
                          [](JobDescriptor*, cuda::Launch* launch) {
                            launch->batch.scratch_bytes = 64;
                          })
                   .IgnoreError(),
               "use-after-poison.*WRITE of size 8");
}

TEST_F(LaunchMemoryTest, WhatIsClaimedTwiceOrIsNotTheDevicesIsRefused) {
  EXPECT_EQ(RunSpoiled(Mse(Dtype::kFloat32),
                       [](JobDescriptor* job, cuda::Launch*) {
                         job->losses.data = job->gradients[0].data + 4;
                       })
                .message(),
            "lossd_mse_loss_warp_float has memory of two uses");
  static float elsewhere[21];
  EXPECT_EQ(RunSpoiled(Mse(Dtype::kFloat32),
                       [](JobDescriptor* job, cuda::Launch*) {
                         job->losses.data =
                             reinterpret_cast<uint8_t*>(elsewhere);
                       })
                .message(),
            "lossd_mse_loss_warp_float has memory that is not "
            "the device's");
}

}  // namespace
}  // namespace lossd
