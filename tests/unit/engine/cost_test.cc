// SPDX-License-Identifier: Apache-2.0
//
// Small requests that ask for large work are refused from their shapes, before
// memory is taken for them; what just keeps a limit is not. The program counts
// what it allocates.

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/engine_test_support.h"

namespace {

std::atomic<size_t> live_bytes{0};
std::atomic<size_t> peak_bytes{0};

void* Count(void* block) {
  if (block == nullptr) std::abort();
  const size_t live = live_bytes += malloc_usable_size(block);
  size_t peak = peak_bytes;
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live)) {
  }
  return block;
}

void Discount(void* block) {
  if (block == nullptr) return;
  live_bytes -= malloc_usable_size(block);
  std::free(block);
}

}  // namespace

void* operator new(size_t size) { return Count(std::malloc(size + !size)); }
void* operator new[](size_t size) { return Count(std::malloc(size + !size)); }
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return Count(std::malloc(size + !size));
}
void* operator new[](size_t size, const std::nothrow_t&) noexcept {
  return Count(std::malloc(size + !size));
}
void operator delete(void* block) noexcept { Discount(block); }
void operator delete[](void* block) noexcept { Discount(block); }
void operator delete(void* block, size_t) noexcept { Discount(block); }
void operator delete[](void* block, size_t) noexcept { Discount(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept {
  Discount(block);
}
void operator delete[](void* block, const std::nothrow_t&) noexcept {
  Discount(block);
}

namespace lossd {
namespace {

// What nothing is to take that is refused, or only prepared.
constexpr size_t kLittle = 64 << 10;

// How far memory in use grew above what it was before.
size_t GrowthDuring(const std::function<void()>& work) {
  const size_t before = live_bytes;
  peak_bytes = before;
  work();
  return peak_bytes - before;
}

// What Prepare says, which takes little memory whatever it says.
std::unique_ptr<Task> Prepare(const Evaluation& evaluation,
                              const EngineLimits& limits,
                              Violations* violations) {
  const Engine engine = MakeEngine(limits);
  std::unique_ptr<Task> task;
  EXPECT_LE(
      GrowthDuring([&] { task = engine.Prepare(evaluation, violations); }),
      kLittle);
  EXPECT_EQ(task == nullptr, !violations->empty());
  return task;
}

// The violations of an evaluation that is over some limit, all of them.
Violations Refusals(const Evaluation& evaluation,
                    const EngineLimits& limits = EngineLimits()) {
  Violations violations;
  EXPECT_EQ(Prepare(evaluation, limits, &violations), nullptr);
  for (const Violation& violation : violations.kept()) {
    EXPECT_EQ(violation.reason, Reason::kLimitExceeded) << violation.field;
  }
  EXPECT_TRUE(violations.metadata().contains("limit"));
  EXPECT_TRUE(violations.metadata().contains("actual"));
  return violations;
}

std::string Metadata(const Violations& violations, const std::string& key) {
  const auto found = violations.metadata().find(key);
  return found == violations.metadata().end() ? "" : found->second;
}

// Limits that nothing here is over.
// The ordinary limits but that of elements.
EngineLimits AnyElements() {
  EngineLimits limits;
  limits.max_elements = INT64_MAX;
  return limits;
}

EngineLimits NoLimits() {
  EngineLimits limits = AnyElements();
  limits.max_operations = 1e300;
  limits.max_response_bytes = INT64_MAX;
  limits.max_scratch_bytes = INT64_MAX;
  return limits;
}

// The evaluation is taken at limits of what it costs, and refused just below
// each of them, with the limit and what it costs.
void ExpectThatItsCostDecides(const Evaluation& evaluation) {
  Violations none;
  const auto task = Prepare(evaluation, NoLimits(), &none);
  ASSERT_NE(task, nullptr);
  EngineLimits exact = AnyElements();
  exact.max_operations = task->cost.operations;
  exact.max_scratch_bytes = task->cost.scratch_bytes;
  exact.max_response_bytes = task->response_bytes;
  EXPECT_NE(Prepare(evaluation, exact, &none), nullptr);
  const auto expect = [&](const EngineLimits& limits, double actual) {
    const Violations violations = Refusals(evaluation, limits);
    EXPECT_EQ(violations.count(), 1);
    EXPECT_EQ(Metadata(violations, "actual"), Violations::NumberName(actual));
    EXPECT_EQ(Metadata(violations, "limit"),
              Violations::NumberName(actual - 1));
  };
  EngineLimits limits = exact;
  limits.max_operations -= 1;
  expect(limits, exact.max_operations);
  limits = exact;
  limits.max_scratch_bytes -= 1;
  expect(limits, static_cast<double>(exact.max_scratch_bytes));
  limits = exact;
  limits.max_response_bytes -= 1;
  expect(limits, static_cast<double>(exact.max_response_bytes));
}

// A tensor without its data, for Evaluation::validate_only.
TensorView Declared(Dtype dtype, const Shape& shape) {
  TensorView view;
  view.dtype = dtype;
  view.shape = shape;
  view.elements = ElementCount(shape).value();
  return view;
}

Evaluation Declare(absl::string_view loss,
                   const std::vector<TensorView>& views) {
  Evaluation evaluation;
  evaluation.loss = FindLoss(loss);
  evaluation.validate_only = true;
  evaluation.arguments.parameters.resize(
      evaluation.loss->schema.parameters.size());
  for (size_t i = 0; i < views.size(); ++i) {
    evaluation.arguments.tensors[i] = views[i];
  }
  return evaluation;
}

Evaluation DeclareFloats(absl::string_view loss,
                         const std::vector<Shape>& shapes) {
  std::vector<TensorView> views;
  views.reserve(shapes.size());
  for (const Shape& shape : shapes) {
    views.push_back(Declared(Dtype::kFloat32, shape));
  }
  return Declare(loss, views);
}

TEST(CountingTest, AllocationsAreSeen) {
  EXPECT_GE(GrowthDuring([] { std::vector<char> block(10 << 20); }),
            size_t{10} << 20);
}

// 0.8 MB of scores, 1e10 pairs.
TestEvaluation Ranking(int64_t first = 100000, int64_t second = 100000) {
  TestEvaluation evaluation("margin_ranking_loss");
  evaluation.Set("input1", Filled(Dtype::kFloat32, {first, 1}, 1));
  evaluation.Set("input2", Filled(Dtype::kFloat32, {1, second}, 0));
  evaluation.Set("target", Floats({1, 1}, {1}));
  return evaluation;
}

TEST(RankingCostTest, TheLossesOfAllPairsAreOverTheBytesOfAnAnswer) {
  const Violations violations =
      Refusals(Ranking().Reduce(Reduction::kNone).Make(), AnyElements());
  EXPECT_EQ(
      OnlyRefusal(violations, Reason::kLimitExceeded, "evaluation.outputs"),
      "the answer has too many bytes: 40000000000, but this server takes "
      "at most 67108864: split the evaluation, or ask for less in "
      "outputs and wrt.");
  EXPECT_EQ(Metadata(violations, "actual"), "40000000000");
  EXPECT_EQ(Metadata(violations, "limit"), "67108864");
}

TEST(RankingCostTest, TheGradientsOfAllPairsAreOverTheBytesOfScratch) {
  const Violations violations =
      Refusals(Ranking().Gradient().Make(), AnyElements());
  ASSERT_EQ(violations.count(), 1);
  EXPECT_EQ(violations.kept()[0].field, "evaluation");
  EXPECT_EQ(Metadata(violations, "actual"), "160156381072");
  EXPECT_EQ(Metadata(violations, "limit"), "268435456");
}

TEST(RankingCostTest, WhatJustKeepsTheLimitsIsTaken) {
  Violations violations;
  EngineLimits limits;
  // 64 MiB of losses.
  EXPECT_NE(Prepare(Ranking(4096, 4096).Reduce(Reduction::kNone).Make(), limits,
                    &violations),
            nullptr);
  EXPECT_EQ(
      Refusals(Ranking(4096, 4097).Reduce(Reduction::kNone).Make()).count(), 1);
  // 256 MiB of gradients before they are summed.
  EXPECT_NE(Prepare(Ranking(4096, 4090).Gradient().Make(), limits, &violations),
            nullptr);
  EXPECT_EQ(Refusals(Ranking(4096, 4091).Gradient().Make()).count(), 1);
}

TEST(RankingCostTest, EachLimitIsKeptToTheLastUnit) {
  ExpectThatItsCostDecides(Ranking().Make());
  ExpectThatItsCostDecides(Ranking().Gradient().Make());
  ExpectThatItsCostDecides(Ranking().Reduce(Reduction::kNone).Make());
}

TEST(RankingCostTest, PairsBeyondAnyRangeAreTooMany) {
  const int64_t most = EngineLimits().max_elements;
  const Violations violations = Refusals(
      DeclareFloats("margin_ranking_loss", {{most, 1}, {1, most}, {1, 1}}));
  EXPECT_EQ(violations.kept()[0].description,
            "the evaluation has too many elementwise losses: "
            "1152921504606846976, but this server takes at most 1073741824: "
            "split it.");
}

TEST(RankingCostTest, AllPairsAreTooManyElementwiseLosses) {
  EXPECT_EQ(OnlyRefusal(Refusals(Ranking().Make()), Reason::kLimitExceeded,
                        "evaluation"),
            "the evaluation has too many elementwise losses: 10000000000, but "
            "this server takes at most 1073741824: split it.");
}

// No bytes at all, and a shape of more elements than 64 bits can count.
TEST(RankingCostTest, AShapeBeyondSixtyFourBitsComesWithLimitAndActual) {
  const int64_t huge = int64_t{1} << 62;
  const Violations violations = Refusals(DeclareFloats(
      "margin_ranking_loss", {{huge, 1, 0}, {1, huge, 0}, {1, 1, 0}}));
  EXPECT_EQ(violations.count(), 1);
}

// One sequence of two classes, of which 0 is the blank.
TestEvaluation Ctc(int64_t steps, int64_t labels, double input_length,
                   double target_length) {
  TestEvaluation evaluation("ctc_loss");
  evaluation.Set("log_probs", Filled(Dtype::kFloat32, {steps, 1, 2}, -1));
  evaluation.Set("targets", Filled(Dtype::kUint8, {1, labels}, 1));
  evaluation.Set("input_lengths", Indices({1}, {input_length}));
  evaluation.Set("target_lengths", Indices({1}, {target_length}));
  return evaluation;
}

TEST(CtcCostTest, AMillionStepsOfAMillionLabelsAreRefused) {
  const TestEvaluation evaluation = Ctc(1000000, 1000000, 1e6, 1e6);
  const Violations violations = Refusals(evaluation.Make());
  ASSERT_EQ(violations.count(), 2);
  EXPECT_EQ(violations.kept()[0].description,
            "the evaluation needs too many operations: 300000230000001, but "
            "this server takes at most 1000000000000: split it.");
  EXPECT_EQ(violations.kept()[1].description,
            "the evaluation needs too many bytes of scratch: 16000488003056, "
            "but this server takes at most 268435456: split it.");
  EXPECT_EQ(Metadata(violations, "actual"), "300000230000001");
  EXPECT_EQ(Metadata(violations, "limit"), "1000000000000");
  ExpectThatItsCostDecides(evaluation.Make());
  TestEvaluation gradient = evaluation;
  ExpectThatItsCostDecides(gradient.Gradient().Make());
}

TEST(CtcCostTest, ShapesAloneAreRefusedAlike) {
  const Violations violations =
      Refusals(Declare("ctc_loss", {Declared(Dtype::kFloat32, {1000000, 1, 2}),
                                    Declared(Dtype::kInt64, {1, 1000000}),
                                    Declared(Dtype::kInt64, {1}),
                                    Declared(Dtype::kInt64, {1})}));
  EXPECT_EQ(violations.count(), 2);
  EXPECT_EQ(Metadata(violations, "actual"), "300000230000001");
}

// The labels that count are those that the lengths take.
TEST(CtcCostTest, LabelsThatPadCostNothing) {
  Violations violations;
  EXPECT_NE(
      Prepare(Ctc(1000, 1000000, 1000, 10).Make(), EngineLimits(), &violations),
      nullptr);
  EXPECT_EQ(Refusals(Ctc(1000, 1000000, 1000, 1e6).Make()).count(), 1);
}

TEST(CtcCostTest, WhatIsBeyondSixtyFourBitsIsRefusedToo) {
  const int64_t most = EngineLimits().max_elements;
  const Violations violations =
      Refusals(Declare("ctc_loss", {Declared(Dtype::kFloat16, {most, 1, 1}),
                                    Declared(Dtype::kUint8, {1, most}),
                                    Declared(Dtype::kUint8, {1}),
                                    Declared(Dtype::kUint8, {1})}));
  EXPECT_EQ(violations.count(), 2);
}

// A step and a label of each of many sequences.
double SecondsOfCtc(const Shape& targets) {
  const int64_t sequences = 20000;
  TestEvaluation evaluation("ctc_loss");
  evaluation.Set("log_probs", Filled(Dtype::kFloat32, {1, sequences, 2}, -1));
  evaluation.Set("targets", Filled(Dtype::kUint8, targets, 1));
  evaluation.Set("input_lengths", Filled(Dtype::kUint8, {sequences}, 1));
  evaluation.Set("target_lengths", Filled(Dtype::kUint8, {sequences}, 1));
  const std::clock_t begin = std::clock();
  Answer(evaluation);
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

TEST(CtcCostTest, LabelsOneAfterTheOtherTakeHardlyLongerThanPaddedOnes) {
  SecondsOfCtc({20000, 1});
  EXPECT_LT(SecondsOfCtc({20000}), 10 * SecondsOfCtc({20000, 1}) + 0.01);
}

TestEvaluation Multilabel(int64_t classes, int64_t targets) {
  std::vector<double> labels(static_cast<size_t>(classes), -1);
  for (int64_t i = 0; i < targets; ++i) {
    labels[static_cast<size_t>(i)] = static_cast<double>(2 * i % classes);
  }
  TestEvaluation evaluation("multilabel_margin_loss");
  evaluation.Set("input", Filled(Dtype::kFloat32, {1, classes}, 0));
  evaluation.Set("target", TestTensor(Dtype::kInt32, {1, classes}, labels));
  return evaluation;
}

TEST(MultilabelCostTest, HalfAMillionOfAMillionClassesAreRefused) {
  const Violations violations = Refusals(Multilabel(1000000, 500000).Make());
  EXPECT_EQ(OnlyRefusal(violations, Reason::kLimitExceeded, "evaluation"),
            "the evaluation needs too many operations: 6000012000001, but this "
            "server takes at most 1000000000000: split it.");
  EXPECT_EQ(Metadata(violations, "actual"), "6000012000001");
  EXPECT_EQ(Metadata(violations, "limit"), "1000000000000");
  ExpectThatItsCostDecides(Multilabel(1000000, 500000).Gradient().Make());
}

TEST(MultilabelCostTest, AsManyAsTheLimitAllowsAreTaken) {
  Violations violations;
  // 12 * (targets + 1) * classes + 1 operations.
  EXPECT_NE(
      Prepare(Multilabel(1000000, 83332).Make(), EngineLimits(), &violations),
      nullptr);
  EXPECT_EQ(Refusals(Multilabel(1000000, 83333).Make()).count(), 1);
}

TEST(ShapeCostTest, RowsOfNothingAreLimitedInEveryLossOverRows) {
  for (const char* loss : {"multilabel_soft_margin_loss", "triplet_margin_loss",
                           "triplet_margin_with_distance_loss"}) {
    for (const int64_t rows : {int64_t{1} << 31, int64_t{1} << 62, INT64_MAX}) {
      Evaluation evaluation =
          DeclareFloats(loss, {{rows, 0}, {rows, 0}, {rows, 0}});
      if (evaluation.loss->schema.tensors[2].role == TensorRole::kWeight) {
        evaluation.arguments.tensors[2] = TensorView();
      }
      EXPECT_GE(Refusals(evaluation).count(), 1) << loss << rows;
    }
  }
}

// No rows of that length, in every loss over rows.
std::vector<Evaluation> NoRows(int64_t length) {
  const TensorView rows = Declared(Dtype::kFloat32, {0, length});
  const TensorView numbers = Declared(Dtype::kFloat32, {0});
  const TensorView indices = Declared(Dtype::kInt64, {0});
  return {
      Declare("clipped_policy_loss", {rows, rows, TensorView(), rows}),
      Declare("cosine_embedding_loss", {rows, rows, numbers}),
      Declare("cross_entropy", {rows, indices}),
      Declare("multi_margin_loss", {rows, indices}),
      Declare("multilabel_margin_loss",
              {rows, Declared(Dtype::kInt64, {0, length})}),
      Declare("multilabel_soft_margin_loss", {rows, rows}),
      Declare("nll_loss", {rows, indices}),
      Declare("triplet_margin_loss", {rows, rows, rows}),
      Declare("triplet_margin_with_distance_loss", {rows, rows, rows}),
  };
}

TEST(ShapeCostTest, NoRowsAreLimitedByTheirLengthWhateverItIs) {
  for (const int power : {22, 40, 55, 56, 57, 58, 59, 60, 61, 62}) {
    for (const Evaluation& evaluation : NoRows(int64_t{1} << power)) {
      EXPECT_GE(Refusals(evaluation).count(), 1)
          << evaluation.loss->schema.name << " of [0, 2^" << power << "]";
    }
  }
}

}  // namespace
}  // namespace lossd
