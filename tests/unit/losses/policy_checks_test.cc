// SPDX-License-Identifier: Apache-2.0
//
// What the clipped-policy loss says about its arguments, and its denominators.

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/losses/checking.h"

namespace lossd {
namespace {

// Numbers of enums in lossd.v1.ClippedPolicyLoss.
constexpr double kCispo = 2;
constexpr double kSequenceMeanTokenSum = 2;
constexpr double kSequenceMeanTokenMean = 3;
constexpr double kTokenSumConstant = 4;

TestArguments Policy(const Shape& shape, const Shape& advantages) {
  TestArguments test("clipped_policy_loss");
  test.Set("log_probs", Filled(Dtype::kFloat32, shape, -1));
  test.Set("old_log_probs", Filled(Dtype::kFloat32, shape, -1));
  test.Set("advantages", Filled(Dtype::kFloat32, advantages, 1));
  return test;
}

TestTensor Mask(const std::vector<double>& values) {
  return TestTensor(Dtype::kBool, {2, 3}, values);
}

TEST(PolicyChecksTest, LogProbsAreSequencesOfTokens) {
  for (const Shape& shape : {Shape{}, Shape{3}, Shape{1, 2, 3}}) {
    EXPECT_EQ(OnlyViolation(Policy(shape, shape), Reason::kShapeMismatch,
                            "log_probs"),
              "log_probs has shape " + ShapeName(shape) +
                  ", but clipped_policy_loss needs [B, T].");
  }
}

TEST(PolicyChecksTest, AdvantagesAreOfTokensOrOfSequences) {
  EXPECT_TRUE(Check(Policy({2, 3}, {2, 3})).empty());
  EXPECT_TRUE(Check(Policy({2, 3}, {2})).empty());
  for (const Shape& shape : {Shape{3}, Shape{}, Shape{2, 1}, Shape{1, 3}}) {
    EXPECT_EQ(OnlyViolation(Policy({2, 3}, shape), Reason::kShapeMismatch,
                            "advantages"),
              "advantages has shape " + ShapeName(shape) +
                  ", but log_probs of shape [2, 3] needs [2, 3] or [2].");
  }
}

TEST(PolicyChecksTest, EveryOtherTensorHasTheShapeOfLogProbs) {
  for (const char* name : {"old_log_probs", "ref_log_probs", "mask"}) {
    TestArguments test = Policy({2, 3}, {2});
    test.Set(name, Filled(Dtype::kFloat32, {3, 2}, 1));
    EXPECT_EQ(OnlyViolation(test, Reason::kShapeMismatch, name),
              std::string(name) +
                  " has shape [3, 2], but log_probs has shape [2, 3]: "
                  "clipped_policy_loss needs equal shapes and does not "
                  "broadcast. Reshape one of them.");
  }
}

TEST(PolicyChecksTest, AKlWeightNeedsAReference) {
  TestArguments test = Policy({2, 3}, {2});
  test.Set("kl_weight", 0.5);
  EXPECT_EQ(OnlyViolation(test, Reason::kTensorMissing, "ref_log_probs"),
            "ref_log_probs is missing: kl_weight = 0.5 needs it.");
  test.Set("ref_log_probs", Filled(Dtype::kFloat32, {2, 3}, -1));
  EXPECT_TRUE(Check(test).empty());
}

TEST(PolicyChecksTest, MaxLengthAndItsAggregationGoTogether) {
  TestArguments test = Policy({2, 3}, {2});
  test.Set("max_length", 8);
  EXPECT_EQ(OnlyViolation(test, Reason::kParameterOutOfRange, "max_length"),
            "max_length goes with aggregation TOKEN_SUM_CONSTANT only: leave "
            "it unset.");
  test.Set("aggregation", kTokenSumConstant);
  EXPECT_TRUE(Check(test).empty());
  TestArguments without = Policy({2, 3}, {2});
  without.Set("aggregation", kTokenSumConstant);
  EXPECT_EQ(OnlyViolation(without, Reason::kParameterOutOfRange, "max_length"),
            "max_length is missing: aggregation TOKEN_SUM_CONSTANT needs it, "
            "at least 1.");
}

TEST(PolicyChecksTest, DualClipGoesWithTheClippedObjective) {
  TestArguments test = Policy({2, 3}, {2});
  test.Set("dual_clip", 3);
  EXPECT_TRUE(Check(test).empty());
  test.Set("objective", kCispo);
  EXPECT_EQ(OnlyViolation(test, Reason::kParameterOutOfRange, "dual_clip"),
            "dual_clip goes with objective CLIPPED only: leave it unset.");
}

TEST(PolicyChecksTest, AMaskHoldsZerosAndOnes) {
  TestArguments test = Policy({2, 3}, {2});
  test.Set("mask", Floats({2, 3}, {1, 0, 1, 1, 0.5, 1}));
  EXPECT_EQ(OnlyViolation(test, Reason::kValueOutOfRange, "mask"),
            "mask[1, 1] = 0.5 is neither 0 nor 1. 1 of 6 values is.");
  test.Set("mask", Floats({2, 3}, {1, NAN, 1, 1, 2, -1}));
  EXPECT_EQ(OnlyViolation(test, Reason::kValueOutOfRange, "mask"),
            "mask[0, 1] = nan is neither 0 nor 1. 3 of 6 values are.");
  EXPECT_EQ(OnlyViolation(test, Reason::kValueOutOfRange, "mask", true),
            "mask[0, 1] = (withheld) is neither 0 nor 1. 3 of 6 values are.");
}

TEST(PolicyChecksTest, AMaskHasAnyDtype) {
  for (int i = 1; i < kDtypeCount; ++i) {
    const auto dtype = static_cast<Dtype>(i);
    TestArguments test = Policy({2, 3}, {2});
    test.Set("mask", TestTensor(dtype, {2, 3}, {1, 0, 1, 1, 0, 0}));
    EXPECT_EQ(GeometryOf(test).ignored_count, 3) << DtypeName(dtype);
  }
}

TEST(PolicyGeometryTest, EachAggregationHasItsDenominator) {
  TestArguments test = Policy({2, 3}, {2});
  EXPECT_EQ(GeometryOf(test).mean_denominator, 6);
  test.Set("mask", Mask({1, 0, 1, 1, 1, 0}));
  EXPECT_EQ(GeometryOf(test).mean_denominator, 4);
  test.Set("aggregation", kSequenceMeanTokenSum);
  EXPECT_EQ(GeometryOf(test).mean_denominator, 2);
  test.Set("aggregation", kSequenceMeanTokenMean);
  EXPECT_EQ(GeometryOf(test).mean_denominator, 2);
  test.Set("aggregation", kTokenSumConstant).Set("max_length", 10);
  EXPECT_EQ(GeometryOf(test).mean_denominator, 20);
}

TEST(PolicyGeometryTest, MetricsAreOfTheTokensThatCount) {
  TestArguments test = Policy({2, 3}, {2});
  test.Set("mask", Mask({1, 0, 1, 1, 1, 0}));
  Geometry geometry = GeometryOf(test);
  EXPECT_EQ(geometry.element_count, 6);
  EXPECT_EQ(geometry.ignored_count, 2);
  EXPECT_EQ(geometry.metric_denominator, 4);
  EXPECT_EQ(geometry.absent_metrics, 1);
  test.Set("ref_log_probs", Filled(Dtype::kFloat32, {2, 3}, -1));
  EXPECT_EQ(GeometryOf(test).absent_metrics, 0);
}

TEST(PolicyGeometryTest, RowsAreSequencesWithALossForEachToken) {
  const Geometry geometry = GeometryOf(Policy({2, 3}, {2}));
  EXPECT_TRUE(geometry.row_loss);
  EXPECT_TRUE(geometry.loss_per_element);
  EXPECT_EQ(geometry.loss_shape, (Shape{2, 3}));
  EXPECT_EQ(geometry.rows, 2);
  EXPECT_EQ(geometry.row_length, 3);
}

}  // namespace
}  // namespace lossd
