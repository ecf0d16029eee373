// SPDX-License-Identifier: Apache-2.0
//
// Identities among the losses of yes and no: the binary cross-entropies,
// two-class cross_entropy, multilabel_soft_margin_loss and soft_margin_loss.

#include <cmath>

#include "gtest/gtest.h"
#include "tests/property/property_support.h"

namespace lossd {
namespace {

constexpr int64_t kRows = 9;
constexpr int64_t kClasses = 21;  // more than are computed at a time
constexpr int64_t kElements = kRows * kClasses;
const Shape kShape = {kRows, kClasses};

TestEvaluation Make(const char* loss, const Random& random, const Values& input,
                    const Values& target) {
  TestEvaluation evaluation(loss);
  evaluation.Set("input", random.Tensor(kShape, input));
  evaluation.Set("target", random.Tensor(kShape, target));
  evaluation.Reduce(Reduction::kNone).Gradient({"input"});
  return evaluation;
}

TestEvaluation WithLogits(const Random& random, const Values& input,
                          const Values& target) {
  return Make("binary_cross_entropy_with_logits", random, input, target);
}

TEST(BernoulliIdentityTest, BinaryCrossEntropyOfSigmoidIsThatOfLogits) {
  ForAll([](Random* random) {
    const Values p = random->Uniform(kElements, 0.001, 0.999);
    const Values x = random->Narrow(Map(p, [](double v) {
      return static_cast<double>(std::log(static_cast<long double>(v)) -
                                 std::log1p(-static_cast<long double>(v)));
    }));
    const Values t = random->Uniform(kElements, 0, 1);
    const TestTensor weight =
        random->Tensor({kClasses}, random->Uniform(kClasses, 0, 1));
    TestEvaluation probabilities = Make("binary_cross_entropy", *random, p, t);
    TestEvaluation logits = WithLogits(*random, x, t);
    const std::vector<std::string> wrt = {"input", "target"};
    const Result a = Answer(probabilities.Set("weight", weight).Gradient(wrt));
    const Result b = Answer(logits.Set("weight", weight).Gradient(wrt));
    // The logit is rounded, and the loss's slope by it is at most 1.
    ExpectClose(*random, LossOf(a), LossOf(b), 4, LossOf(b) + Magnitudes(x));
    const Values slope = Map(p, [](double v) { return v * (1 - v); });
    ExpectClose(*random, GradientOf(a, "input") * slope, GradientOf(b, "input"),
                8, 1);
    // log(1 - p) - log(p), each of at most |x| + log(2).
    ExpectClose(*random, GradientOf(a, "target"), GradientOf(b, "target"), 2,
                Map(x, [](double v) { return 1 + std::abs(v); }));
  });
}

TEST(BernoulliIdentityTest, NoOfTheOppositeLogitIsYesToTheBit) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -30, 30);
    const Values t = random->Coarse(kElements, 0, 1);
    const Values opposite = Map(t, [](double v) { return 1 - v; });
    const std::vector<std::string> wrt = {"input", "target"};
    const Result a = Answer(WithLogits(*random, x, t).Gradient(wrt));
    const Result b = Answer(WithLogits(*random, -x, opposite).Gradient(wrt));
    EXPECT_EQ(LossOf(a), LossOf(b));
    EXPECT_EQ(GradientOf(a, "input"), -GradientOf(b, "input"));
    EXPECT_EQ(GradientOf(a, "target"), -GradientOf(b, "target"));
  });
}

TEST(BernoulliIdentityTest, NoOfTheOppositeProbabilityIsYes) {
  ForAll([](Random* random) {
    const Values p = random->Coarse(kElements, 0, 1);
    const Values t = random->Coarse(kElements, 0, 1);
    const auto opposite = [](double v) { return 1 - v; };
    const Result a = Answer(Make("binary_cross_entropy", *random, p, t));
    const Result b = Answer(Make("binary_cross_entropy", *random,
                                 Map(p, opposite), Map(t, opposite)));
    ExpectClose(*random, LossOf(a), LossOf(b), 4);
    ExpectClose(*random, GradientOf(a, "input"), -GradientOf(b, "input"), 2);
  });
}

TEST(BernoulliIdentityTest, APositiveWeightScalesThePositiveTermAlone) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -30, 30);
    const Values t = random->Integers(kElements, 0, 1);
    const Values weight = random->Uniform(kClasses, 0.25, 4);
    TestEvaluation positive = WithLogits(*random, x, t);
    positive.Set("pos_weight", random->Tensor({kClasses}, weight));
    TestEvaluation weighted = WithLogits(*random, x, t);
    weighted.Set("weight", random->Tensor(kShape, Zip(t, Tiled(weight, kRows),
                                                      [](double yes, double w) {
                                                        return yes == 1 ? w : 1;
                                                      })));
    const Result a = Answer(positive);
    const Result b = Answer(weighted);
    ExpectClose(*random, LossOf(a), LossOf(b), 2);
    ExpectClose(*random, GradientOf(a, "input"), GradientOf(b, "input"), 2);
  });
}

