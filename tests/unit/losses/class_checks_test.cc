// SPDX-License-Identifier: Apache-2.0
//
// What the losses over classes say about a mistake, word for word, and how they
// see shapes, ignored samples and denominators.

#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/losses/checking.h"

namespace lossd {
namespace {

std::vector<double> Zeros(size_t count) {
  return std::vector<double>(count, 0.0);
}

TestArguments CrossEntropy(const Shape& input, const TestTensor& target) {
  TestArguments test("cross_entropy");
  test.Set("input", Filled(Dtype::kFloat32, input, 0));
  test.Set("target", target);
  return test;
}

std::string BadTarget(const TestArguments& test, bool withhold = false) {
  return OnlyViolation(test, Reason::kTargetOutOfRange, "target", withhold);
}
std::string BadShape(const TestArguments& test, const std::string& field) {
  return OnlyViolation(test, Reason::kShapeMismatch, field);
}

TEST(ClassChecksTest, OneLogitForTwoClassesGetsTheModelWording) {
  EXPECT_EQ(BadTarget(CrossEntropy({3, 1}, Indices({3}, {0, 1, 0}))),
            "target[1] = 1 is outside [0, 1): input of shape [3, 1] has C = 1 "
            "class. 1 of 3 targets is out of range. For binary labels with one "
            "logit use binary_cross_entropy_with_logits, or send logits of "
            "shape [3, 2].");
}

TEST(ClassChecksTest, SeveralBadTargetsAreCountedAndTheFirstIsNamed) {
  EXPECT_EQ(BadTarget(CrossEntropy({4, 3}, Indices({4}, {2, 3, -1, 0}))),
            "target[1] = 3 is outside [0, 3): input of shape [4, 3] has C = 3 "
            "classes. 2 of 4 targets are out of range.");
}

TEST(ClassChecksTest, ABadTargetIsNamedByItsSubscripts) {
  EXPECT_EQ(
      BadTarget(CrossEntropy({2, 3, 2}, Indices({2, 2}, {0, 1, 2, 9}))),
      "target[1, 1] = 9 is outside [0, 3): input of shape [2, 3, 2] has C = 3 "
      "classes. 1 of 4 targets is out of range.");
  EXPECT_EQ(BadTarget(CrossEntropy({1}, Indices({}, {1}))),
            "target = 1 is outside [0, 1): input of shape [1] has C = 1 class. "
            "1 of 1 targets is out of range. For binary labels with one logit "
            "use binary_cross_entropy_with_logits, or send logits of shape "
            "[2].");
}

TEST(ClassChecksTest, NllLossGivesTheSameWordsWithoutTheHint) {
  TestArguments test("nll_loss");
  test.Set("input", Filled(Dtype::kFloat32, {2, 1}, 0));
  test.Set("target", Indices({2}, {1, 1}));
  EXPECT_EQ(BadTarget(test),
            "target[0] = 1 is outside [0, 1): input of shape [2, 1] has C = 1 "
            "class. 2 of 2 targets are out of range.");
}

TEST(ClassChecksTest, TenThousandBadTargetsAreOneViolation) {
  EXPECT_EQ(
      BadTarget(CrossEntropy({10000, 2}, Filled(Dtype::kInt32, {10000}, -5))),
      "target[0] = -5 is outside [0, 2): input of shape [10000, 2] has C "
      "= 2 classes. 10000 of 10000 targets are out of range.");
}

TEST(ClassChecksTest, AValueIsWithheldFromTheWords) {
  const std::string words =
      BadTarget(CrossEntropy({2, 2}, Indices({2}, {0, 1234})), true);
  EXPECT_EQ(words,
            "target[1] = (withheld) is outside [0, 2): input of shape [2, 2] "
            "has C = 2 classes. 1 of 2 targets is out of range.");
}

TEST(ClassChecksTest, TheEndsOfInt64AreOutOfRangeNotWrappedAround) {
  for (const int64_t end : {std::numeric_limits<int64_t>::min(),
                            std::numeric_limits<int64_t>::max()}) {
    int64_t label = end;
    TensorView view;
    view.dtype = Dtype::kInt64;
    view.shape = {1};
    view.elements = 1;
    view.data = reinterpret_cast<const uint8_t*>(&label);
    const TestArguments test = CrossEntropy({1, 2}, Indices({1}, {0}));
    Arguments arguments = test.arguments();
    arguments.tensors[1] = view;
    Violations violations;
    test.loss().plan(arguments, &violations);
    EXPECT_EQ(violations.count(), 1) << end;
  }
}

TEST(ClassChecksTest, IndicesNeedTheInputsShapeWithoutItsClasses) {
  EXPECT_EQ(BadShape(CrossEntropy({3, 2}, Indices({2}, {0, 1})), "target"),
            "target of class indices has shape [2], but input of shape [3, 2] "
            "needs [3]: input's shape without the class dimension.");
  EXPECT_EQ(BadShape(CrossEntropy({3, 1}, Indices({3, 1}, Zeros(3))), "target"),
            "target of class indices has shape [3, 1], but input of shape [3, "
            "1] needs [3]: input's shape without the class dimension.");
  EXPECT_EQ(BadShape(CrossEntropy({3}, Indices({1}, {0})), "target"),
            "target of class indices has shape [1], but input of shape [3] "
            "needs []: input's shape without the class dimension.");
}

TEST(ClassChecksTest, ProbabilitiesNeedTheInputsShape) {
  EXPECT_EQ(BadShape(CrossEntropy({3, 2}, Floats({3}, Zeros(3))), "target"),
            "target of class probabilities (float32) has shape [3], but input "
            "has shape [3, 2]: send one probability for each logit, or class "
            "indices as int64.");
}

TEST(ClassChecksTest, IgnoreIndexDoesNotGoWithProbabilities) {
  TestArguments test = CrossEntropy({3, 2}, Floats({3, 2}, Zeros(6)));
  test.Set("ignore_index", 1);
  EXPECT_EQ(
      OnlyViolation(test, Reason::kParameterOutOfRange, "ignore_index"),
      "ignore_index = 1 does not go with class probabilities: leave it unset, "
      "or send class indices as int64.");
  test.Set("ignore_index", -1);
  EXPECT_TRUE(Check(test).empty());
}

TEST(ClassChecksTest, AScalarHasNoClasses) {
  EXPECT_EQ(BadShape(CrossEntropy({}, Indices({}, {0})), "input"),
            "input is a scalar, but cross_entropy needs a class dimension: "
            "[C], [N, C] or [N, C, *].");
}

TEST(ClassChecksTest, WeightIsOneForEachClass) {
  for (const Shape& shape : {Shape{2}, Shape{4}, Shape{}, Shape{1, 3}}) {
    TestArguments test = CrossEntropy({2, 3}, Indices({2}, {0, 1}));
    test.Set("weight", Filled(Dtype::kFloat32, shape, 1));
    EXPECT_EQ(BadShape(test, "weight"),
              "weight has shape " + ShapeName(shape) +
                  ", but input of shape [2, 3] needs one weight for each "
                  "class: [3].");
  }
}

TEST(ClassChecksTest, SeveralMistakesAreToldTogether) {
  TestArguments test = CrossEntropy({3, 2}, Floats({3}, Zeros(3)));
  test.Set("weight", Floats({5}, Zeros(5))).Set("ignore_index", 0);
  EXPECT_EQ(Check(test).count(), 3);
}

struct Layout {
  Shape input;
  Shape sample;
  int64_t rows;
  int64_t row_length;
  int64_t inner;
};

TEST(ClassGeometryTest, ClassesAreTheSecondDimensionOrTheOnlyOne) {
  for (const Layout& layout : {
           Layout{{4}, {}, 1, 4, 1},
           Layout{{5, 4}, {5}, 5, 4, 1},
           Layout{{5, 4, 3}, {5, 3}, 15, 4, 3},
           Layout{{5, 4, 3, 2}, {5, 3, 2}, 30, 4, 6},
           Layout{{0, 4}, {0}, 0, 4, 1},
           Layout{{5, 4, 0}, {5, 0}, 0, 4, 0},
       }) {
    SCOPED_TRACE(ShapeName(layout.input));
    const Geometry geometry = GeometryOf(
        CrossEntropy(layout.input, Filled(Dtype::kInt64, layout.sample, 3)));
    EXPECT_TRUE(geometry.row_loss);
    EXPECT_FALSE(geometry.loss_per_element);
    EXPECT_EQ(geometry.loss_shape, layout.sample);
    EXPECT_EQ(geometry.class_shape, layout.sample);
    EXPECT_EQ(geometry.rows, layout.rows);
    EXPECT_EQ(geometry.element_count, layout.rows);
    EXPECT_EQ(geometry.row_length, layout.row_length);
    EXPECT_EQ(geometry.inner, layout.inner);
    EXPECT_EQ(geometry.mean_denominator, layout.rows);
    EXPECT_EQ(geometry.ignored_count, 0);
  }
}

TEST(ClassGeometryTest, IgnoredSamplesCountForNothing) {
  TestArguments test = CrossEntropy({4, 3}, Indices({4}, {-100, 2, -100, 1}));
  Geometry geometry = GeometryOf(test);
  EXPECT_EQ(geometry.element_count, 4);
  EXPECT_EQ(geometry.ignored_count, 2);
  EXPECT_EQ(geometry.mean_denominator, 2);
  test.Set("weight", Floats({3}, {10, 0.5, 0.25}));
  geometry = GeometryOf(test);
  EXPECT_EQ(geometry.ignored_count, 2);
  EXPECT_EQ(geometry.mean_denominator, 0.75);
}

TEST(ClassGeometryTest, IgnoreIndexMayBeAClassOrOutsideThem) {
  TestArguments test = CrossEntropy({4, 3}, Indices({4}, {7, 2, 1, 1}));
  EXPECT_EQ(Check(test).count(), 1);
  test.Set("ignore_index", 7);
  EXPECT_EQ(GeometryOf(test).ignored_count, 1);
  test.Set("ignore_index", 1);
  EXPECT_EQ(Check(test).count(), 1);
  test.Set("target", Indices({4}, {0, 2, 1, 1}));
  EXPECT_EQ(GeometryOf(test).ignored_count, 2);
  EXPECT_EQ(GeometryOf(test).mean_denominator, 2);
}

TEST(ClassGeometryTest, EveryIndexDtypeIsRead) {
  for (const Dtype dtype : {Dtype::kInt64, Dtype::kInt32, Dtype::kUint8}) {
    TestArguments test =
        CrossEntropy({3, 3}, TestTensor(dtype, {3}, {0, 1, 2}));
    test.Set("weight", Floats({3}, {1, 2, 4}));
    EXPECT_EQ(GeometryOf(test).mean_denominator, 7) << DtypeName(dtype);
    test.Set("target", TestTensor(dtype, {3}, {0, 200, 2}));
    EXPECT_EQ(Check(test).count(), 1);
  }
}

TEST(ClassGeometryTest, ProbabilitiesCountSamplesWhateverTheWeights) {
  TestArguments test = CrossEntropy({5, 2, 3}, Floats({5, 2, 3}, Zeros(30)));
  test.Set("weight", Floats({2}, {3, 4}));
  const Geometry geometry = GeometryOf(test);
  EXPECT_EQ(geometry.mean_denominator, 15);
  EXPECT_EQ(geometry.ignored_count, 0);
  EXPECT_FALSE(geometry.float_lanes);
}

TEST(ClassGeometryTest, OnlyPlainIndicesUseFloatLanes) {
  TestArguments test = CrossEntropy({2, 2}, Indices({2}, {0, 1}));
  EXPECT_TRUE(GeometryOf(test).float_lanes);
  test.Set("label_smoothing", 0.1);
  EXPECT_FALSE(GeometryOf(test).float_lanes);
}

TEST(ClassGeometryTest, ParametersInForceAreSentOrDefault) {
  TestArguments test = CrossEntropy({2, 2}, Indices({2}, {0, 1}));
  EXPECT_EQ(GeometryOf(test).parameters[0], -100);
  EXPECT_EQ(GeometryOf(test).parameters[1], 0);
  test.Set("ignore_index", 1).Set("label_smoothing", 0.25);
  EXPECT_EQ(GeometryOf(test).parameters[0], 1);
  EXPECT_EQ(GeometryOf(test).parameters[1], 0.25);
}

}  // namespace
}  // namespace lossd
