// SPDX-License-Identifier: Apache-2.0
//
// What the engine refuses before it runs anything, word for word.

#include "server/engine/validation.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

using testing::HasSubstr;

TestEvaluation Mse() {
  TestEvaluation evaluation("mse_loss");
  evaluation.Set("input", Floats({2}, {1, 2}));
  evaluation.Set("target", Floats({2}, {0, 0}));
  return evaluation;
}

TestEvaluation CrossEntropy() {
  TestEvaluation evaluation("cross_entropy");
  evaluation.Set("input", Floats({2, 2}, {1, 2, 3, 4}));
  evaluation.Set("target", Indices({2}, {0, 1}));
  return evaluation;
}

TEST(TensorValidationTest, AMissingTensorIsNamed) {
  TestEvaluation evaluation("mse_loss");
  evaluation.Set("input", Floats({1}, {0}));
  EXPECT_EQ(OnlyRefusal(evaluation, Reason::kTensorMissing,
                        "evaluation.mse_loss.target"),
            "target is missing: mse_loss needs it.");
}

TEST(TensorValidationTest, EveryMissingTensorIsNamedAtOnce) {
  const Violations violations = Refuse(TestEvaluation("triplet_margin_loss"));
  ASSERT_EQ(violations.count(), 3);
  EXPECT_EQ(violations.kept()[0].field,
            "evaluation.triplet_margin_loss.anchor");
  EXPECT_EQ(violations.kept()[2].field,
            "evaluation.triplet_margin_loss.negative");
}

TEST(DtypeValidationTest, IntegerTargetsOfAFloatingLossGetTheModelWording) {
  TestEvaluation evaluation("binary_cross_entropy_with_logits");
  evaluation.Set("input", Floats({2}, {1, 2}));
  evaluation.Set("target", Indices({2}, {0, 1}));
  EXPECT_EQ(
      OnlyRefusal(evaluation, Reason::kDtypeMismatch,
                  "evaluation.binary_cross_entropy_with_logits.target"),
      "target has dtype int64, but binary_cross_entropy_with_logits needs the "
      "dtype of input (float32): send 0 and 1 as float32.");
}

TEST(DtypeValidationTest, IntegerTargetsThatAreNoLabelsAreSentAsTheyAre) {
  TestEvaluation evaluation = Mse();
  evaluation.Set("target", Indices({2}, {0, 7}));
  EXPECT_EQ(OnlyRefusal(evaluation, Reason::kDtypeMismatch,
                        "evaluation.mse_loss.target"),
            "target has dtype int64, but mse_loss needs the dtype of input "
            "(float32): send it as float32.");
}

TEST(DtypeValidationTest, LengthsAreIntegers) {
  TestEvaluation evaluation("ctc_loss");
  evaluation.Set("log_probs", Floats({1, 1, 2}, {-1, -1}));
  evaluation.Set("targets", Indices({1, 1}, {1}));
  evaluation.Set("input_lengths", Floats({1}, {1}));
  evaluation.Set("target_lengths", Indices({1}, {1}));
  EXPECT_EQ(OnlyRefusal(evaluation, Reason::kDtypeMismatch,
                        "evaluation.ctc_loss.input_lengths"),
            "input_lengths has dtype float32, but ctc_loss needs integers: "
            "int64, int32 or uint8.");
}

TEST(DtypeValidationTest, AllFloatingTensorsShareTheInputsDtype) {
  TestEvaluation evaluation = Mse();
  evaluation.Set("target", Doubles({2}, {0, 0}));
  EXPECT_EQ(OnlyRefusal(evaluation, Reason::kDtypeMismatch,
                        "evaluation.mse_loss.target"),
            "target has dtype float64, but mse_loss needs the dtype of input "
            "(float32).");
}

TEST(DtypeValidationTest, TheInputIsFloating) {
  TestEvaluation evaluation = Mse();
  evaluation.Set("input", Indices({2}, {0, 1}));
  EXPECT_EQ(OnlyRefusal(evaluation, Reason::kDtypeMismatch,
                        "evaluation.mse_loss.input"),
            "input has dtype int64, but mse_loss needs float16, bfloat16, "
            "float32 or float64.");
}

TEST(DtypeValidationTest, ClassIndicesAreIntegers) {
  TestEvaluation nll("nll_loss");
  nll.Set("input", Floats({1, 2}, {0, 0})).Set("target", Floats({1}, {0}));
  EXPECT_EQ(
      OnlyRefusal(nll, Reason::kDtypeMismatch, "evaluation.nll_loss.target"),
      "target has dtype float32, but nll_loss needs class indices: "
      "int64, int32 or uint8.");
  TestEvaluation ce = CrossEntropy();
  ce.Set("target", TestTensor(Dtype::kBool, {2}, {0, 1}));
  EXPECT_EQ(OnlyRefusal(ce, Reason::kDtypeMismatch,
                        "evaluation.cross_entropy.target"),
            "target has dtype bool, but cross_entropy needs class indices "
            "(int64, int32 or uint8) or, for class probabilities, the dtype of "
            "input (float32).");
}

