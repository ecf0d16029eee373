// SPDX-License-Identifier: Apache-2.0
//
// Identities among the losses of a difference: l1, mse, huber and smooth_l1.

#include <cmath>

#include "gtest/gtest.h"
#include "tests/property/property_support.h"

namespace lossd {
namespace {

constexpr int64_t kElements = 45;
const Shape kShape = {9, 5};
const char* const kLosses[] = {"l1_loss", "mse_loss", "huber_loss",
                               "smooth_l1_loss"};

// Random differences, of which some are ties.
struct Samples {
  explicit Samples(Random* random)
      : input(random->Uniform(kElements, -3, 3)),
        target(random->Uniform(kElements, -3, 3)),
        weight(random->Uniform(kElements, 0.25, 2)) {
    for (size_t i = 0; i < kElements; i += 11) target[i] = input[i];
  }

  TestEvaluation Make(const char* loss, const Random& random,
                      bool weighted = false) const {
    TestEvaluation evaluation(loss);
    evaluation.Set("input", random.Tensor(kShape, input));
    evaluation.Set("target", random.Tensor(kShape, target));
    if (weighted) evaluation.Set("weight", random.Tensor(kShape, weight));
    evaluation.Reduce(Reduction::kNone).Gradient({"input", "target"});
    if (weighted) evaluation.Gradient({"input", "target", "weight"});
    return evaluation;
  }

