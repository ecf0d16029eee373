// SPDX-License-Identifier: Apache-2.0
//
// What the losses with a margin say about a mistake, word for word, and the
// shapes that they take.

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/losses/checking.h"

namespace lossd {
namespace {

constexpr char kPairwise[] = "triplet_margin_with_distance_loss";

// Numbers of lossd.v1.TripletMarginWithDistanceLoss.DistanceFunction.
constexpr double kPairwiseDistance = 1;
constexpr double kChebyshev = 4;
constexpr double kCosine = 5;

TestArguments Scores(absl::string_view loss, const Shape& input,
                     const TestTensor& target) {
  TestArguments test(loss);
  test.Set("input", Filled(Dtype::kFloat32, input, 0.5));
  test.Set("target", target);
  return test;
}

// Three tensors of these shapes, in the order of the schema.
TestArguments Three(absl::string_view loss, const Shape& first,
                    const Shape& second, const Shape& third) {
  TestArguments test(loss);
  const auto& tensors = test.loss().schema.tensors;
  test.Set(tensors[0].name, Filled(Dtype::kFloat32, first, 0.5));
  test.Set(tensors[1].name, Filled(Dtype::kFloat32, second, 0.25));
  test.Set(tensors[2].name, Filled(Dtype::kFloat32, third, 1));
  return test;
}

std::string BadShape(const TestArguments& test, const std::string& field) {
  return OnlyViolation(test, Reason::kShapeMismatch, field);
}
std::string BadTarget(const TestArguments& test, bool withhold = false) {
  return OnlyViolation(test, Reason::kTargetOutOfRange, "target", withhold);
}

TEST(MultiMarginChecksTest, TheInputIsARowOfScoresOrRows) {
  for (const Shape& shape : {Shape{}, Shape{2, 3, 4}}) {
    EXPECT_EQ(
        BadShape(Scores("multi_margin_loss", shape, Indices({}, {0})), "input"),
        "input has shape " + ShapeName(shape) +
            ", but multi_margin_loss needs [C] or [N, C].");
  }
  for (const Shape& shape : {Shape{0}, Shape{2, 0}, Shape{0, 0}}) {
    EXPECT_EQ(
        BadShape(Scores("multi_margin_loss", shape, Indices({}, {0})), "input"),
        "input has shape " + ShapeName(shape) +
            ", but multi_margin_loss needs at least one class.");
  }
}

TEST(MultiMarginChecksTest, TheTargetIsOneClassForEachSample) {
  const auto words = [](const Shape& input, const Shape& target) {
    return BadShape(
        Scores("multi_margin_loss", input, Filled(Dtype::kInt64, target, 0)),
        "target");
  };
  EXPECT_EQ(words({2, 3}, {3}),
            "target of class indices has shape [3], but input of shape [2, 3] "
            "needs [2]: input's shape without the class dimension.");
  EXPECT_EQ(words({2, 3}, {2, 3}),
            "target of class indices has shape [2, 3], but input of shape [2, "
            "3] needs [2]: input's shape without the class dimension.");
  EXPECT_EQ(words({3}, {1}),
            "target of class indices has shape [1], but input of shape [3] "
            "needs []: input's shape without the class dimension.");
}

TEST(MultiMarginChecksTest, ThereIsAWeightForEachClass) {
  TestArguments test =
      Scores("multi_margin_loss", {2, 3}, Indices({2}, {0, 1}));
  for (const Shape& shape : {Shape{}, Shape{2}, Shape{4}, Shape{1, 3}}) {
    test.Set("weight", Filled(Dtype::kFloat32, shape, 1));
    EXPECT_EQ(BadShape(test, "weight"),
              "weight has shape " + ShapeName(shape) +
                  ", but input of shape [2, 3] needs one weight for each "
                  "class: [3].");
  }
  test.Set("weight", Filled(Dtype::kFloat32, {3}, 1));
  // The mean is over the samples, whatever the weights.
  EXPECT_EQ(GeometryOf(test).mean_denominator, 2);
}

TEST(MultiMarginChecksTest, EveryAllowedShapeIsTaken) {
  const auto rows = [](const Shape& input, const Shape& target) {
    return GeometryOf(Scores("multi_margin_loss", input,
                             Filled(Dtype::kUint8, target, 0)))
        .rows;
  };
  EXPECT_EQ(rows({3}, {}), 1);
  EXPECT_EQ(rows({1}, {}), 1);
  EXPECT_EQ(rows({4, 3}, {4}), 4);
  EXPECT_EQ(rows({0, 3}, {0}), 0);
}

TEST(MultiMarginChecksTest, ATargetIsAClass) {
  EXPECT_EQ(
      BadTarget(Scores("multi_margin_loss", {3, 2}, Indices({3}, {1, 2, -1}))),
      "target[1] = 2 is outside [0, 2): input of shape [3, 2] has C = 2 "
      "classes. 2 of 3 targets are out of range.");
  EXPECT_EQ(BadTarget(Scores("multi_margin_loss", {1}, Indices({}, {-100}))),
            "target = -100 is outside [0, 1): input of shape [1] has C = 1 "
            "class. 1 of 1 targets is out of range.");
  EXPECT_EQ(
      BadTarget(Scores("multi_margin_loss", {1, 2}, Indices({1}, {4711})),
                true),
      "target[0] = (withheld) is outside [0, 2): input of shape [1, 2] has C = "
      "2 classes. 1 of 1 targets is out of range.");
}

TEST(MultilabelMarginChecksTest, TheInputIsARowOfScoresOrRows) {
  const auto words = [](const Shape& shape) {
    return BadShape(Scores("multilabel_margin_loss", shape,
                           Filled(Dtype::kInt64, shape, 0)),
                    "input");
  };
  for (const Shape& shape : {Shape{}, Shape{2, 3, 4}}) {
    EXPECT_EQ(words(shape),
              "input has shape " + ShapeName(shape) +
                  ", but multilabel_margin_loss needs [C] or [N, C].");
  }
  for (const Shape& shape : {Shape{0}, Shape{2, 0}}) {
    EXPECT_EQ(words(shape),
              "input has shape " + ShapeName(shape) +
                  ", but multilabel_margin_loss needs at least one class.");
  }
}

TEST(MultilabelMarginChecksTest, TheTargetHasTheInputsShape) {
  for (const Shape& shape : {Shape{}, Shape{2}, Shape{3}, Shape{3, 2}}) {
    EXPECT_EQ(BadShape(Scores("multilabel_margin_loss", {2, 3},
                              Filled(Dtype::kInt64, shape, 0)),
                       "target"),
              "target has shape " + ShapeName(shape) +
                  ", but input has shape [2, 3]: multilabel_margin_loss needs "
                  "equal shapes and does not broadcast. Reshape one of them.");
  }
}

TEST(MultilabelMarginChecksTest, ATargetIsAClassOrTheEnd) {
  EXPECT_EQ(BadTarget(Scores("multilabel_margin_loss", {2, 3},
                             Indices({2, 3}, {0, 2, -1, 1, 3, -2}))),
            "target[1, 1] = 3 is outside [-1, 3): input of shape [2, 3] has C "
            "= 3 classes. 2 of 6 targets are out of range. Pad each row of "
            "target with -1.");
  // Behind the end too, as in PyTorch.
  EXPECT_EQ(
      BadTarget(Scores("multilabel_margin_loss", {1}, Indices({1}, {-100}))),
      "target[0] = -100 is outside [-1, 1): input of shape [1] has C = 1 "
      "class. 1 of 1 targets is out of range. Pad each row of target "
      "with -1.");
  EXPECT_EQ(BadTarget(Scores("multilabel_margin_loss", {3},
                             Indices({3}, {0, -1, 4711})),
                      true),
            "target[2] = (withheld) is outside [-1, 3): input of shape [3] has "
            "C = 3 classes. 1 of 3 targets is out of range. Pad each row of "
            "target with -1.");
}

TEST(MultilabelMarginChecksTest, EveryAllowedTargetIsTaken) {
  for (const std::vector<double>& target :
       {std::vector<double>{-1, -1, -1}, {0, 1, 2}, {2, 2, 2}, {1, -1, 2}}) {
    EXPECT_EQ(
        GeometryOf(Scores("multilabel_margin_loss", {3}, Indices({3}, target)))
            .loss_shape,
        Shape());
  }
  EXPECT_EQ(GeometryOf(Scores("multilabel_margin_loss", {0, 3},
                              Filled(Dtype::kInt32, {0, 3}, 0)))
                .loss_shape,
            Shape{0});
}

TEST(MultilabelSoftMarginChecksTest, ShapesAreOfLogitsAndOneWeightAClass) {
  constexpr char kLoss[] = "multilabel_soft_margin_loss";
  const auto floats = [](const Shape& shape) {
    return Filled(Dtype::kFloat32, shape, 1);
  };
  EXPECT_EQ(BadShape(Scores(kLoss, {}, floats({})), "input"),
            "input is a scalar, but multilabel_soft_margin_loss needs at least "
            "one dimension: [C] or [*, C].");
  EXPECT_EQ(BadShape(Scores(kLoss, {2, 3}, floats({3})), "target"),
            "target has shape [3], but input has shape [2, 3]: "
            "multilabel_soft_margin_loss needs equal shapes and does not "
            "broadcast. Reshape one of them.");
  TestArguments test = Scores(kLoss, {2, 3}, floats({2, 3}));
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{2}, Shape{2, 3}}) {
    EXPECT_EQ(BadShape(test.Set("weight", floats(shape)), "weight"),
              "weight has shape " + ShapeName(shape) +
                  ", but input of shape [2, 3] needs one weight for each "
                  "class: [3].");
  }
  EXPECT_TRUE(Check(test.Set("weight", floats({3}))).empty());
  for (const Shape& shape :
       {Shape{3}, Shape{0}, Shape{2, 3}, Shape{0, 3}, Shape{2, 4, 3}}) {
    EXPECT_EQ(GeometryOf(Scores(kLoss, shape, floats(shape))).loss_shape,
              Shape(shape.begin(), shape.end() - 1));
  }
}

