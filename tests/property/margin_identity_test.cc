// SPDX-License-Identifier: Apache-2.0
//
// Identities of margin_ranking_loss, hinge_embedding_loss,
// cosine_embedding_loss, multi_margin_loss and multilabel_margin_loss.

#include <cmath>

#include "gtest/gtest.h"
#include "tests/property/property_support.h"

namespace lossd {
namespace {

constexpr int64_t kRows = 6;
constexpr int64_t kWidth = 21;  // more than are computed at a time
constexpr int64_t kElements = kRows * kWidth;
const Shape kShape = {kRows, kWidth};

TestEvaluation Ranking(const TestTensor& input1, const TestTensor& input2,
                       const TestTensor& target) {
  TestEvaluation evaluation("margin_ranking_loss");
  evaluation.Set("input1", input1).Set("input2", input2).Set("target", target);
  evaluation.Reduce(Reduction::kNone).Set("margin", 0.25);
  return evaluation.Gradient({"input1", "input2", "target"});
}

TEST(MarginRankingIdentityTest, ExchangedInputsRankTheOtherWay) {
  ForAll([](Random* random) {
    const Values x1 = random->Uniform(kElements, -2, 2);
    const Values x2 = random->Uniform(kElements, -2, 2);
    const Values t = random->Signs(kElements);
    const auto tensor = [&](const Values& x) {
      return random->Tensor(kShape, x);
    };
    const Result a = Answer(Ranking(tensor(x1), tensor(x2), tensor(t)));
    const Result b = Answer(Ranking(tensor(x2), tensor(x1), tensor(-t)));
    EXPECT_EQ(LossOf(a), LossOf(b));
    EXPECT_EQ(GradientOf(a, "input1"), GradientOf(b, "input2"));
    EXPECT_EQ(GradientOf(a, "input2"), GradientOf(b, "input1"));
    EXPECT_EQ(GradientOf(a, "target"), -GradientOf(b, "target"));
  });
}

TEST(MarginRankingIdentityTest, TheHingeIsTheOneOfHingeEmbedding) {
  // max(0, margin - x) is the loss of an unlike pair at distance x.
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -2, 2);
    const TestTensor input = random->Tensor(kShape, x);
    const auto all = [&](double v) {
      return Filled(random->dtype(), kShape, v);
    };
    TestEvaluation hinge("hinge_embedding_loss");
    hinge.Set("input", input).Set("target", all(-1)).Set("margin", 0.25);
    hinge.Reduce(Reduction::kNone).Gradient();
    const Result a = Answer(Ranking(input, all(0), all(1)));
    const Result b = Answer(hinge);
    EXPECT_EQ(LossOf(a), LossOf(b));
    EXPECT_EQ(GradientOf(a, "input1"), GradientOf(b, "input"));
  });
}

TEST(MarginRankingIdentityTest, TensorsThatBroadcastAreTheSameRepeated) {
  ForAll([](Random* random) {
    const Shape shapes[][3] = {{kShape, {kRows, 1}, {1, kWidth}},
                               {{1, kWidth}, kShape, {1, 1}},
                               {{kRows, 1}, {1, kWidth}, kShape},
                               {{1, 1}, {kRows, 1}, {1, kWidth}}};
    const char* const names[] = {"input1", "input2", "target"};
    for (const auto& own : shapes) {
      Values values[3];
      for (int i = 0; i < 3; ++i) {
        values[i] = random->Uniform(ElementCount(own[i]).value(), -2, 2);
      }
      for (const Reduction reduction :
           {Reduction::kNone, Reduction::kMean, Reduction::kSum}) {
        const auto broadcast = [&](int i) {
          return random->Tensor(own[i], values[i]);
        };
        const auto repeated = [&](int i) {
          return random->Tensor(kShape, Expanded(values[i], own[i], kShape));
        };
        const Result a =
            Answer(Ranking(broadcast(0), broadcast(1), broadcast(2))
                       .Reduce(reduction));
        const Result b = Answer(
            Ranking(repeated(0), repeated(1), repeated(2)).Reduce(reduction));
        EXPECT_EQ(LossOf(a), LossOf(b));
        for (int i = 0; i < 3; ++i) {
          const Values each = GradientOf(b, names[i]);
          ExpectClose(*random, GradientOf(a, names[i]),
                      Collected(each, own[i], kShape), 1,
                      Collected(Magnitudes(each), own[i], kShape));
        }
      }
    }
  });
}