// The class logits [0, x] of each x.
Values WithZeros(const Values& x) {
  Values logits;
  for (const double v : x) logits.insert(logits.end(), {0, v});
  return logits;
}

// What belongs to the second of two classes.
Values Seconds(const Values& x) {
  Values seconds;
  for (size_t i = 1; i < x.size(); i += 2) seconds.push_back(x[i]);
  return seconds;
}

TEST(BernoulliIdentityTest, TwoClassesAreBinaryLogits) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -30, 30);
    const Values t = random->Integers(kElements, 0, 1);
    TestEvaluation classes("cross_entropy");
    classes.Set("input", random->Tensor({kElements, 2}, WithZeros(x)));
    classes.Set("target", Indices({kElements}, t));
    classes.Reduce(Reduction::kNone).Gradient();
    const Result a = Answer(classes);
    const Result b = Answer(WithLogits(*random, x, t));
    ExpectClose(*random, LossOf(a), LossOf(b), 8);
    ExpectClose(*random, Seconds(GradientOf(a, "input")),
                GradientOf(b, "input"), 8);
  });
}

TEST(BernoulliIdentityTest, TwoClassProbabilitiesAreBinaryLogits) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -30, 30);
    const Values t = random->Coarse(kElements, 0, 1);
    Values masses;
    for (const double v : t) masses.insert(masses.end(), {1 - v, v});
    TestEvaluation classes("cross_entropy");
    classes.Set("input", random->Tensor({kElements, 2}, WithZeros(x)));
    classes.Set("target", random->Tensor({kElements, 2}, masses));
    classes.Reduce(Reduction::kNone).Gradient();
    const Result a = Answer(classes);
    const Result b = Answer(WithLogits(*random, x, t));
    ExpectClose(*random, LossOf(a), LossOf(b), 8);
    ExpectClose(*random, Seconds(GradientOf(a, "input")),
                GradientOf(b, "input"), 8, 1);
  });
}

TEST(BernoulliIdentityTest, MultilabelSoftMarginIsTheMeanOverTheClasses) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -20, 20);
    const Values t = random->Uniform(kElements, 0, 1);
    const Values w = random->Uniform(kClasses, 0.25, 2);
    const std::vector<std::string> wrt = {"input", "target"};
    TestEvaluation rows = Make("multilabel_soft_margin_loss", *random, x, t);
    rows.Set("weight", random->Tensor({kClasses}, w));
    const Result a = Answer(rows.Gradient({"input", "target", "weight"}));
    TestEvaluation elements = WithLogits(*random, x, t);
    const Values plain = LossOf(Answer(elements));
    elements.Set("weight", random->Tensor({kClasses}, w)).Gradient(wrt);
    const Result b = Answer(elements);
    const double share = 1.0 / kClasses;
    ExpectClose(*random, LossOf(a), share * RowSums(LossOf(b), kClasses), 4);
    ExpectClose(*random, GradientOf(a, "input"), share * GradientOf(b, "input"),
                8, share * Tiled(w, kRows));
    ExpectClose(*random, GradientOf(a, "target"),
                share * GradientOf(b, "target"), 4);
    ExpectClose(*random, GradientOf(a, "weight"),
                share * Collected(plain, {1, kClasses}, kShape), 4);
  });
}

TEST(BernoulliIdentityTest, SoftMarginIsBinaryLogits) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -40, 40);
    const Values sign = random->Signs(kElements);
    const Values t = Map(sign, [](double v) { return (v + 1) / 2; });
    const Result a = Answer(Make("soft_margin_loss", *random, x, sign));
    const Result b = Answer(WithLogits(*random, x, t));
    ExpectClose(*random, LossOf(a), LossOf(b), 8);
    ExpectClose(*random, GradientOf(a, "input"), GradientOf(b, "input"), 8);
  });
}

TEST(BernoulliIdentityTest, SoftMarginDependsOnTheProductAlone) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -40, 40);
    const Values t = random->Signs(kElements);
    const Result a = Answer(Make("soft_margin_loss", *random, x, t));
    const Result b = Answer(Make("soft_margin_loss", *random, -x, -t));
    const Result c = Answer(Make("soft_margin_loss", *random, 0.25 * x, 4 * t));
    EXPECT_EQ(LossOf(a), LossOf(b));
    EXPECT_EQ(LossOf(a), LossOf(c));
    EXPECT_EQ(GradientOf(a, "input"), -GradientOf(b, "input"));
    EXPECT_EQ(4 * GradientOf(a, "input"), GradientOf(c, "input"));
  });
}

}  // namespace
}  // namespace lossd