TEST(ParameterValidationTest, AParameterKeepsItsRange) {
  struct Row {
    double value;
    const char* words;
  };
  for (const Row& row : {
           Row{1.5, "label_smoothing = 1.5 is outside [0, 1]."},
           Row{-0.25, "label_smoothing = -0.25 is outside [0, 1]."},
           Row{INFINITY, "label_smoothing = inf is outside [0, 1]."},
           Row{NAN, "label_smoothing = nan is outside [0, 1]."},
       }) {
    TestEvaluation evaluation = CrossEntropy();
    evaluation.Set("label_smoothing", row.value);
    EXPECT_EQ(OnlyRefusal(evaluation, Reason::kParameterOutOfRange,
                          "evaluation.cross_entropy.label_smoothing"),
              row.words);
  }
  for (const double inside : {0.0, 0.5, 1.0}) {
    TestEvaluation evaluation = CrossEntropy();
    evaluation.Set("label_smoothing", inside);
    EXPECT_TRUE(Refuse(evaluation).empty()) << inside;
  }
}

TEST(ParameterValidationTest,
     AParameterJustOutsideDoesNotReadAsIfItWereInside) {
  TestEvaluation evaluation = CrossEntropy();
  evaluation.Set("label_smoothing", 1.0000001);
  EXPECT_THAT(OnlyRefusal(evaluation, Reason::kParameterOutOfRange,
                          "evaluation.cross_entropy.label_smoothing"),
              HasSubstr("= 1.0000001 "));
}

TEST(ParameterValidationTest, OpenEndsAndInfinityAreAsTheSchemaSays) {
  const auto refusals = [](const char* parameter, double value) {
    TestEvaluation evaluation("triplet_margin_loss");
    for (const char* name : {"anchor", "positive", "negative"}) {
      evaluation.Set(name, Floats({1, 2}, {1, 2}));
    }
    evaluation.Set(parameter, value);
    return Refuse(evaluation).count();
  };
  EXPECT_EQ(refusals("margin", 0), 1);
  EXPECT_EQ(refusals("margin", 1e-300), 0);
  EXPECT_EQ(refusals("margin", INFINITY), 1);
  EXPECT_EQ(refusals("p", 0), 1);
  EXPECT_EQ(refusals("p", 0.5), 0);
  EXPECT_EQ(refusals("p", INFINITY), 0);
  EXPECT_EQ(refusals("p", -INFINITY), 1);
  EXPECT_EQ(refusals("eps", INFINITY), 1);
  EXPECT_EQ(refusals("eps", -INFINITY), 1);
  EXPECT_EQ(refusals("eps", -1), 0);
}

TEST(ValidationTest, ShapesAndIndicesAreToldUnderTheLossesField) {
  TestEvaluation evaluation = CrossEntropy();
  evaluation.Set("target", Indices({2}, {0, 2}));
  OnlyRefusal(evaluation, Reason::kTargetOutOfRange,
              "evaluation.cross_entropy.target");
  EXPECT_EQ(Refuse(evaluation).kept()[0].field,
            "evaluation.cross_entropy.target");
  evaluation.Set("target", Indices({3}, {0, 1, 0}));
  EXPECT_EQ(Refuse(evaluation).kept()[0].reason, Reason::kShapeMismatch);
}

TEST(ValidationTest, EverythingThatIsWrongIsToldAtOnce) {
  TestEvaluation evaluation = CrossEntropy();
  evaluation.Set("weight", Doubles({2}, {1, 1}));
  evaluation.Set("label_smoothing", 2.0);
  evaluation.options.device = DeviceClass::kCuda;
  evaluation.options.normalizer = -1;
  evaluation.options.reduction = Reduction::kSum;
  evaluation.options.gradient_dtype = Dtype::kInt64;
  evaluation.Gradient({"weight", "nothing"});
  evaluation.GradOutput(Doubles({}, {1}));
  const Violations violations = Refuse(evaluation);
  std::vector<std::string> fields;
  for (const Violation& each : violations.kept()) fields.push_back(each.field);
  EXPECT_THAT(fields,
              testing::UnorderedElementsAre(
                  "evaluation.device", "evaluation.cross_entropy.weight",
                  "evaluation.cross_entropy.label_smoothing",
                  "evaluation.normalizer", "evaluation.normalizer", "wrt[0]",
                  "wrt[1]", "gradient_dtype", "grad_output"));
}

TEST(ValidationTest, AnAbsentDeviceIsAnErrorNeverAFallback) {
  TestEvaluation evaluation = Mse();
  evaluation.options.device = DeviceClass::kCuda;
  EXPECT_EQ(
      OnlyRefusal(evaluation, Reason::kDeviceUnavailable, "evaluation.device"),
      "device = DEVICE_CUDA, but this server has no CUDA device: leave "
      "device unset, or ask for one that GetServerInfo lists.");
}

TEST(ValidationTest, AnUnspecifiedDeviceIsTheServersDefault) {
  const Engine engine = MakeEngine(EngineLimits(), DeviceClass::kCuda);
  TestEvaluation evaluation = Mse();
  EXPECT_EQ(Refuse(evaluation, engine).kept()[0].reason,
            Reason::kDeviceUnavailable);
  for (const DeviceClass device : {DeviceClass::kCpu, DeviceClass::kAny}) {
    evaluation.options.device = device;
    EXPECT_TRUE(Refuse(evaluation, engine).empty());
  }
}

}  // namespace
}  // namespace lossd
