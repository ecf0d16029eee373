// SPDX-License-Identifier: Apache-2.0
//
// What is too much, found before anything is allocated.

#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

TestEvaluation Mse(const Shape& shape) {
  TestEvaluation evaluation("mse_loss");
  evaluation.Set("input", Filled(Dtype::kFloat32, shape, 1));
  evaluation.Set("target", Filled(Dtype::kFloat32, shape, 0));
  return evaluation;
}

// The count of what is refused under `limits`, all of it over a limit.
int Refusals(const TestEvaluation& evaluation, const EngineLimits& limits) {
  const Violations violations = Refuse(evaluation, MakeEngine(limits));
  for (const Violation& violation : violations.kept()) {
    EXPECT_EQ(violation.reason, Reason::kLimitExceeded);
  }
  EXPECT_EQ(violations.metadata().contains("limit"), !violations.empty());
  EXPECT_EQ(violations.metadata().contains("actual"), !violations.empty());
  return violations.count();
}

TEST(LimitsTest, ElementsOfATensor) {
  EngineLimits limits;
  limits.max_elements = 4;
  EXPECT_EQ(Refusals(Mse({4}), limits), 0);
  const Violations violations = Refuse(Mse({5}), MakeEngine(limits));
  ASSERT_EQ(violations.count(), 2);  // input and target
  EXPECT_EQ(violations.kept()[0].field, "evaluation.mse_loss.input");
  EXPECT_EQ(violations.kept()[0].description,
            "input has too many elements: 5, but this server takes at most 4: "
            "split it.");
  EXPECT_EQ(violations.metadata().at("limit"), "4");
  EXPECT_EQ(violations.metadata().at("actual"), "5");
}

// A view of one element that claims to have more: only its size is looked at.
TEST(LimitsTest, LargeNumbersAreWrittenOut) {
  TestEvaluation evaluation = Mse({1});
  Evaluation claims = evaluation.Make();
  for (TensorView* view :
       {&claims.arguments.tensors[0], &claims.arguments.tensors[1]}) {
    view->elements = (int64_t{1} << 30) + 1;
    view->shape = {view->elements};
  }
  Violations violations;
  EXPECT_EQ(DefaultEngine().Prepare(claims, &violations), nullptr);
  EXPECT_EQ(violations.metadata().at("limit"), "1073741824");
  EXPECT_EQ(violations.metadata().at("actual"), "1073741825");
  EXPECT_EQ(violations.kept()[0].description,
            "input has too many elements: 1073741825, but this server takes at "
            "most 1073741824: split it.");
}

TEST(LimitsTest, DimensionsOfATensor) {
  EngineLimits limits;
  limits.max_dimensions = 2;
  EXPECT_EQ(Refusals(Mse({1, 1}), limits), 0);
  EXPECT_EQ(Refusals(Mse({1, 1, 1}), limits), 2);
  EXPECT_EQ(Refusals(Mse(Shape(17, 1)), EngineLimits()), 2);
  EXPECT_EQ(Refusals(Mse(Shape(16, 1)), EngineLimits()), 0);
}

TEST(LimitsTest, Operations) {
  EngineLimits limits;
  limits.max_operations = 61;  // 6 an element and 1 a leaf
  EXPECT_EQ(Refusals(Mse({10}), limits), 0);
  limits.max_operations = 60;
  EXPECT_EQ(OnlyRefusal(Refuse(Mse({10}), MakeEngine(limits)),
                        Reason::kLimitExceeded, "evaluation"),
            "the evaluation needs too many operations: 61, but this server "
            "takes at most 60: split it.");
}

TEST(LimitsTest, BytesOfTheAnswerFollowFromWhatIsAskedFor) {
  EngineLimits limits;
  limits.max_response_bytes = 40;
  TestEvaluation evaluation = Mse({10});
  EXPECT_EQ(Refusals(evaluation, limits), 0);  // 4
  evaluation.Reduce(Reduction::kNone);
  EXPECT_EQ(Refusals(evaluation, limits), 0);  // 40
  evaluation.Reduce(Reduction::kMean).Gradient();
  EXPECT_EQ(OnlyRefusal(Refuse(evaluation, MakeEngine(limits)),
                        Reason::kLimitExceeded, "evaluation.outputs"),
            "the answer has too many bytes: 44, but this server takes at most "
            "40: split the evaluation, or ask for less in outputs and wrt.");
  evaluation.options.gradient_dtype = Dtype::kFloat16;
  EXPECT_EQ(Refusals(evaluation, limits), 0);  // 4 + 20
  evaluation.Gradient({"input", "target"});
  EXPECT_EQ(Refusals(evaluation, limits), 1);  // 4 + 40
  limits.max_response_bytes = 44;
  EXPECT_EQ(Refusals(evaluation, limits), 0);
  evaluation.options.gradient_dtype = Dtype::kFloat64;
  EXPECT_EQ(Refusals(evaluation, limits), 1);  // 4 + 160
}

TEST(LimitsTest, EveryOutputCountsItsBytes) {
  TestEvaluation plain("cross_entropy");
  plain.Set("input", Filled(Dtype::kFloat16, {3, 5}, 0));
  plain.Set("target", Indices({3}, {0, 1, 2}));
  struct Row {
    Output output;
    int64_t bytes;
  };
  for (const Row& row :
       {Row{Output::kLoss, 2}, Row{Output::kElementwiseLosses, 6},
        Row{Output::kProbabilities, 30}, Row{Output::kLogProbabilities, 30},
        Row{Output::kPredictedClasses, 24}}) {
    TestEvaluation evaluation = plain;
    evaluation.Ask({row.output});
    EngineLimits limits;
    limits.max_response_bytes = row.bytes;
    EXPECT_EQ(Refusals(evaluation, limits), 0) << row.bytes;
    limits.max_response_bytes = row.bytes - 1;
    EXPECT_EQ(Refusals(evaluation, limits), 1) << row.bytes;
  }
}

TEST(LimitsTest, BytesOfScratch) {
  EngineLimits limits;
  limits.max_scratch_bytes = 1000;
  EXPECT_EQ(OnlyRefusal(Refuse(Mse({1}), MakeEngine(limits)),
                        Reason::kLimitExceeded, "evaluation"),
            "the evaluation needs too many bytes of scratch: 131088, but this "
            "server takes at most 1000: split it.");
}

// Rows of nothing take no bytes to send.
TEST(LimitsTest, RowsWithoutElementsAreLimitedToo) {
  for (const int64_t rows :
       {int64_t{1} << 40, int64_t{1} << 60, int64_t{1} << 62, INT64_MAX}) {
    TestEvaluation evaluation("triplet_margin_loss");
    for (const char* name : {"anchor", "positive", "negative"}) {
      evaluation.Set(name, Floats({rows, 0}, {}));
    }
    EXPECT_GE(Refusals(evaluation, EngineLimits()), 1) << rows;
  }
}

TEST(LimitsTest, ALongRowIsLimitedByItsScratch) {
  EngineLimits limits;
  limits.max_scratch_bytes = 1 << 20;
  TestEvaluation evaluation("cross_entropy");
  evaluation.Set("input", Filled(Dtype::kFloat32, {1, 10000}, 0));
  evaluation.Set("target", Indices({1}, {0}));
  EXPECT_EQ(Refusals(evaluation, limits), 1);
  limits.max_scratch_bytes = 2 << 20;
  EXPECT_EQ(Refusals(evaluation, limits), 0);
}

}  // namespace
}  // namespace lossd