Result Hinge(const Random& random, const Values& input, const Values& target) {
  TestEvaluation evaluation("hinge_embedding_loss");
  evaluation.Set("input", random.Tensor(kShape, input));
  evaluation.Set("target", random.Tensor(kShape, target)).Set("margin", 0.5);
  return Answer(evaluation.Reduce(Reduction::kNone).Gradient());
}

TEST(HingeEmbeddingIdentityTest, LikeSamplesCostTheirDistance) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -2, 2);
    const Result result = Hinge(*random, x, Values(kElements, 1.0));
    EXPECT_EQ(LossOf(result), x);
    EXPECT_EQ(GradientOf(result, "input"), Values(kElements, 1.0));
  });
}

TEST(HingeEmbeddingIdentityTest, AnyOtherTargetPaysForBoth) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -2, 2);
    const Result like = Hinge(*random, x, Values(kElements, 1.0));
    const Result unlike = Hinge(*random, x, Values(kElements, -1.0));
    for (const double other : {0.0, 0.5, -3.0}) {
      const Result both = Hinge(*random, x, Values(kElements, other));
      ExpectClose(*random, LossOf(both), LossOf(like) + LossOf(unlike), 1, 2);
      EXPECT_EQ(GradientOf(both, "input"),
                GradientOf(like, "input") + GradientOf(unlike, "input"));
    }
  });
}

// Pairs of vectors that are far from 0.
struct Pairs {
  explicit Pairs(Random* random)
      : input1(random->Uniform(kElements, 0.5, 2) * random->Signs(kElements)),
        input2(random->Uniform(kElements, 0.5, 2) * random->Signs(kElements)),
        target(random->Signs(kRows)) {}

  TestEvaluation Make(const Random& random) const {
    TestEvaluation evaluation("cosine_embedding_loss");
    evaluation.Set("input1", random.Tensor(kShape, input1));
    evaluation.Set("input2", random.Tensor(kShape, input2));
    evaluation.Set("target", random.Tensor({kRows}, target));
    evaluation.Set("margin", -0.5).Reduce(Reduction::kNone);
    return evaluation.Gradient({"input1", "input2"});
  }

  Values input1, input2, target;
};

// 1e-12 is added to squared norms, here of at least 5 / 4.
constexpr double kCosineEps = 4e-12;

TEST(CosineEmbeddingIdentityTest, LengthsDoNotMatter) {
  ForAll([](Random* random) {
    const Pairs pairs(random);
    Pairs scaled = pairs;
    scaled.input1 = 8 * pairs.input1;
    scaled.input2 = 0.5 * pairs.input2;
    const Result a = Answer(pairs.Make(*random));
    const Result b = Answer(scaled.Make(*random));
    const double tolerance = 2 * random->epsilon() + 4 * kCosineEps;
    ExpectWithin(LossOf(b), LossOf(a), tolerance);
    ExpectWithin(8 * GradientOf(b, "input1"), GradientOf(a, "input1"),
                 tolerance);
    ExpectWithin(0.5 * GradientOf(b, "input2"), GradientOf(a, "input2"),
                 tolerance);
  });
}

TEST(CosineEmbeddingIdentityTest, TheGradientIsAtARightAngleToTheVector) {
  ForAll([](Random* random) {
    const Pairs pairs(random);
    const Result result = Answer(pairs.Make(*random));
    for (const char* wrt : {"input1", "input2"}) {
      const Values& x =
          wrt == std::string("input1") ? pairs.input1 : pairs.input2;
      const Values terms = GradientOf(result, wrt) * x;
      ExpectWithin(RowSums(terms, kWidth), Values(kRows, 0.0),
                   4 * random->epsilon() * RowSums(Magnitudes(terms), kWidth) +
                       Values(kRows, kCosineEps));
    }
  });
}