TEST(MarginRankingChecksTest, TensorsThatDoNotBroadcastAreNamed) {
  const std::string rule =
      ": margin_ranking_loss needs tensors of as many dimensions, each of "
      "equal size or of size 1.";
  EXPECT_EQ(
      BadShape(Three("margin_ranking_loss", {2, 3}, {3}, {2, 3}), "input2"),
      "input2 has shape [3], but input1 has shape [2, 3]" + rule);
  EXPECT_EQ(
      BadShape(Three("margin_ranking_loss", {2, 3}, {2, 2}, {2, 3}), "input2"),
      "input2 has shape [2, 2], but input1 has shape [2, 3]" + rule);
  EXPECT_EQ(BadShape(Three("margin_ranking_loss", {3}, {3}, {}), "target"),
            "target has shape [], but input1 and input2 broadcast to shape "
            "[3]" +
                rule);
  // input1 alone would go with the target.
  EXPECT_EQ(BadShape(Three("margin_ranking_loss", {1}, {3}, {2}), "target"),
            "target has shape [2], but input1 and input2 broadcast to shape "
            "[3]" +
                rule);
}

TEST(MarginRankingChecksTest, EverythingThatBroadcastsIsTaken) {
  const auto shape = [](const Shape& a, const Shape& b, const Shape& c) {
    return GeometryOf(Three("margin_ranking_loss", a, b, c)).loss_shape;
  };
  EXPECT_EQ(shape({}, {}, {}), Shape());
  EXPECT_EQ(shape({3}, {3}, {3}), Shape{3});
  EXPECT_EQ(shape({3}, {3}, {1}), Shape{3});
  EXPECT_EQ(shape({1}, {1}, {3}), Shape{3});
  EXPECT_EQ(shape({0}, {1}, {0}), Shape{0});
  EXPECT_EQ(shape({2, 1}, {1, 3}, {1, 1}), (Shape{2, 3}));
  EXPECT_EQ(shape({4, 1, 1}, {1, 3, 1}, {1, 1, 2}), (Shape{4, 3, 2}));
}

