// SPDX-License-Identifier: Apache-2.0
//
// Identities of kl_div, poisson_nll_loss and gaussian_nll_loss.

#include <cmath>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/property/property_support.h"

namespace lossd {
namespace {

constexpr int64_t kRows = 6;
constexpr int64_t kClasses = 5;
constexpr int64_t kElements = kRows * kClasses;
const Shape kShape = {kRows, kClasses};

Values Logs(const Values& x) {
  return Map(x, [](double v) { return std::log(v); });
}

TestEvaluation Make(const char* loss, const Random& random, const Values& input,
                    const Values& target) {
  TestEvaluation evaluation(loss);
  evaluation.Set("input", random.Tensor(kShape, input));
  evaluation.Set("target", random.Tensor(kShape, target));
  evaluation.Reduce(Reduction::kNone).Gradient({"input", "target"});
  return evaluation;
}

TEST(KlIdentityTest, ADistributionDoesNotDivergeFromItself) {
  ForAll([](Random* random) {
    const Values p = random->Distributions(kRows, kClasses);
    const Values log_p = random->Narrow(Logs(p));
    const Result plain = Answer(Make("kl_div", *random, log_p, p));
    const Values none(kElements, 0.0);
    ExpectClose(*random, LossOf(plain), none, 2, p * log_p);
    EXPECT_EQ(GradientOf(plain, "input"), -p);
    ExpectClose(*random, GradientOf(plain, "target"), Values(kElements, 1.0), 2,
                Map(log_p, [](double v) { return 1 - v; }));

    TestEvaluation logarithms = Make("kl_div", *random, log_p, log_p);
    const Result in_logs = Answer(logarithms.Set("log_target", 1.0));
    EXPECT_EQ(LossOf(in_logs), none);
    const Values mass = Map(log_p, [](double v) { return std::exp(v); });
    ExpectClose(*random, GradientOf(in_logs, "input"), -mass, 2);
    ExpectClose(*random, GradientOf(in_logs, "target"), mass, 2);
  });
}

TEST(KlIdentityTest, LogTargetIsTheTargetOfItsExponential) {
  ForAll([](Random* random) {
    const Values p = random->Distributions(kRows, kClasses);
    const Values log_p = random->Narrow(Logs(p));
    const Values x = random->Uniform(kElements, -6, 0);
    TestEvaluation logarithms = Make("kl_div", *random, x, log_p);
    const Result a = Answer(logarithms.Set("log_target", 1.0));
    const Result b = Answer(Make("kl_div", *random, x, p));
    // The logarithm is rounded.
    const Values scale = p * (Magnitudes(log_p) + Magnitudes(x));
    ExpectClose(*random, LossOf(a), LossOf(b), 4, 4 * scale);
    ExpectClose(*random, GradientOf(a, "input"), GradientOf(b, "input"), 4,
                p + p * Magnitudes(log_p));
    ExpectClose(*random, GradientOf(a, "target"), p * GradientOf(b, "target"),
                4, 4 * (scale + p));
  });
}

TEST(KlIdentityTest, DivergenceIsCrossEntropyLessEntropy) {
  ForAll([](Random* random) {
    const Values logits = random->Uniform(kElements, -4, 4);
    const Values log_q = LogSoftmax(logits, kClasses);
    const Values p = random->Distributions(kRows, kClasses);
    const Result kl = Answer(Make("kl_div", *random, log_q, p));
    const Result ce = Answer(Make("cross_entropy", *random, logits, p));
    const Values entropy = RowSums(-(p * Logs(p)), kClasses);
    ExpectClose(*random, RowSums(LossOf(kl), kClasses), LossOf(ce) - entropy, 2,
                LossOf(ce) + entropy);
    const Values q = Map(log_q, [](double v) { return std::exp(v); });
    const Values mass = Repeated(RowSums(p, kClasses), kClasses);
    ExpectClose(*random, GradientOf(ce, "input"),
                GradientOf(kl, "input") + q * mass, 4, p + q);
    const Values slope_of_entropy =
        Map(p, [](double v) { return std::log(v) + 1; });
    ExpectClose(*random, GradientOf(kl, "target"),
                GradientOf(ce, "target") + slope_of_entropy, 2,
                Map(log_q, [](double v) { return 4 - v; }));
  });
}

TEST(KlIdentityTest, BatchMeanIsTheSumOverTheFirstDimension) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -6, 0);
    const Values p = random->Distributions(kRows, kClasses);
    TestEvaluation evaluation = Make("kl_div", *random, x, p);
    const Result sum = Answer(evaluation.Reduce(Reduction::kSum));
    const Result mean = Answer(evaluation.Reduce(Reduction::kBatchMean));
    EXPECT_EQ(mean.mean_denominator, kRows);
    ExpectClose(*random, LossOf(mean), 1.0 / kRows * LossOf(sum), 1);
    for (const char* wrt : {"input", "target"}) {
      ExpectClose(*random, GradientOf(mean, wrt),
                  1.0 / kRows * GradientOf(sum, wrt), 1);
    }
  });
}

