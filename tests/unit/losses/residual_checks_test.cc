// SPDX-License-Identifier: Apache-2.0
//
// What the losses of an input and a target of one shape say about a mistake,
// word for word, and the shapes that they take.

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/losses/checking.h"

namespace lossd {
namespace {

constexpr const char* kPairs[] = {
    "hinge_embedding_loss", "huber_loss",     "kl_div",          "l1_loss",
    "poisson_nll_loss",     "smooth_l1_loss", "soft_margin_loss"};
constexpr const char* kWeighted[] = {"huber_loss", "l1_loss", "smooth_l1_loss"};

TestArguments Pair(absl::string_view loss, const Shape& input,
                   const Shape& target) {
  TestArguments test(loss);
  test.Set("input", Filled(Dtype::kFloat32, input, 0.5));
  test.Set("target", Filled(Dtype::kFloat32, target, 1));
  return test;
}

TestArguments Gaussian(const Shape& input, const Shape& var) {
  TestArguments test = Pair("gaussian_nll_loss", input, input);
  test.Set("var", Filled(Dtype::kFloat32, var, 1));
  return test;
}

// The sentence about a tensor whose shape is not that of the leading one.
std::string Unequal(const std::string& name, const Shape& shape,
                    const std::string& lead, const Shape& wanted,
                    const std::string& loss) {
  return name + " has shape " + ShapeName(shape) + ", but " + lead +
         " has shape " + ShapeName(wanted) + ": " + loss +
         " needs equal shapes and does not broadcast. Reshape one of them.";
}

TEST(PairChecksTest, TheTargetHasTheInputsShape) {
  const Shape input = {2, 3};
  for (const char* loss : kPairs) {
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{6}, Shape{3, 2},
                               Shape{2, 1}, Shape{1, 3}, Shape{1, 2, 3}}) {
      EXPECT_EQ(OnlyViolation(Pair(loss, input, shape), Reason::kShapeMismatch,
                              "target"),
                Unequal("target", shape, "input", input, loss));
    }
  }
}

TEST(PairChecksTest, ANumberForEachRowIsNotAColumn) {
  for (const char* loss : kPairs) {
    EXPECT_EQ(OnlyViolation(Pair(loss, {3, 1}, {3}), Reason::kShapeMismatch,
                            "target"),
              Unequal("target", {3}, "input", {3, 1}, loss));
  }
}

TEST(PairChecksTest, EveryShapeIsTakenScalarsAndNothingToo) {
  for (const char* loss : kPairs) {
    for (const Shape& shape : {Shape{}, Shape{1}, Shape{7}, Shape{2, 3},
                               Shape{0}, Shape{0, 5}, Shape{1, 2, 3, 4}}) {
      SCOPED_TRACE(loss + ShapeName(shape));
      const Geometry geometry = GeometryOf(Pair(loss, shape, shape));
      const int64_t elements = ElementCount(shape).value();
      EXPECT_EQ(geometry.loss_shape, shape);
      EXPECT_EQ(geometry.element_count, elements);
      EXPECT_EQ(geometry.mean_denominator, elements);
      EXPECT_FALSE(geometry.row_loss);
    }
  }
}

TEST(PairChecksTest, AWeightHasTheInputsShapeToo) {
  const Shape input = {2, 3};
  for (const char* loss : kWeighted) {
    TestArguments test = Pair(loss, input, input);
    for (const Shape& shape :
         {Shape{}, Shape{3}, Shape{2, 1}, Shape{1, 3}, Shape{3, 2}}) {
      test.Set("weight", Filled(Dtype::kFloat32, shape, 2));
      EXPECT_EQ(OnlyViolation(test, Reason::kShapeMismatch, "weight"),
                Unequal("weight", shape, "input", input, loss));
    }
    test.Set("weight", Filled(Dtype::kFloat32, input, 2));
    EXPECT_TRUE(Check(test).empty()) << loss;
  }
}

TEST(PairChecksTest, TargetAndWeightAreToldTogether) {
  for (const char* loss : kWeighted) {
    TestArguments test = Pair(loss, {2, 3}, {3});
    test.Set("weight", Filled(Dtype::kFloat32, {2}, 1));
    const Violations violations = Check(test);
    ASSERT_EQ(violations.count(), 2) << loss;
    EXPECT_EQ(violations.kept()[0].description,
              Unequal("target", {3}, "input", {2, 3}, loss));
    EXPECT_EQ(violations.kept()[1].description,
              Unequal("weight", {2}, "input", {2, 3}, loss));
  }
}