TEST(CosineEmbeddingChecksTest, ShapesAreOfVectorsAndOneTargetAPair) {
  const auto words = [](const Shape& a, const Shape& b, const Shape& target,
                        const std::string& field) {
    return BadShape(Three("cosine_embedding_loss", a, b, target), field);
  };
  EXPECT_EQ(words({}, {}, {}, "input1"),
            "input1 has shape [], but cosine_embedding_loss needs [D] or [N, "
            "D].");
  EXPECT_EQ(words({2, 3, 4}, {2, 3, 4}, {2, 3}, "input1"),
            "input1 has shape [2, 3, 4], but cosine_embedding_loss needs [D] "
            "or [N, D].");
  EXPECT_EQ(words({2, 3}, {3}, {2}, "input2"),
            "input2 has shape [3], but input1 has shape [2, 3]: "
            "cosine_embedding_loss needs equal shapes and does not broadcast. "
            "Reshape one of them.");
  EXPECT_EQ(words({2, 3}, {2, 3}, {3}, "target"),
            "target has shape [3], but input1 of shape [2, 3] needs [2]: one "
            "value for each sample.");
  EXPECT_EQ(words({3}, {3}, {1}, "target"),
            "target has shape [1], but input1 of shape [3] needs []: one value "
            "for each sample.");
  EXPECT_EQ(words({2, 3}, {2, 3}, {}, "target"),
            "target has shape [], but input1 of shape [2, 3] needs [2]: one "
            "value for each sample.");
}