TEST(CosineEmbeddingIdentityTest, EqualVectorsThatShouldBeAlikeCostNothing) {
  ForAll([](Random* random) {
    Pairs pairs(random);
    pairs.input2 = pairs.input1;
    pairs.target = Values(kRows, 1.0);
    const Result result = Answer(pairs.Make(*random));
    const double tolerance = 4 * Epsilon(Dtype::kFloat64) + kCosineEps;
    ExpectWithin(LossOf(result), Values(kRows, 0.0), tolerance);
    ExpectWithin(GradientOf(result, "input1"), Values(kElements, 0.0),
                 2 * tolerance);
    ExpectWithin(GradientOf(result, "input2"), Values(kElements, 0.0),
                 2 * tolerance);
  });
}

TEST(CosineEmbeddingIdentityTest, TheInputsCanBeExchanged) {
  ForAll([](Random* random) {
    const Pairs pairs(random);
    Pairs exchanged = pairs;
    std::swap(exchanged.input1, exchanged.input2);
    const Result a = Answer(pairs.Make(*random));
    const Result b = Answer(exchanged.Make(*random));
    EXPECT_EQ(LossOf(a), LossOf(b));
    EXPECT_EQ(GradientOf(a, "input1"), GradientOf(b, "input2"));
    EXPECT_EQ(GradientOf(a, "input2"), GradientOf(b, "input1"));
  });
}

TEST(CosineEmbeddingIdentityTest, UnlikeIsLikeOfTheOppositeVector) {
  // With a margin of -1 the hinge is never reached: 1 + cos, and 1 - cos.
  ForAll([](Random* random) {
    Pairs like(random);
    like.target = Values(kRows, 1.0);
    Pairs unlike = like;
    unlike.target = Values(kRows, -1.0);
    unlike.input2 = -like.input2;
    const Result a = Answer(like.Make(*random).Set("margin", -1.0));
    const Result b = Answer(unlike.Make(*random).Set("margin", -1.0));
    ExpectClose(*random, LossOf(a), LossOf(b), 2, 1);
    EXPECT_EQ(GradientOf(a, "input1"), GradientOf(b, "input1"));
    EXPECT_EQ(GradientOf(a, "input2"), -GradientOf(b, "input2"));
  });
}

TestEvaluation MultiMargin(const Random& random, const Values& input,
                           const Values& labels) {
  TestEvaluation evaluation("multi_margin_loss");
  evaluation.Set("input", random.Tensor(kShape, input));
  evaluation.Set("target", Indices({kRows}, labels));
  return evaluation.Reduce(Reduction::kNone).Gradient();
}

// `labels` holds the classes of each row, one row after the other.
TestEvaluation MultilabelMargin(const Random& random, const Values& input,
                                const Values& labels) {
  TestEvaluation evaluation("multilabel_margin_loss");
  evaluation.Set("input", random.Tensor(kShape, input));
  evaluation.Set("target", Indices(kShape, labels));
  return evaluation.Reduce(Reduction::kNone).Gradient();
}

// Each row's label `count` times, then -1 and what does not matter.
Values Padded(const Values& labels, int64_t count) {
  Values padded;
  for (const double y : labels) {
    padded.insert(padded.end(), count, y);
    padded.push_back(-1);
    padded.insert(padded.end(), kWidth - count - 1, 3);
  }
  return padded;
}

TEST(MultiMarginIdentityTest, OneLabelIsMultilabelOfOne) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -2, 2);
    const Values labels = random->Integers(kRows, 0, kWidth - 1);
    for (const Reduction reduction :
         {Reduction::kNone, Reduction::kMean, Reduction::kSum}) {
      const Result a =
          Answer(MultiMargin(*random, x, labels).Reduce(reduction));
      const Result b = Answer(
          MultilabelMargin(*random, x, Padded(labels, 1)).Reduce(reduction));
      EXPECT_EQ(LossOf(a), LossOf(b));
      ExpectClose(*random, GradientOf(a, "input"), GradientOf(b, "input"), 2);
      EXPECT_GT(Greatest(GradientOf(a, "input")), 0);
    }
  });
}

