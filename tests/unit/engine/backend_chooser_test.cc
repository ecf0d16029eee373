// SPDX-License-Identifier: Apache-2.0

#include "server/engine/backend_chooser.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/engine/engine.h"
#include "tests/unit/base/fake_clock.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

// A backend that takes a time and computes nothing.
class SeenBackend final : public Backend {
 public:
  struct State {
    bool in_service = true;
    int max_runs = 1;
    int64_t max_evaluation_bytes = 0;
    // What a Run takes of the clock.
    absl::Duration time;
    FakeClock* clock = nullptr;
    DeviceClass device_class = DeviceClass::kCpu;
  };
  explicit SeenBackend(State* state) : state_(*state) {
    description_.max_evaluation_bytes = state->max_evaluation_bytes;
  }

  DeviceClass device_class() const override { return state_.device_class; }
  std::string name() const override { return "seen"; }
  absl::Span<const DeviceDescription> devices() const override {
    return {&description_, 1};
  }
  bool InService(size_t) const override { return state_.in_service; }
  int max_runs() const override { return state_.max_runs; }
  std::shared_ptr<MappingObserver> mapping_observer() override {
    return nullptr;
  }
  void Run(absl::Span<Job* const> jobs,
           absl::FunctionRef<void(const Completion&)> done) override {
    for (size_t i = 0; i < jobs.size(); ++i) {
      std::fill_n(jobs[i]->unit_sums, jobs[i]->units * kMetricSums, 0.0);
      done({.job = i});
    }
    state_.clock->Advance(state_.time);
  }

 private:
  const State& state_;
  DeviceDescription description_;
};

constexpr double kSmall = 1000;
constexpr double kLarge = 1e9;
constexpr size_t kFirst = 0, kSecond = 1;

class BackendChooserTest : public testing::Test {
 protected:
  void Make() {
    for (SeenBackend::State& state : states_) {
      backends_.push_back(std::make_unique<SeenBackend>(&state));
    }
    chooser_ = std::make_unique<BackendChooser>(backends_);
  }
  size_t Choose(double operations) { return chooser_->Choose(operations, 0); }

  SeenBackend::State states_[2];
  std::vector<std::unique_ptr<Backend>> backends_;
  std::unique_ptr<BackendChooser> chooser_;
};

TEST_F(BackendChooserTest, WhatIsNotMeasuredIsTriedOneAtATime) {
  Make();
  EXPECT_EQ(Choose(kSmall), kFirst);
  auto first = chooser_->Give(kFirst, kSmall);
  EXPECT_EQ(Choose(kSmall), kSecond);
  auto second = chooser_->Give(kSecond, kSmall);
  chooser_->Record(kFirst, kSmall, absl::Milliseconds(1));
  EXPECT_EQ(Choose(kSmall), kFirst) << "the other is still being tried";
}

TEST_F(BackendChooserTest, EachSizeHasTheBackendThatIsFasterAtIt) {
  Make();
  chooser_->Record(kFirst, kSmall, absl::Microseconds(1));
  chooser_->Record(kSecond, kSmall, absl::Microseconds(50));
  chooser_->Record(kFirst, kLarge, absl::Milliseconds(500));
  chooser_->Record(kSecond, kLarge, absl::Milliseconds(5));
  EXPECT_EQ(Choose(kSmall), kFirst);
  EXPECT_EQ(Choose(kLarge), kSecond);
}

TEST_F(BackendChooserTest, WorkThatWaitsCountsUntilItIsDone) {
  Make();
  chooser_->Record(kFirst, kLarge, absl::Milliseconds(10));
  chooser_->Record(kSecond, kLarge, absl::Milliseconds(25));
  std::vector<BackendChooser::Load> loads;
  loads.push_back(chooser_->Give(kFirst, kLarge));
  EXPECT_EQ(Choose(kLarge), kFirst) << "20 ms against 25";
  loads.push_back(chooser_->Give(kFirst, kLarge));
  EXPECT_EQ(Choose(kLarge), kSecond) << "30 ms against 25";
  loads.pop_back();
  EXPECT_EQ(Choose(kLarge), kFirst);
}

TEST_F(BackendChooserTest, WhatProceedsAtTheSameTimeDoesNotWait) {
  states_[kFirst].max_runs = 2;
  Make();
  chooser_->Record(kFirst, kLarge, absl::Milliseconds(10));
  chooser_->Record(kSecond, kLarge, absl::Milliseconds(25));
  auto one = chooser_->Give(kFirst, kLarge);
  auto two = chooser_->Give(kFirst, kLarge);
  EXPECT_EQ(Choose(kLarge), kFirst) << "20 ms against 25";
}

