// SPDX-License-Identifier: Apache-2.0
//
// Identities of cross_entropy and nll_loss: what must hold for any logits.

#include <cmath>

#include "gtest/gtest.h"
#include "tests/property/property_support.h"

namespace lossd {
namespace {

constexpr int64_t kRows = 6;
constexpr int64_t kClasses = 21;  // more than are computed at a time
const Shape kShape = {kRows, kClasses};

// Random samples of kRows rows.
struct Samples {
  explicit Samples(Random* random)
      : logits(random->Uniform(kRows * kClasses, -6, 6)),
        labels(random->Integers(kRows, 0, kClasses - 1)),
        masses(random->Distributions(kRows, kClasses)),
        weight(random->Uniform(kClasses, 0.25, 2)) {}

  TestEvaluation Indices(const Random& random, bool weighted) const {
    return Finish(random, weighted, lossd::Indices({kRows}, labels));
  }
  TestEvaluation Probabilities(const Random& random, bool weighted) const {
    return Finish(random, weighted, random.Tensor(kShape, masses));
  }

  Values logits, labels, masses, weight;

 private:
  TestEvaluation Finish(const Random& random, bool weighted,
                        TestTensor target) const {
    TestEvaluation evaluation("cross_entropy");
    evaluation.Set("input", random.Tensor(kShape, logits));
    evaluation.Set("target", std::move(target));
    if (weighted) evaluation.Set("weight", random.Tensor({kClasses}, weight));
    evaluation.Reduce(Reduction::kNone).Gradient({"input"});
    return evaluation;
  }
};

// No term of a row's loss is greater.
constexpr double kGreatestLoss = 2 * (2 * 6 + 2);

Values OneHot(const Values& labels, int64_t classes) {
  Values masses;
  for (const double label : labels) {
    for (int64_t c = 0; c < classes; ++c) masses.push_back(label == c);
  }
  return masses;
}

TEST(CrossEntropyIdentityTest, UniformLogitsCostTheLogOfTheClassCount) {
  ForAll([](Random* random) {
    for (const int64_t classes : {1, 2, 3, 7, 16, 17, 100, 1000, 1025}) {
      const double label = static_cast<double>(random->Integer(0, classes - 1));
      TestEvaluation evaluation("cross_entropy");
      evaluation.Set("input", Filled(random->dtype(), {1, classes},
                                     random->Number(-50, 50)));
      evaluation.Set("target", Indices({1}, {label})).Gradient();
      const Result result = Answer(evaluation);
      const double share = 1 / static_cast<double>(classes);
      ExpectClose(*random, LossOf(result), {std::log(classes)}, 1);
      const Values expected =
          Map(OneHot({label}, classes), [&](double y) { return share - y; });
      ExpectClose(*random, GradientOf(result, "input"), expected, 2);
    }
  });
}

TEST(CrossEntropyIdentityTest, AnExactShiftOfARowChangesNoBit) {
  ForAll([](Random* random) {
    Samples samples(random);
    samples.logits = random->Coarse(kRows * kClasses, -6, 6);
    Samples shifted = samples;
    shifted.logits =
        samples.logits + Repeated(random->Integers(kRows, -64, 64), kClasses);
    for (const bool weighted : {false, true}) {
      EXPECT_EQ(Digest(Answer(samples.Indices(*random, weighted))),
                Digest(Answer(shifted.Indices(*random, weighted))));
      EXPECT_EQ(Digest(Answer(samples.Probabilities(*random, weighted))),
                Digest(Answer(shifted.Probabilities(*random, weighted))));
    }
  });
}

TEST(CrossEntropyIdentityTest, AnyShiftOfARowChangesNoMoreThanItsRounding) {
  ForAll([](Random* random) {
    const Samples samples(random);
    Samples shifted = samples;
    shifted.logits = random->Narrow(
        samples.logits + Repeated(random->Uniform(kRows, -50, 50), kClasses));
    const Result here = Answer(samples.Indices(*random, false));
    const Result there = Answer(shifted.Indices(*random, false));
    ExpectClose(*random, LossOf(there), LossOf(here), 2, 50);
    ExpectClose(*random, GradientOf(there, "input"), GradientOf(here, "input"),
                2, 50);
  });
}

TEST(CrossEntropyIdentityTest, TheGradientOfARowAddsUpToZero) {
  ForAll([](Random* random) {
    const Samples samples(random);
    for (const bool weighted : {false, true}) {
      for (const double smoothing : {0.0, 0.1, 1.0}) {
        TestEvaluation indices = samples.Indices(*random, weighted);
        TestEvaluation masses = samples.Probabilities(*random, weighted);
        for (TestEvaluation* each : {&indices, &masses}) {
          each->Set("label_smoothing", smoothing);
          const Values gradient = GradientOf(Answer(*each), "input");
          EXPECT_GT(Greatest(gradient), 0.01);
          // Two parts of at most the greatest weight cancel.
          ExpectClose(*random, RowSums(gradient, kClasses), Values(kRows, 0.0),
                      1, 2 * 2);
        }
      }
    }
  });
}

TEST(CrossEntropyIdentityTest, OneHotProbabilitiesAreIndices) {
  ForAll([](Random* random) {
    Samples samples(random);
    samples.masses = OneHot(samples.labels, kClasses);
    for (const Reduction reduction : {Reduction::kNone, Reduction::kSum}) {
      for (const double smoothing : {0.0, 0.2}) {
        for (const bool weighted : {false, true}) {
          TestEvaluation indices = samples.Indices(*random, weighted);
          TestEvaluation masses = samples.Probabilities(*random, weighted);
          indices.Reduce(reduction).Set("label_smoothing", smoothing);
          masses.Reduce(reduction).Set("label_smoothing", smoothing);
          const Result a = Answer(indices);
          const Result b = Answer(masses);
          ExpectClose(*random, LossOf(a), LossOf(b), 8);
          ExpectClose(*random, GradientOf(a, "input"), GradientOf(b, "input"),
                      8, 2);
        }
      }
    }
  });
}

TEST(CrossEntropyIdentityTest, TheWeightedMeanOfOneHotProbabilitiesDiffers) {
  ForAll([](Random* random) {
    Samples samples(random);
    samples.masses = OneHot(samples.labels, kClasses);
    TestEvaluation indices = samples.Indices(*random, true);
    TestEvaluation masses = samples.Probabilities(*random, true);
    const Result a = Answer(indices.Reduce(Reduction::kMean));
    const Result b = Answer(masses.Reduce(Reduction::kMean));
    double weight = 0;
    for (const double y : samples.labels) {
      weight += samples.weight[static_cast<size_t>(y)];
    }
    EXPECT_DOUBLE_EQ(a.mean_denominator, weight);
    EXPECT_EQ(b.mean_denominator, kRows);
    ExpectClose(*random, {*a.mean_numerator}, {*b.mean_numerator}, 8);
    ExpectClose(*random, {*a.loss * weight}, {*b.loss * kRows}, 8);
    ExpectClose(*random, weight * GradientOf(a, "input"),
                kRows * GradientOf(b, "input"), 8, 2);
    EXPECT_NE(*a.loss, *b.loss);
  });
}

TEST(CrossEntropyIdentityTest, SmoothingMixesTheLossesOfAllClasses) {
  ForAll([](Random* random) {
    const Samples samples(random);
    for (const double smoothing : {0.1, 0.5, 1.0}) {
      for (const bool weighted : {false, true}) {
        const Result plain = Answer(samples.Indices(*random, weighted));
        Values loss = (1 - smoothing) * LossOf(plain);
        Values gradient = (1 - smoothing) * GradientOf(plain, "input");
        Samples other = samples;
        for (int64_t c = 0; c < kClasses; ++c) {
          other.labels = Values(kRows, static_cast<double>(c));
          const Result each = Answer(other.Indices(*random, weighted));
          loss = loss + smoothing / kClasses * LossOf(each);
          gradient =
              gradient + smoothing / kClasses * GradientOf(each, "input");
        }
        TestEvaluation smoothed = samples.Indices(*random, weighted);
        const Result result =
            Answer(smoothed.Set("label_smoothing", smoothing));
        ExpectClose(*random, LossOf(result), loss, 8);
        ExpectClose(*random, GradientOf(result, "input"), gradient, 8, 2);
      }
    }
  });
}

TEST(CrossEntropyIdentityTest, SmoothedProbabilitiesAreMixedWithTheUniform) {
  ForAll([](Random* random) {
    const Samples samples(random);
    const double smoothing = 0.25;
    Samples mixed = samples;
    mixed.masses = random->Narrow(Map(samples.masses, [&](double q) {
      return q * (1 - smoothing) + smoothing / kClasses;
    }));
    for (const bool weighted : {false, true}) {
      TestEvaluation smoothed = samples.Probabilities(*random, weighted);
      smoothed.Set("label_smoothing", smoothing).Gradient({"input", "target"});
      const Result a = Answer(smoothed);
      const Result b = Answer(
          mixed.Probabilities(*random, weighted).Gradient({"input", "target"}));
      ExpectClose(*random, LossOf(a), LossOf(b), 4);
      ExpectClose(*random, GradientOf(a, "input"), GradientOf(b, "input"), 4,
                  2);
      ExpectClose(*random, GradientOf(a, "target"),
                  (1 - smoothing) * GradientOf(b, "target"), 4);
    }
  });
}

TEST(CrossEntropyIdentityTest, TheOrderOfTheClassesDoesNotMatter) {
  ForAll([](Random* random) {
    const Samples samples(random);
    Samples moved = samples;
    const std::vector<int64_t> place = random->Permutation(kClasses);
    const auto move = [&](const Values& from, Values* to) {
      for (size_t i = 0; i < from.size(); ++i) {
        const size_t c = i % kClasses;
        (*to)[i - c + static_cast<size_t>(place[c])] = from[i];
      }
    };
    move(samples.logits, &moved.logits);
    move(samples.masses, &moved.masses);
    move(samples.weight, &moved.weight);
    for (double& y : moved.labels) {
      y = static_cast<double>(place[static_cast<size_t>(y)]);
    }
    const auto check = [&](const Result& a, const Result& b) {
      ExpectClose(*random, LossOf(b), LossOf(a), 8);
      Values expected = GradientOf(a, "input");
      move(GradientOf(a, "input"), &expected);
      ExpectClose(*random, GradientOf(b, "input"), expected, 8, 2);
    };
    for (const bool weighted : {false, true}) {
      check(Answer(samples.Indices(*random, weighted)),
            Answer(moved.Indices(*random, weighted)));
      check(Answer(samples.Probabilities(*random, weighted)),
            Answer(moved.Probabilities(*random, weighted)));
    }
  });
}

TEST(CrossEntropyIdentityTest, TheWeightOfAClassScalesItsSamples) {
  ForAll([](Random* random) {
    const Samples samples(random);
    const Result plain = Answer(samples.Indices(*random, false));
    const Result weighted = Answer(samples.Indices(*random, true));
    const Values weights = Map(samples.labels, [&](double y) {
      return samples.weight[static_cast<size_t>(y)];
    });
    ExpectClose(*random, LossOf(weighted), weights * LossOf(plain), 2);
    ExpectClose(*random, GradientOf(weighted, "input"),
                Repeated(weights, kClasses) * GradientOf(plain, "input"), 4);
  });
}

TEST(CrossEntropyIdentityTest, TheGradientsOfMassesAndWeightsAreLinear) {
  // The loss is linear in each: the gradient times the tensor is the loss.
  ForAll([](Random* random) {
    const Samples samples(random);
    TestEvaluation evaluation = samples.Probabilities(*random, true);
    evaluation.Reduce(Reduction::kSum).Gradient({"target", "weight"});
    const Result result = Answer(evaluation);
    const Values loss = LossOf(result);
    ExpectClose(*random, {Sum(GradientOf(result, "target") * samples.masses)},
                loss, 4);
    ExpectClose(*random, {Sum(GradientOf(result, "weight") * samples.weight)},
                loss, 4);
  });
}

TEST(CrossEntropyIdentityTest, DimensionsBehindTheClassesAreMoreRows) {
  ForAll([](Random* random) {
    const Samples samples(random);
    constexpr int64_t kPlaces = 3;
    Values turned(samples.logits.size());
    for (int64_t i = 0; i < kRows * kClasses; ++i) {
      const int64_t row = i / kClasses, c = i % kClasses;
      const int64_t n = row / kPlaces, place = row % kPlaces;
      turned[static_cast<size_t>((n * kClasses + c) * kPlaces + place)] =
          samples.logits[static_cast<size_t>(i)];
    }
    const Shape shape = {kRows / kPlaces, kClasses, kPlaces};
    TestEvaluation evaluation("cross_entropy");
    evaluation.Set("input", random->Tensor(shape, turned));
    evaluation.Set("target",
                   Indices({kRows / kPlaces, kPlaces}, samples.labels));
    evaluation.Set("weight", random->Tensor({kClasses}, samples.weight));
    for (const Reduction reduction : {Reduction::kNone, Reduction::kMean}) {
      TestEvaluation rows = samples.Indices(*random, true);
      EXPECT_EQ(LossOf(Answer(evaluation.Reduce(reduction))),
                LossOf(Answer(rows.Reduce(reduction))));
    }
  });
}

// The gradient with respect to logits of what has the gradient g with respect
// to their log_softmax.
Values ThroughLogSoftmax(const Values& g, const Values& log_probs) {
  const Values sums = Repeated(RowSums(g, kClasses), kClasses);
  return g - Map(log_probs, [](double v) { return std::exp(v); }) * sums;
}

TEST(NllIdentityTest, NllOfLogSoftmaxIsCrossEntropy) {
  ForAll([](Random* random) {
    const Samples samples(random);
    const Values log_probs = LogSoftmax(samples.logits, kClasses);
    const Values grad_output = random->Uniform(kRows, -2, 2);
    for (const Reduction reduction :
         {Reduction::kNone, Reduction::kMean, Reduction::kSum}) {
      for (const bool weighted : {false, true}) {
        TestEvaluation entropy = samples.Indices(*random, weighted);
        TestEvaluation nll("nll_loss");
        nll.Set("input", random->Tensor(kShape, log_probs));
        nll.Set("target", Indices({kRows}, samples.labels)).Gradient();
        if (weighted) {
          nll.Set("weight", random->Tensor({kClasses}, samples.weight));
        }
        for (TestEvaluation* each : {&entropy, &nll}) {
          each->Reduce(reduction).Set("ignore_index", samples.labels[0]);
          if (reduction != Reduction::kNone) continue;
          each->GradOutput(random->Tensor({kRows}, grad_output));
        }
        const Result a = Answer(entropy);
        const Result b = Answer(nll);
        ExpectClose(*random, LossOf(a), LossOf(b), 4, kGreatestLoss * kRows);
        ExpectClose(*random, GradientOf(a, "input"),
                    ThroughLogSoftmax(GradientOf(b, "input"), log_probs), 8, 4);
        EXPECT_EQ(a.mean_denominator, b.mean_denominator);
        EXPECT_EQ(a.ignored_count, b.ignored_count);
      }
    }
  });
}

TEST(NllIdentityTest, TheLossIsLinearInItsInput) {
  ForAll([](Random* random) {
    const Samples samples(random);
    TestEvaluation nll("nll_loss");
    nll.Set("input", random->Tensor(kShape, samples.logits));
    nll.Set("target", Indices({kRows}, samples.labels)).Gradient();
    nll.Set("weight", random->Tensor({kClasses}, samples.weight));
    const Result result = Answer(nll);
    const Values terms = GradientOf(result, "input") * samples.logits;
    ExpectClose(*random, {Sum(terms)}, LossOf(result), 4,
                SumOfMagnitudes(terms));
  });
}

}  // namespace
}  // namespace lossd