TEST(PairGeometryTest, OnlyL1DividesByTheSumOfItsWeights) {
  for (const char* loss : kWeighted) {
    TestArguments test = Pair(loss, {2, 3}, {2, 3});
    test.Set("weight", Filled(Dtype::kFloat32, {2, 3}, 2));
    const bool is_l1 = std::string(loss) == "l1_loss";
    EXPECT_EQ(GeometryOf(test).mean_denominator, is_l1 ? 12 : 6) << loss;
    EXPECT_EQ(GeometryOf(test).divides_by_weight, is_l1) << loss;
  }
}

TEST(PairGeometryTest, TheBatchMeanOfKlDivIsOverTheFirstDimension) {
  EXPECT_EQ(GeometryOf(Pair("kl_div", {4, 5}, {4, 5})).batch_size, 4);
  EXPECT_EQ(GeometryOf(Pair("kl_div", {0, 5}, {0, 5})).batch_size, 0);
  EXPECT_EQ(GeometryOf(Pair("kl_div", {}, {})).batch_size, 1);
}

TEST(GaussianChecksTest, TheTargetHasTheInputsShape) {
  TestArguments test = Gaussian({2, 3}, {2, 3});
  test.Set("target", Filled(Dtype::kFloat32, {3}, 0));
  EXPECT_EQ(OnlyViolation(test, Reason::kShapeMismatch, "target"),
            Unequal("target", {3}, "input", {2, 3}, "gaussian_nll_loss"));
}

struct Var {
  Shape input;
  Shape var;
};

TEST(GaussianChecksTest, AVarianceIsOneOfItsFourForms) {
  for (const Var& row : {
           // Input's shape.
           Var{{}, {}},
           Var{{3}, {3}},
           Var{{2, 3}, {2, 3}},
           Var{{0, 3}, {0, 3}},
           Var{{1, 1}, {1, 1}},
           // That with one dimension of size 1, whichever.
           Var{{3}, {1}},
           Var{{2, 3}, {1, 3}},
           Var{{2, 3}, {2, 1}},
           Var{{2, 3, 4}, {1, 3, 4}},
           Var{{2, 3, 4}, {2, 1, 4}},
           Var{{2, 3, 4}, {2, 3, 1}},
           Var{{2, 1, 4}, {1, 1, 4}},
           // That without its last dimension.
           Var{{2, 3}, {2}},
           Var{{2, 3, 4}, {2, 3}},
           Var{{1, 3}, {1}},
           Var{{2, 0}, {2}},
           // One for all.
           Var{{3}, {}},
           Var{{2, 3, 4}, {}},
           Var{{0}, {}},
       }) {
    SCOPED_TRACE(ShapeName(row.input) + ShapeName(row.var));
    const Geometry geometry = GeometryOf(Gaussian(row.input, row.var));
    EXPECT_EQ(geometry.loss_shape, row.input);
    EXPECT_EQ(geometry.mean_denominator, ElementCount(row.input).value());
  }
}

TEST(GaussianChecksTest, EveryOtherVarianceIsRefused) {
  for (const Var& row : {
           Var{{}, {1}},
           Var{{3}, {2}},
           Var{{3}, {0}},
           Var{{3}, {1, 3}},
           Var{{2, 3}, {3}},
           Var{{2, 3}, {1}},
           Var{{2, 3}, {1, 1}},
           Var{{2, 3}, {3, 2}},
           Var{{2, 3}, {0, 3}},
           Var{{2, 3}, {2, 3, 1}},
           Var{{2, 3}, {1, 2, 3}},
           Var{{2, 3, 4}, {2}},
           Var{{2, 3, 4}, {3, 4}},
           Var{{2, 3, 4}, {1, 3}},
           Var{{2, 3, 4}, {1, 1, 4}},
           Var{{2, 3, 4}, {2, 1}},
       }) {
    EXPECT_EQ(OnlyViolation(Gaussian(row.input, row.var),
                            Reason::kShapeMismatch, "var"),
              "var has shape " + ShapeName(row.var) + ", but input has shape " +
                  ShapeName(row.input) +
                  ": gaussian_nll_loss needs that shape, that shape with one "
                  "dimension of size 1 or without its last dimension, or [] "
                  "for one variance for all elements.");
  }
}

TEST(GaussianChecksTest, TargetAndVarianceAreToldTogether) {
  TestArguments test = Gaussian({2, 3}, {3});
  test.Set("target", Filled(Dtype::kFloat32, {2}, 0));
  const Violations violations = Check(test);
  ASSERT_EQ(violations.count(), 2);
  EXPECT_EQ(violations.kept()[0].field, "target");
  EXPECT_EQ(violations.kept()[1].field, "var");
}

}  // namespace
}  // namespace lossd
