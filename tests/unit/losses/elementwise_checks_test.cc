// SPDX-License-Identifier: Apache-2.0
//
// What the element-wise losses and the triplet loss say about shapes.

#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/losses/checking.h"

namespace lossd {
namespace {

// A loss of an input and a target with a weight.
TestArguments Weighted(absl::string_view loss, const Shape& input,
                       const Shape& target, const Shape& weight) {
  TestArguments test(loss);
  test.Set("input", Filled(Dtype::kFloat32, input, 0.5));
  test.Set("target", Filled(Dtype::kFloat32, target, 0.5));
  test.Set("weight", Filled(Dtype::kFloat32, weight, 2));
  return test;
}

TEST(SameShapeTest, TheTargetDoesNotBroadcast) {
  TestArguments test("mse_loss");
  test.Set("input", Filled(Dtype::kFloat32, {3, 1}, 0));
  test.Set("target", Filled(Dtype::kFloat32, {3}, 0));
  EXPECT_EQ(OnlyViolation(test, Reason::kShapeMismatch, "target"),
            "target has shape [3], but input has shape [3, 1]: mse_loss needs "
            "equal shapes and does not broadcast. Reshape one of them.");
}

TEST(SameShapeTest, EveryElementwiseLossRefusesAnotherTargetShape) {
  for (const char* loss : {"mse_loss", "binary_cross_entropy",
                           "binary_cross_entropy_with_logits"}) {
    TestArguments test(loss);
    test.Set("input", Filled(Dtype::kFloat32, {2, 3}, 0.5));
    for (const Shape& shape :
         {Shape{3}, Shape{3, 2}, Shape{}, Shape{1, 2, 3}}) {
      test.Set("target", Filled(Dtype::kFloat32, shape, 0.5));
      EXPECT_EQ(Check(test).count(), 1) << loss << ShapeName(shape);
    }
    test.Set("target", Filled(Dtype::kFloat32, {2, 3}, 0.5));
    EXPECT_TRUE(Check(test).empty()) << loss;
  }
}

TEST(SameShapeTest, TheWeightOfMseDoesNotBroadcastEither) {
  EXPECT_EQ(OnlyViolation(Weighted("mse_loss", {2, 3}, {2, 3}, {3}),
                          Reason::kShapeMismatch, "weight"),
            "weight has shape [3], but input has shape [2, 3]: mse_loss needs "
            "equal shapes and does not broadcast. Reshape one of them.");
}

TEST(BroadcastTest, DimensionsAreComparedFromTheLast) {
  const Shape input = {2, 3, 4};
  for (const Shape& shape :
       {Shape{}, Shape{1}, Shape{4}, Shape{3, 1}, Shape{1, 4}, Shape{3, 4},
        Shape{2, 1, 1}, Shape{2, 3, 4}, Shape{1, 1, 1}}) {
    EXPECT_TRUE(
        Check(Weighted("binary_cross_entropy", input, input, shape)).empty())
        << ShapeName(shape);
  }
  for (const Shape& shape :
       {Shape{2}, Shape{3}, Shape{0}, Shape{4, 1}, Shape{2, 3},
        Shape{1, 2, 3, 4}, Shape{1, 1, 1, 1}, Shape{3, 3, 4}}) {
    EXPECT_EQ(
        Check(Weighted("binary_cross_entropy", input, input, shape)).count(), 1)
        << ShapeName(shape);
  }
}

TEST(BroadcastTest, TheWordsSayTheRule) {
  EXPECT_EQ(OnlyViolation(Weighted("binary_cross_entropy_with_logits", {2, 3},
                                   {2, 3}, {2}),
                          Reason::kShapeMismatch, "weight"),
            "weight has shape [2], which does not broadcast to input's shape "
            "[2, 3]: each of its dimensions, from the last, must be 1 or equal "
            "to input's.");
}

TEST(BroadcastTest, PosWeightIsCheckedToo) {
  TestArguments test("binary_cross_entropy_with_logits");
  test.Set("input", Filled(Dtype::kFloat32, {2, 3}, 0));
  test.Set("target", Filled(Dtype::kFloat32, {2, 3}, 0));
  test.Set("pos_weight", Filled(Dtype::kFloat32, {2}, 0));
  OnlyViolation(test, Reason::kShapeMismatch, "pos_weight");
  EXPECT_EQ(Check(test).kept()[0].field, "pos_weight");
  test.Set("pos_weight", Filled(Dtype::kFloat32, {3}, 0));
  EXPECT_TRUE(Check(test).empty());
}

TEST(ElementwiseGeometryTest, ThereIsALossForEachElement) {
  for (const Shape& shape : {Shape{}, Shape{7}, Shape{2, 3}, Shape{0, 5}}) {
    TestArguments test("binary_cross_entropy");
    test.Set("input", Filled(Dtype::kFloat32, shape, 0.5));
    test.Set("target", Filled(Dtype::kFloat32, shape, 0.5));
    const Geometry geometry = GeometryOf(test);
    const int64_t elements = ElementCount(shape).value();
    EXPECT_FALSE(geometry.row_loss);
    EXPECT_TRUE(geometry.loss_per_element);
    EXPECT_EQ(geometry.loss_shape, shape);
    EXPECT_EQ(geometry.element_count, elements);
    EXPECT_EQ(geometry.mean_denominator, elements);
    EXPECT_EQ(geometry.ignored_count, 0);
  }
}

TEST(ElementwiseGeometryTest, OnlyMseDividesByTheSumOfItsWeights) {
  EXPECT_EQ(
      GeometryOf(Weighted("mse_loss", {2, 3}, {2, 3}, {2, 3})).mean_denominator,
      12);
  for (const char* loss :
       {"binary_cross_entropy", "binary_cross_entropy_with_logits"}) {
    EXPECT_EQ(GeometryOf(Weighted(loss, {2, 3}, {2, 3}, {3})).mean_denominator,
              6)
        << loss;
  }
}

TEST(ElementwiseGeometryTest, BinaryCrossEntropyIsComputedInDouble) {
  const Shape s = {2};
  EXPECT_FALSE(
      GeometryOf(Weighted("binary_cross_entropy", s, s, s)).float_lanes);
  EXPECT_TRUE(GeometryOf(Weighted("mse_loss", s, s, s)).float_lanes);
}

TestArguments Triplet(const Shape& a, const Shape& p, const Shape& n) {
  TestArguments test("triplet_margin_loss");
  test.Set("anchor", Filled(Dtype::kFloat32, a, 0));
  test.Set("positive", Filled(Dtype::kFloat32, p, 0));
  test.Set("negative", Filled(Dtype::kFloat32, n, 0));
  return test;
}

TEST(TripletChecksTest, ThreeShapesMustBeOne) {
  EXPECT_EQ(OnlyViolation(Triplet({2, 3}, {3}, {2, 3}), Reason::kShapeMismatch,
                          "positive"),
            "positive has shape [3], but anchor has shape [2, 3]: "
            "triplet_margin_loss needs equal shapes and does not broadcast. "
            "Reshape one of them.");
  EXPECT_EQ(Check(Triplet({2, 3}, {3}, {1, 3})).count(), 2);
}

TEST(TripletChecksTest, AScalarHasNoFeatures) {
  EXPECT_EQ(
      OnlyViolation(Triplet({}, {}, {}), Reason::kShapeMismatch, "anchor"),
      "anchor is a scalar, but triplet_margin_loss needs at least one "
      "dimension: [D] or [*, D].");
}

TEST(TripletGeometryTest, FeaturesAreTheLastDimension) {
  const Shape shape = {2, 3, 4};
  const Geometry geometry = GeometryOf(Triplet(shape, shape, shape));
  EXPECT_TRUE(geometry.row_loss);
  EXPECT_EQ(geometry.loss_shape, (Shape{2, 3}));
  EXPECT_EQ(geometry.rows, 6);
  EXPECT_EQ(geometry.row_length, 4);
  EXPECT_EQ(geometry.inner, 1);
  EXPECT_EQ(geometry.mean_denominator, 6);
  const Geometry one = GeometryOf(Triplet({4}, {4}, {4}));
  EXPECT_EQ(one.loss_shape, Shape());
  EXPECT_EQ(one.rows, 1);
}

}  // namespace
}  // namespace lossd
