// SPDX-License-Identifier: Apache-2.0
//
// Values outside their domain, which the kernel finds in its one pass, and the
// evaluations that share a batch with them.

#include <atomic>
#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

TestEvaluation Bce(const std::vector<double>& input,
                   const std::vector<double>& target) {
  const Shape shape = {static_cast<int64_t>(input.size())};
  TestEvaluation evaluation("binary_cross_entropy");
  evaluation.Set("input", Floats(shape, input));
  evaluation.Set("target", Floats(shape, target));
  return evaluation;
}

constexpr char kInput[] = "evaluation.binary_cross_entropy.input";
constexpr char kTarget[] = "evaluation.binary_cross_entropy.target";

std::string Refusal(const TestEvaluation& evaluation,
                    const std::string& field) {
  return OnlyRefusal(evaluation, Reason::kValueOutOfRange, field);
}

TEST(DomainTest, TheFirstValueOutsideIsNamedAndAllAreCounted) {
  EXPECT_EQ(Refusal(Bce({0, 1, 1.5, 0.5}, {0, 1, 0, 1}), kInput),
            "input[2] = 1.5 is outside [0, 1]. 1 of 4 values is out of range. "
            "For logits use binary_cross_entropy_with_logits.");
  EXPECT_EQ(Refusal(Bce({0.5, 0.5, 0.5}, {0, -1, 2}), kTarget),
            "target[1] = -1 is outside [0, 1]. 2 of 3 values are out of range. "
            "Send 0 for no and 1 for yes.");
}

TEST(DomainTest, TheEndsAreInside) {
  EXPECT_TRUE(Refuse(Bce({0, 1, -0.0, 0.5}, {1, 0, -0.0, 1})).empty());
}

TEST(DomainTest, AValueJustOutsideDoesNotReadAsIfItWereInside) {
  const std::string words =
      Refusal(Bce({0.5, std::nextafter(1.0f, 2.0f)}, {0, 0}), kInput);
  EXPECT_THAT(words, testing::HasSubstr("input[1] = 1.0000001"));
}

TEST(DomainTest, NanIsOutside) {
  EXPECT_THAT(Refusal(Bce({NAN}, {0}), kInput),
              testing::HasSubstr("input[0] = nan is outside [0, 1]. 1 of 1 "));
}

TEST(DomainTest, EveryPlaceIsLookedAt) {
  for (const size_t place : {0, 15, 16, 1023, 1024, 1040}) {
    std::vector<double> input(1041, 0.5);
    input[place] = -0.25;
    EXPECT_THAT(Refusal(Bce(input, std::vector<double>(1041, 1)), kInput),
                testing::HasSubstr("input[" + std::to_string(place) + "] = "));
  }
}

TEST(DomainTest, TwoTensorsAreTwoViolations) {
  const Violations violations = Refuse(Bce({2, 2}, {2, 0}));
  ASSERT_EQ(violations.count(), 2);
  EXPECT_EQ(violations.kept()[0].field, kInput);
  EXPECT_EQ(violations.kept()[1].field, kTarget);
}

TEST(DomainTest, ValuesAreWithheldIfTheCallerOwnsLabels) {
  const Violations violations =
      Refuse(Bce({0.5, 0.5}, {1, 77}), DefaultEngine(), true);
  EXPECT_EQ(OnlyRefusal(violations, Reason::kValueOutOfRange, kTarget),
            "target[1] = (withheld) is outside [0, 1]. 1 of 2 values is out of "
            "range. Send 0 for no and 1 for yes.");
}

std::unique_ptr<Task> Prepare(const TestEvaluation& evaluation) {
  Violations violations;
  auto task = DefaultEngine().Prepare(evaluation.Make(), &violations);
  EXPECT_NE(task, nullptr);
  return task;
}

TEST(BatchTest, ABadEvaluationDoesNotShowInItsMates) {
  const SampleCase first = SampleCases(Dtype::kFloat32)[2];  // of the same loss
  const SampleCase last = SampleCases(Dtype::kFloat64)[5];
  const TestEvaluation mates[] = {first.All().Gradient(),
                                  last.All().Gradient()};
  const TestEvaluation bad = Bce({7, NAN}, {0, 0}).Gradient();
  const auto a = Prepare(mates[0]);
  const auto b = Prepare(bad);
  const auto c = Prepare(mates[1]);
  Task* tasks[] = {a.get(), b.get(), c.get()};
  DefaultEngine().Run(tasks);
  EXPECT_EQ(b->violations.count(), 1);
  EXPECT_TRUE(a->violations.empty());
  EXPECT_TRUE(c->violations.empty());
  EXPECT_EQ(Digest(a->result), Digest(Answer(mates[0])));
  EXPECT_EQ(Digest(c->result), Digest(Answer(mates[1])));
}

TEST(BatchTest, TheResultOfABadEvaluationIsNotFilledIn) {
  const TestEvaluation evaluation = Bce({7}, {0});  // holds the tensors
  const auto bad = Prepare(evaluation);
  Task* tasks[] = {bad.get()};
  DefaultEngine().Run(tasks);
  EXPECT_EQ(bad->result.loss, std::nullopt);
  EXPECT_EQ(bad->result.mean_numerator, std::nullopt);
}

TEST(BatchTest, EveryLossInOneBatchAnswersAsAlone) {
  const std::vector<SampleCase> cases = SampleCases(Dtype::kFloat32);
  std::vector<std::unique_ptr<Task>> owned;
  std::vector<TestEvaluation> evaluations;
  std::vector<Task*> tasks;
  for (const SampleCase& each : cases) {
    evaluations.push_back(each.All().Gradient());
    owned.push_back(Prepare(evaluations.back()));
    tasks.insert(tasks.begin(), owned.back().get());
  }
  DefaultEngine().Run(tasks);
  for (size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(Digest(owned[i]->result), Digest(Answer(evaluations[i])))
        << cases[i].name;
  }
}

TEST(BatchTest, EachTaskIsReportedOnceWithItsResultWhenItIsDone) {
  const std::vector<SampleCase> cases = SampleCases(Dtype::kFloat32);
  std::vector<TestEvaluation> evaluations;
  std::vector<std::unique_ptr<Task>> owned;
  std::vector<Task*> tasks;
  for (const SampleCase& each : cases) {
    evaluations.push_back(each.All().Gradient());
    owned.push_back(Prepare(evaluations.back()));
    tasks.push_back(owned.back().get());
  }
  std::vector<std::atomic<int>> reports(tasks.size());
  DefaultEngine().Run(tasks, [&](size_t index) {
    EXPECT_TRUE(tasks[index]->result.loss.has_value() ||
                tasks[index]->result.loss_tensor.present());
    ++reports[index];
  });
  for (const auto& count : reports) EXPECT_EQ(count, 1);
}

TEST(BatchTest, AnEmptyBatchIsNothing) { DefaultEngine().Run({}); }

}  // namespace
}  // namespace lossd