TEST(PoissonIdentityTest, TheLogarithmOfARateIsThatRate) {
  ForAll([](Random* random) {
    const Values rate = random->Uniform(kElements, 0.05, 20);
    const Values x = random->Narrow(Logs(rate));
    const Values t = random->Integers(kElements, 0, 9);
    for (const double full : {0.0, 1.0}) {
      TestEvaluation logarithms = Make("poisson_nll_loss", *random, x, t);
      TestEvaluation rates = Make("poisson_nll_loss", *random, rate, t);
      rates.Set("log_input", 0.0).Set("eps", 0.0).Set("full", full);
      const std::vector<std::string> wrt =
          full == 0 ? std::vector<std::string>{"input", "target"}
                    : std::vector<std::string>{"input"};
      const Result a = Answer(logarithms.Set("full", full).Gradient(wrt));
      const Result b = Answer(rates.Gradient(wrt));
      const Values stirling =
          Map(t, [&](double v) { return full * (v * std::log(v + 1) + v); });
      const Values scale =
          rate * Map(x, [](double v) { return 1 + std::abs(v); }) +
          t * Magnitudes(x);
      ExpectClose(*random, LossOf(a), LossOf(b), 4, scale + stirling);
      ExpectClose(*random, GradientOf(a, "input"),
                  rate * GradientOf(b, "input"), 4, scale + t);
      if (full != 0) continue;
      ExpectClose(*random, GradientOf(a, "target"), GradientOf(b, "target"), 1);
    }
  });
}

TEST(PoissonIdentityTest, EpsIsAddedToTheRateWithinTheLogarithm) {
  ForAll([](Random* random) {
    const double eps = 0.25;
    const Values rate = random->Coarse(kElements, 0, 20);
    const Values moved = Map(rate, [&](double v) { return v + eps; });
    const Values t = random->Integers(kElements, 0, 9);
    TestEvaluation with = Make("poisson_nll_loss", *random, rate, t);
    TestEvaluation without = Make("poisson_nll_loss", *random, moved, t);
    const Result a = Answer(with.Set("log_input", 0.0).Set("eps", eps));
    const Result b = Answer(without.Set("log_input", 0.0).Set("eps", 0.0));
    ExpectClose(*random, LossOf(a),
                Map(LossOf(b), [&](double v) { return v - eps; }), 2, 30);
    EXPECT_EQ(GradientOf(a, "input"), GradientOf(b, "input"));
    EXPECT_EQ(GradientOf(a, "target"), GradientOf(b, "target"));
  });
}

TEST(PoissonIdentityTest, StirlingsTermIsThatOfTheTargetAlone) {
  ForAll([](Random* random) {
    const Values x = random->Uniform(kElements, -2, 3);
    const Values t = random->Integers(kElements, 0, 9);
    TestEvaluation evaluation = Make("poisson_nll_loss", *random, x, t);
    const Result plain = Answer(evaluation.Gradient({"input"}));
    const Result full = Answer(evaluation.Set("full", 1.0));
    const Values stirling = Map(t, [](double v) {
      const double pi = std::acos(-1.0);
      return v > 1 ? v * std::log(v) - v + std::log(2 * pi * v) / 2 : 0.0;
    });
    ExpectClose(*random, LossOf(full), LossOf(plain) + stirling, 2, 64);
    EXPECT_EQ(GradientOf(full, "input"), GradientOf(plain, "input"));
  });
}

// Random observations and variances of input's shape.
struct Gaussian {
  explicit Gaussian(Random* random)
      : input(random->Uniform(kElements, -3, 3)),
        target(random->Uniform(kElements, -3, 3)),
        var(random->Uniform(kElements, 0.1, 3)) {}

  TestEvaluation With(const Random& random, const TestTensor& variance) const {
    TestEvaluation evaluation =
        Make("gaussian_nll_loss", random, input, target);
    evaluation.Set("var", variance).Gradient({"input", "target", "var"});
    return evaluation;
  }
  TestEvaluation Whole(const Random& random) const {
    return With(random, random.Tensor(kShape, var));
  }

  Values input, target, var;
};