TEST(MultiMarginIdentityTest, TheWeightOfTheLabelScalesItsSample) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -2, 2);
    const Values labels = random->Integers(kRows, 0, kWidth - 1);
    const Values weight = random->Uniform(kWidth, 0.25, 2);
    const Values own =
        Map(labels, [&](double y) { return weight[static_cast<size_t>(y)]; });
    for (const double p : {1.0, 2.0}) {
      TestEvaluation evaluation = MultiMargin(*random, x, labels);
      const Result plain = Answer(evaluation.Set("p", p));
      evaluation.Set("weight", random->Tensor({kWidth}, weight));
      const Result weighted = Answer(evaluation);
      ExpectClose(*random, LossOf(weighted), own * LossOf(plain), 2);
      ExpectClose(*random, GradientOf(weighted, "input"),
                  Repeated(own, kWidth) * GradientOf(plain, "input"), 4);
    }
  });
}

TEST(MultiMarginIdentityTest, AShiftOfTheScoresChangesNothing) {
  ForAll([](Random* random) {
    const Values x = random->Coarse(kElements, -2, 2);
    const Values moved = x + Repeated(random->Integers(kRows, -64, 64), kWidth);
    const Values labels = random->Integers(kRows, 0, kWidth - 1);
    for (const double p : {1.0, 2.0}) {
      EXPECT_EQ(
          Digest(Answer(MultiMargin(*random, x, labels).Set("p", p))),
          Digest(Answer(MultiMargin(*random, moved, labels).Set("p", p))));
    }
    EXPECT_EQ(
        Digest(Answer(MultilabelMargin(*random, x, Padded(labels, 1)))),
        Digest(Answer(MultilabelMargin(*random, moved, Padded(labels, 1)))));
  });
}

TEST(MultiMarginIdentityTest, TheGradientOfARowAddsUpToZero) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -2, 2);
    const Values labels = random->Integers(kRows, 0, kWidth - 1);
    const Values all = random->Integers(kElements, -1, kWidth - 1);
    for (const TestEvaluation& each :
         {MultiMargin(*random, x, labels),
          MultiMargin(*random, x, labels).Set("p", 2.0),
          MultilabelMargin(*random, x, all)}) {
      const Values gradient = GradientOf(Answer(each), "input");
      EXPECT_GT(Greatest(gradient), 0);
      ExpectClose(*random, RowSums(gradient, kWidth), Values(kRows, 0.0), 2,
                  RowSums(Magnitudes(gradient), kWidth));
    }
  });
}

TEST(MultilabelMarginIdentityTest, WhereAllClassesAreTargetsNothingIsLost) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -2, 2);
    Values labels;
    for (int64_t row = 0; row < kRows; ++row) {
      for (const int64_t c : random->Permutation(kWidth)) {
        labels.push_back(static_cast<double>(c));
      }
    }
    const Result result = Answer(MultilabelMargin(*random, x, labels));
    EXPECT_EQ(LossOf(result), Values(kRows, 0.0));
    EXPECT_EQ(GradientOf(result, "input"), Values(kElements, 0.0));
  });
}

TEST(MultilabelMarginIdentityTest, ALabelThatIsThereTwiceCountsTwice) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -2, 2);
    const Values labels = random->Integers(kRows, 0, kWidth - 1);
    const Result once = Answer(MultilabelMargin(*random, x, Padded(labels, 1)));
    const Result twice =
        Answer(MultilabelMargin(*random, x, Padded(labels, 2)));
    ExpectClose(*random, LossOf(twice), 2 * LossOf(once), 2);
    ExpectClose(*random, GradientOf(twice, "input"),
                2 * GradientOf(once, "input"), 1);
  });
}

TEST(MultilabelMarginIdentityTest, TheOrderOfTheLabelsDoesNotMatter) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -2, 2);
    Values forwards, backwards;
    for (int64_t row = 0; row < kRows; ++row) {
      const std::vector<int64_t> classes = random->Permutation(kWidth);
      for (int64_t k = 0; k < kWidth; ++k) {
        forwards.push_back(k < 3 ? static_cast<double>(classes[k]) : -1);
        backwards.push_back(k < 3 ? static_cast<double>(classes[2 - k]) : -1);
      }
    }
    const Result a = Answer(MultilabelMargin(*random, x, forwards));
    const Result b = Answer(MultilabelMargin(*random, x, backwards));
    ExpectClose(*random, LossOf(a), LossOf(b), 4);
    EXPECT_EQ(GradientOf(a, "input"), GradientOf(b, "input"));
  });
}

}  // namespace
}  // namespace lossd