TEST(CosineEmbeddingChecksTest, VectorsOfAnyLengthAreTaken) {
  const auto rows = [](const Shape& shape, const Shape& target) {
    return GeometryOf(Three("cosine_embedding_loss", shape, shape, target))
        .rows;
  };
  EXPECT_EQ(rows({3}, {}), 1);
  EXPECT_EQ(rows({0}, {}), 1);
  EXPECT_EQ(rows({2, 3}, {2}), 2);
  EXPECT_EQ(rows({2, 0}, {2}), 2);
  EXPECT_EQ(rows({0, 3}, {0}), 0);
}

TEST(DistanceChecksTest, ThreeTensorsAreOfOneShape) {
  EXPECT_EQ(BadShape(Three(kPairwise, {}, {}, {}), "anchor"),
            "anchor is a scalar, but triplet_margin_with_distance_loss needs "
            "at least one dimension: [D] or [*, D].");
  EXPECT_EQ(BadShape(Three(kPairwise, {2, 3}, {2, 3}, {1, 3}), "negative"),
            "negative has shape [1, 3], but anchor has shape [2, 3]: "
            "triplet_margin_with_distance_loss needs equal shapes and does not "
            "broadcast. Reshape one of them.");
  EXPECT_EQ(Check(Three(kPairwise, {2, 3}, {3}, {1, 3})).count(), 2);
}

TEST(DistanceChecksTest, OnlyChebyshevNeedsAFeature) {
  TestArguments test = Three(kPairwise, {2, 0}, {2, 0}, {2, 0});
  for (double f = kPairwiseDistance; f <= kCosine; ++f) {
    test.Set("distance_function", f);
    if (f != kChebyshev) {
      EXPECT_EQ(GeometryOf(test).rows, 2) << f;
      continue;
    }
    EXPECT_EQ(BadShape(test, "anchor"),
              "anchor has shape [2, 0], but distance_function = CHEBYSHEV "
              "needs at least one feature.");
  }
  TestArguments one = Three(kPairwise, {2, 1}, {2, 1}, {2, 1});
  EXPECT_EQ(GeometryOf(one.Set("distance_function", kChebyshev)).rows, 2);
}

TEST(DistanceChecksTest, FeaturesAreTheLastDimension) {
  for (const Shape& shape : {Shape{3}, Shape{2, 3}, Shape{0, 3}, Shape{2, 4, 3},
                             Shape{1, 1, 1, 1}}) {
    EXPECT_EQ(GeometryOf(Three(kPairwise, shape, shape, shape)).loss_shape,
              Shape(shape.begin(), shape.end() - 1));
  }
}

}  // namespace
}  // namespace lossd