TEST(GaussianIdentityTest, OfVarianceOneItIsHalfMse) {
  ForAll([](Random* random) {
    const Gaussian samples(random);
    TestEvaluation unit =
        samples.With(*random, Filled(random->dtype(), kShape, 1));
    const Result mse =
        Answer(Make("mse_loss", *random, samples.input, samples.target));
    const Result plain = Answer(unit);
    ExpectClose(*random, LossOf(plain), 0.5 * LossOf(mse), 2);
    ExpectClose(*random, GradientOf(plain, "input"),
                0.5 * GradientOf(mse, "input"), 1);
    ExpectClose(*random, GradientOf(plain, "target"),
                0.5 * GradientOf(mse, "target"), 1);
    const Result full = Answer(unit.Set("full", 1.0));
    const double constant = std::log(2 * std::acos(-1.0)) / 2;
    ExpectClose(*random, LossOf(full),
                Map(LossOf(plain), [&](double v) { return v + constant; }), 2);
    EXPECT_EQ(GradientOf(full, "var"), GradientOf(plain, "var"));
  });
}

TEST(GaussianIdentityTest, TheGradientOfVarFollowsFromThatOfInput) {
  ForAll([](Random* random) {
    const Gaussian samples(random);
    const Result result = Answer(samples.Whole(*random));
    const Values squares =
        Map(GradientOf(result, "input"), [](double v) { return v * v; });
    const Values inverse = Map(samples.var, [](double v) { return 1 / v; });
    ExpectClose(*random, GradientOf(result, "var"), 0.5 * (inverse - squares),
                2, inverse + squares);
    EXPECT_EQ(GradientOf(result, "input"), -GradientOf(result, "target"));
  });
}

TEST(GaussianIdentityTest, AnotherUnitAddsItsLogarithm) {
  ForAll([](Random* random) {
    const Gaussian samples(random);
    Gaussian scaled = samples;
    scaled.input = 4 * samples.input;
    scaled.target = 4 * samples.target;
    scaled.var = 16 * samples.var;
    const Result a = Answer(scaled.Whole(*random));
    const Result b = Answer(samples.Whole(*random));
    ExpectClose(*random, LossOf(a),
                Map(LossOf(b), [](double v) { return v + std::log(4.0); }), 2,
                Map(LossOf(b), [](double v) { return 4 + std::abs(v); }));
    EXPECT_EQ(4 * GradientOf(a, "input"), GradientOf(b, "input"));
    EXPECT_EQ(16 * GradientOf(a, "var"), GradientOf(b, "var"));
  });
}

TEST(GaussianIdentityTest, AVarianceBelowEpsIsEps) {
  ForAll([](Random* random) {
    Gaussian samples(random);
    samples.var = random->Uniform(kElements, 0, 0.5);
    const TestTensor floor = Filled(random->dtype(), kShape, 0.5);
    TestEvaluation small = samples.Whole(*random);
    EXPECT_EQ(Digest(Answer(small.Set("eps", 0.5))),
              Digest(Answer(samples.With(*random, floor).Set("eps", 0.5))));
  });
}

TEST(GaussianIdentityTest, AVarianceThatBroadcastsIsTheSameOneRepeated) {
  ForAll([](Random* random) {
    const Gaussian samples(random);
    // The shape that is sent, and the one under which it broadcasts.
    const std::pair<Shape, Shape> shapes[] = {{{}, {1, 1}},
                                              {{kRows}, {kRows, 1}},
                                              {{kRows, 1}, {kRows, 1}},
                                              {{1, kClasses}, {1, kClasses}}};
    for (const auto& [shape, view] : shapes) {
      SCOPED_TRACE(ShapeName(shape));
      const Values var = random->Uniform(ElementCount(shape).value(), 0.1, 3);
      for (const Reduction reduction :
           {Reduction::kNone, Reduction::kMean, Reduction::kSum}) {
        Gaussian repeated = samples;
        repeated.var = Expanded(var, view, kShape);
        TestEvaluation broadcast =
            samples.With(*random, random->Tensor(shape, var));
        const Result a = Answer(broadcast.Reduce(reduction));
        const Result b = Answer(repeated.Whole(*random).Reduce(reduction));
        EXPECT_EQ(LossOf(a), LossOf(b));
        EXPECT_EQ(GradientOf(a, "input"), GradientOf(b, "input"));
        EXPECT_EQ(GradientOf(a, "target"), GradientOf(b, "target"));
        const Values each = GradientOf(b, "var");
        ExpectClose(*random, GradientOf(a, "var"),
                    Collected(each, view, kShape), 1,
                    Collected(Magnitudes(each), view, kShape));
      }
    }
  });
}

}  // namespace
}  // namespace lossd