TEST_F(BackendChooserTest, WhatTakesLongOnceIsTriedAgain) {
  Make();
  chooser_->Record(kFirst, kSmall, absl::Microseconds(20));
  chooser_->Record(kSecond, kSmall, absl::Milliseconds(200));
  int in_a_row = 0;
  for (int i = 0; in_a_row < 3; ++i) {
    ASSERT_LT(i, 100000);
    in_a_row = Choose(kSmall) == kSecond ? in_a_row + 1 : 0;
    if (in_a_row == 0) continue;
    chooser_->Record(kSecond, kSmall, absl::Microseconds(5));
  }
}

TEST_F(BackendChooserTest, WhatIsSlowIsTriedAsMuchLessOften) {
  Make();
  chooser_->Record(kFirst, kSmall, absl::Microseconds(20));
  chooser_->Record(kSecond, kSmall, absl::Microseconds(200));
  int trials = 0;
  for (int i = 0; i < 100 * BackendChooser::kTrialInterval; ++i) {
    if (Choose(kSmall) == kFirst) continue;
    ++trials;
    chooser_->Record(kSecond, kSmall, absl::Microseconds(200));
  }
  EXPECT_EQ(trials, 10);
}

TEST_F(BackendChooserTest, WhatFailsWhenItIsTriedIsNotTriedEveryTime) {
  Make();
  chooser_->Record(kFirst, kSmall, absl::Microseconds(20));
  EXPECT_EQ(Choose(kSmall), kSecond);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Choose(kSmall), kFirst);
}

TEST_F(BackendChooserTest, WhatIsBusyIsNotTried) {
  Make();
  chooser_->Record(kFirst, kSmall, absl::Microseconds(20));
  chooser_->Record(kSecond, kSmall, absl::Microseconds(40));
  chooser_->Record(kSecond, kLarge, absl::Milliseconds(5));
  const auto busy = chooser_->Give(kSecond, kLarge);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(Choose(kSmall), kFirst);
}

TEST_F(BackendChooserTest, WhatIsOutOfServiceIsNotChosen) {
  Make();
  chooser_->Record(kFirst, kSmall, absl::Microseconds(1));
  chooser_->Record(kSecond, kSmall, absl::Microseconds(50));
  states_[kFirst].in_service = false;
  EXPECT_EQ(Choose(kSmall), kSecond);
}

TEST_F(BackendChooserTest, WhatDoesNotFitIsGivenToTheOther) {
  states_[kFirst].max_evaluation_bytes = 1000;
  Make();
  chooser_->Record(kFirst, kSmall, absl::Microseconds(1));
  chooser_->Record(kSecond, kSmall, absl::Microseconds(50));
  EXPECT_EQ(chooser_->Choose(kSmall, 1000), kFirst);
  EXPECT_EQ(chooser_->Choose(kSmall, 1001), kSecond);
}

TEST_F(BackendChooserTest, AnEngineLearnsFromWhatItRuns) {
  FakeClock clock;
  for (SeenBackend::State& state : states_) state.clock = &clock;
  states_[kFirst].time = absl::Milliseconds(5);
  states_[kSecond].time = absl::Milliseconds(1);
  states_[kSecond].device_class = DeviceClass::kCuda;
  Make();
  const Engine engine(EngineLimits(), std::move(backends_), DeviceClass::kCpu,
                      Engine::kMaxIdleBytes, &clock);
  const auto run = [&](DeviceClass device) {
    TestEvaluation evaluation("mse_loss");
    evaluation.Set("input", Doubles({2}, {1, 2}));
    evaluation.Set("target", Doubles({2}, {1, 2}));
    evaluation.options.device = device;
    Violations violations;
    const auto task = engine.Prepare(evaluation.Make(), &violations);
    Task* const tasks[] = {task.get()};
    engine.Run(tasks);
    return task->backend == engine.backends()[kSecond].get() ? kSecond : kFirst;
  };
  EXPECT_EQ(run(DeviceClass::kAny), kFirst);
  EXPECT_EQ(run(DeviceClass::kAny), kSecond);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(run(DeviceClass::kAny), kSecond);
  // Load has no part in what is asked for, or in the default.
  EXPECT_EQ(run(DeviceClass::kUnspecified), kFirst);
  EXPECT_EQ(run(DeviceClass::kCpu), kFirst);
}

TEST_F(BackendChooserTest, AClockThatStepsBackSaysNothing) {
  Make();
  chooser_->Record(kFirst, kSmall, absl::Microseconds(10));
  chooser_->Record(kSecond, kSmall, absl::Microseconds(50));
  chooser_->Record(kSecond, kSmall, absl::Microseconds(-50));
  EXPECT_EQ(Choose(kSmall), kFirst);
}

}  // namespace
}  // namespace lossd