  Values input, target, weight;
};

// That the one is `factor` times the other, in loss and gradients.
void ExpectMultiple(const Random& random, const TestEvaluation& actual,
                    double factor, const TestEvaluation& other, double ulps) {
  const Result a = Answer(actual);
  const Result b = Answer(other);
  ExpectClose(random, LossOf(a), factor * LossOf(b), ulps);
  ASSERT_EQ(a.gradients.size(), b.gradients.size());
  for (const GradientValue& gradient : b.gradients) {
    SCOPED_TRACE(gradient.wrt);
    ExpectClose(random, GradientOf(a, gradient.wrt),
                factor * ValuesOf(gradient.value), ulps);
  }
}

TEST(ResidualIdentityTest, SmoothL1IsHuberOverBeta) {
  ForAll([](Random* random) {
    const Samples samples(random);
    for (const double beta : {0.25, 1.0, 1.7}) {
      for (const bool weighted : {false, true}) {
        for (const Reduction reduction :
             {Reduction::kNone, Reduction::kMean, Reduction::kSum}) {
          TestEvaluation smooth =
              samples.Make("smooth_l1_loss", *random, weighted);
          TestEvaluation huber = samples.Make("huber_loss", *random, weighted);
          smooth.Set("beta", beta).Reduce(reduction);
          huber.Set("delta", beta).Reduce(reduction);
          ExpectMultiple(*random, smooth, 1 / beta, huber, 8);
        }
      }
    }
  });
}

TEST(ResidualIdentityTest, SmoothL1OfBetaZeroIsL1ToTheBit) {
  ForAll([](Random* random) {
    const Samples samples(random);
    for (const bool weighted : {false, true}) {
      for (const Reduction reduction : {Reduction::kNone, Reduction::kSum}) {
        TestEvaluation smooth =
            samples.Make("smooth_l1_loss", *random, weighted);
        TestEvaluation l1 = samples.Make("l1_loss", *random, weighted);
        smooth.Set("beta", 0.0).Reduce(reduction);
        ExpectMultiple(*random, smooth, 1, l1.Reduce(reduction), 0);
      }
    }
  });
}

TEST(ResidualIdentityTest, HuberBelowItsDeltaIsHalfMse) {
  ForAll([](Random* random) {
    const Samples samples(random);
    for (const bool weighted : {false, true}) {
      for (const Reduction reduction : {Reduction::kNone, Reduction::kSum}) {
        TestEvaluation huber = samples.Make("huber_loss", *random, weighted);
        TestEvaluation mse = samples.Make("mse_loss", *random, weighted);
        huber.Set("delta", 1e6).Reduce(reduction);
        // Halving rounds nothing.
        ExpectMultiple(*random, huber, 0.5, mse.Reduce(reduction),
                       weighted ? 2 : 0);
      }
    }
  });
}

TEST(ResidualIdentityTest, HuberFarBeyondItsDeltaIsL1LessAConstant) {
  ForAll([](Random* random) {
    const Samples samples(random);
    const double delta = 0x1p-40;
    TestEvaluation huber = samples.Make("huber_loss", *random);
    const Result a = Answer(huber.Set("delta", delta));
    const Result b = Answer(samples.Make("l1_loss", *random));
    ExpectWithin(1 / delta * LossOf(a), LossOf(b), delta);
    EXPECT_EQ(1 / delta * GradientOf(a, "input"), GradientOf(b, "input"));
  });
}

TEST(ResidualIdentityTest, WeightsOfOneChangeNoBit) {
  ForAll([](Random* random) {
    Samples samples(random);
    samples.weight = Values(kElements, 1.0);
    for (const char* loss : kLosses) {
      for (const Reduction reduction :
           {Reduction::kNone, Reduction::kMean, Reduction::kSum}) {
        TestEvaluation weighted = samples.Make(loss, *random, true);
        TestEvaluation plain = samples.Make(loss, *random, false);
        weighted.Gradient({"input", "target"});
        EXPECT_EQ(Digest(Answer(weighted.Reduce(reduction))),
                  Digest(Answer(plain.Reduce(reduction))))
            << loss;
      }
    }
  });
}

TEST(ResidualIdentityTest, AConstantWeightCancelsInTheMeansOfL1AndMse) {
  ForAll([](Random* random) {
    Samples samples(random);
    for (const double weight : {4.0, random->Number(0.3, 3)}) {
      samples.weight = Values(kElements, weight);
      for (const char* loss : kLosses) {
        SCOPED_TRACE(loss);
        TestEvaluation weighted = samples.Make(loss, *random, true);
        TestEvaluation plain = samples.Make(loss, *random, false);
        weighted.Reduce(Reduction::kMean).Gradient({"input", "target"});
        plain.Reduce(Reduction::kMean);
        const bool cancels = absl::string_view(loss) == "l1_loss" ||
                             absl::string_view(loss) == "mse_loss";
        ExpectMultiple(*random, weighted, cancels ? 1 : weight, plain,
                       weight == 4 ? 0 : 4);
      }
    }
  });
}

TEST(ResidualIdentityTest, TheWeightedMeanIsStationaryInItsWeights) {
  // (sum of w * e) / (sum of w): by w the slope is (e - mean) / (sum of w),
  // and no multiple of all weights changes it.
  ForAll([](Random* random) {
    const Samples samples(random);
    for (const char* loss : {"l1_loss", "mse_loss"}) {
      SCOPED_TRACE(loss);
      TestEvaluation mean = samples.Make(loss, *random, true);
      const Result a = Answer(mean.Reduce(Reduction::kMean));
      const Values each = LossOf(Answer(samples.Make(loss, *random, false)));
      const double weights = Sum(samples.weight);
      const Values slopes =
          Map(each, [&](double e) { return (e - *a.loss) / weights; });
      ExpectClose(*random, GradientOf(a, "weight"), slopes, 4,
                  (Greatest(each) + *a.loss) / weights);
      const Values terms = GradientOf(a, "weight") * samples.weight;
      ExpectClose(*random, {Sum(terms)}, {0}, 4, SumOfMagnitudes(terms));
    }
  });
}

TEST(ResidualIdentityTest, TheSumIsLinearInItsWeights) {
  ForAll([](Random* random) {
    const Samples samples(random);
    for (const char* loss : kLosses) {
      SCOPED_TRACE(loss);
      TestEvaluation weighted = samples.Make(loss, *random, true);
      const Result a = Answer(weighted.Reduce(Reduction::kSum));
      ExpectClose(*random, {Sum(GradientOf(a, "weight") * samples.weight)},
                  LossOf(a), 4);
      EXPECT_EQ(GradientOf(a, "weight"),
                LossOf(Answer(samples.Make(loss, *random, false))));
    }
  });
}

TEST(ResidualIdentityTest, InputAndTargetCanBeExchanged) {
  ForAll([](Random* random) {
    const Samples samples(random);
    Samples exchanged = samples;
    std::swap(exchanged.input, exchanged.target);
    for (const char* loss : kLosses) {
      SCOPED_TRACE(loss);
      const Result a = Answer(samples.Make(loss, *random, true));
      const Result b = Answer(exchanged.Make(loss, *random, true));
      EXPECT_EQ(LossOf(a), LossOf(b));
      EXPECT_EQ(GradientOf(a, "input"), GradientOf(b, "target"));
      EXPECT_EQ(GradientOf(a, "input"), -GradientOf(a, "target"));
      EXPECT_EQ(GradientOf(a, "weight"), GradientOf(b, "weight"));
    }
  });
}

}  // namespace
}  // namespace lossd
