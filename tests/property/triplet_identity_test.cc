// SPDX-License-Identifier: Apache-2.0
//
// Identities of triplet_margin_loss and triplet_margin_with_distance_loss.

#include <cmath>
#include <limits>

#include "gtest/gtest.h"
#include "tests/property/property_support.h"

namespace lossd {
namespace {

constexpr int64_t kRows = 9;
constexpr int64_t kWidth = 21;  // more than are computed at a time
constexpr int64_t kElements = kRows * kWidth;
const Shape kShape = {kRows, kWidth};
constexpr double kInfinity = std::numeric_limits<double>::infinity();
const char* const kTensors[] = {"anchor", "positive", "negative"};

enum Distance {
  kPairwise = 1,
  kSquaredEuclidean,
  kManhattan,
  kChebyshev,
  kCosine
};

struct Samples {
  explicit Samples(Random* random)
      : anchor(random->Uniform(kElements, -2, 2)),
        positive(random->Uniform(kElements, -2, 2)),
        negative(random->Uniform(kElements, -2, 2)) {}

  TestEvaluation Norm(const Random& random, double p, double eps) const {
    TestEvaluation evaluation = Make("triplet_margin_loss", random);
    return evaluation.Set("p", p).Set("eps", eps);
  }
  TestEvaluation Of(const Random& random, Distance distance) const {
    TestEvaluation evaluation =
        Make("triplet_margin_with_distance_loss", random);
    return evaluation.Set("distance_function", static_cast<double>(distance));
  }

  Values anchor, positive, negative;

 private:
  TestEvaluation Make(const char* loss, const Random& random) const {
    TestEvaluation evaluation(loss);
    evaluation.Set("anchor", random.Tensor(kShape, anchor));
    evaluation.Set("positive", random.Tensor(kShape, positive));
    evaluation.Set("negative", random.Tensor(kShape, negative));
    return evaluation.Set("margin", 1.5)
        .Reduce(Reduction::kNone)
        .Gradient({"anchor", "positive", "negative"});
  }
};

TEST(TripletIdentityTest, TheNormsAreDistancesToTheBit) {
  bool active = false;
  ForAll([&](Random* random) {
    const Samples samples(random);
    for (const double swap : {0.0, 1.0}) {
      const auto same = [&](TestEvaluation norm, TestEvaluation distance) {
        const Result a = Answer(norm.Set("swap", swap));
        active |= Greatest(GradientOf(a, "anchor")) > 0;
        EXPECT_EQ(Digest(a), Digest(Answer(distance.Set("swap", swap))));
      };
      same(samples.Norm(*random, 2, 1e-6), samples.Of(*random, kPairwise));
      same(samples.Norm(*random, 1, 0), samples.Of(*random, kManhattan));
      same(samples.Norm(*random, kInfinity, 0),
           samples.Of(*random, kChebyshev));
    }
  });
  EXPECT_TRUE(active);
}

TEST(TripletIdentityTest, PairwiseIsTheDefaultDistance) {
  ForAll([](Random* random) {
    const Samples samples(random);
    TestEvaluation unset("triplet_margin_with_distance_loss");
    TestEvaluation norm("triplet_margin_loss");
    for (TestEvaluation* each : {&unset, &norm}) {
      each->Set("anchor", random->Tensor(kShape, samples.anchor));
      each->Set("positive", random->Tensor(kShape, samples.positive));
      each->Set("negative", random->Tensor(kShape, samples.negative));
      each->Gradient();
    }
    EXPECT_EQ(Digest(Answer(unset)), Digest(Answer(norm)));
  });
}

// Each norm without eps, and each distance without one.
std::vector<TestEvaluation> Symmetric(const Samples& samples,
                                      const Random& random) {
  std::vector<TestEvaluation> all;
  for (const double p : {1.0, 2.0, 3.5, kInfinity}) {
    all.push_back(samples.Norm(random, p, 0));
  }
  for (const Distance each :
       {kSquaredEuclidean, kManhattan, kChebyshev, kCosine}) {
    all.push_back(samples.Of(random, each));
  }
  return all;
}

TEST(TripletIdentityTest, SwapNeverMakesALossSmaller) {
  bool greater = false;
  ForAll([&](Random* random) {
    const Samples samples(random);
    for (TestEvaluation& each : Symmetric(samples, *random)) {
      const Values without = LossOf(Answer(each));
      const Values with = LossOf(Answer(each.Set("swap", 1.0)));
      for (size_t i = 0; i < with.size(); ++i) EXPECT_GE(with[i], without[i]);
      greater |= with != without;
    }
  });
  EXPECT_TRUE(greater);
}

TEST(TripletIdentityTest, SwapTakesTheHarderOfAnchorAndPositive) {
  // d(p, n) is the distance of the negative where p is the anchor.
  ForAll([](Random* random) {
    const Samples samples(random);
    Samples exchanged = samples;
    std::swap(exchanged.anchor, exchanged.positive);
    std::vector<TestEvaluation> own = Symmetric(samples, *random);
    std::vector<TestEvaluation> other = Symmetric(exchanged, *random);
    for (size_t k = 0; k < own.size(); ++k) {
      const Result a = Answer(own[k]);
      const Result b = Answer(other[k]);
      const Result swapped = Answer(own[k].Set("swap", 1.0));
      const auto harder = [&](const char* of_a, const char* of_b) {
        Values expected = GradientOf(a, of_a);
        const Values instead = GradientOf(b, of_b);
        for (size_t i = 0; i < expected.size(); ++i) {
          const size_t row = i / kWidth;
          if (LossOf(b)[row] > LossOf(a)[row]) expected[i] = instead[i];
        }
        return expected;
      };
      ExpectClose(*random, LossOf(swapped),
                  Zip(LossOf(a), LossOf(b),
                      [](double x, double y) { return std::max(x, y); }),
                  1);
      ExpectClose(*random, GradientOf(swapped, "anchor"),
                  harder("anchor", "positive"), 2, 1);
      ExpectClose(*random, GradientOf(swapped, "positive"),
                  harder("positive", "anchor"), 2, 1);
      ExpectClose(*random, GradientOf(swapped, "negative"),
                  harder("negative", "negative"), 2, 1);
    }
  });
}

TEST(TripletIdentityTest, AnExactShiftOfAllThreeChangesNoBit) {
  ForAll([](Random* random) {
    Samples samples(random);
    for (Values* each :
         {&samples.anchor, &samples.positive, &samples.negative}) {
      *each = random->Coarse(kElements, -2, 2);
    }
    Samples moved = samples;
    const Values shift = random->Integers(kElements, -64, 64);
    for (Values* each : {&moved.anchor, &moved.positive, &moved.negative}) {
      *each = *each + shift;
    }
    for (const double p : {1.0, 2.0, 3.5, kInfinity}) {
      EXPECT_EQ(Digest(Answer(samples.Norm(*random, p, 1e-6))),
                Digest(Answer(moved.Norm(*random, p, 1e-6))));
    }
    EXPECT_EQ(Digest(Answer(samples.Of(*random, kSquaredEuclidean))),
              Digest(Answer(moved.Of(*random, kSquaredEuclidean))));
  });
}

TEST(TripletIdentityTest, TheGradientsOfAllThreeAddUpToZero) {
  ForAll([](Random* random) {
    const Samples samples(random);
    for (const double swap : {0.0, 1.0}) {
      for (const double p : {1.0, 2.0, 3.5, kInfinity}) {
        TestEvaluation evaluation = samples.Norm(*random, p, 1e-6);
        const Result result = Answer(evaluation.Set("swap", swap));
        Values sum(kElements, 0.0), magnitudes(kElements, 0.0);
        for (const char* wrt : kTensors) {
          sum = sum + GradientOf(result, wrt);
          magnitudes = magnitudes + Magnitudes(GradientOf(result, wrt));
        }
        ExpectClose(*random, sum, Values(kElements, 0.0), 1, magnitudes);
      }
    }
  });
}

TEST(TripletIdentityTest, AnotherUnitScalesTheLossAndNotTheGradient) {
  ForAll([](Random* random) {
    const Samples samples(random);
    Samples scaled = samples;
    for (Values* each : {&scaled.anchor, &scaled.positive, &scaled.negative}) {
      *each = 4 * *each;
    }
    for (const double p : {1.0, 2.0, kInfinity}) {
      TestEvaluation larger = scaled.Norm(*random, p, 0);
      const Result a = Answer(larger.Set("margin", 4 * 1.5));
      const Result b = Answer(samples.Norm(*random, p, 0));
      EXPECT_EQ(LossOf(a), 4 * LossOf(b));
      for (const char* wrt : kTensors) {
        EXPECT_EQ(GradientOf(a, wrt), GradientOf(b, wrt));
      }
    }
  });
}

TEST(TripletIdentityTest, CosineDistanceDoesNotSeeLengths) {
  ForAll([](Random* random) {
    const Samples samples(random);
    Samples scaled = samples;
    scaled.anchor = 8 * samples.anchor;
    scaled.negative = 0.25 * samples.negative;
    const Result a = Answer(scaled.Of(*random, kCosine));
    const Result b = Answer(samples.Of(*random, kCosine));
    EXPECT_EQ(LossOf(a), LossOf(b));
    EXPECT_EQ(8 * GradientOf(a, "anchor"), GradientOf(b, "anchor"));
    EXPECT_EQ(GradientOf(a, "positive"), GradientOf(b, "positive"));
    EXPECT_EQ(0.25 * GradientOf(a, "negative"), GradientOf(b, "negative"));
  });
}

TEST(TripletIdentityTest, CosineDistancesAreThoseOfCosineEmbedding) {
  // The margin is wide: no sample lies beyond the hinge.
  ForAll([](Random* random) {
    const Samples samples(random);
    TestEvaluation triplet = samples.Of(*random, kCosine);
    const Result result = Answer(triplet.Set("margin", 3.0));
    const auto distance = [&](const Values& other) {
      TestEvaluation pair("cosine_embedding_loss");
      pair.Set("input1", random->Tensor(kShape, samples.anchor));
      pair.Set("input2", random->Tensor(kShape, other));
      pair.Set("target", Filled(random->dtype(), {kRows}, 1));
      pair.Reduce(Reduction::kNone).Gradient({"input1", "input2"});
      return Answer(pair);
    };
    const Result near = distance(samples.positive);
    const Result far = distance(samples.negative);
    const double tolerance = 8 * random->epsilon() + 1e-10;
    ExpectWithin(LossOf(result),
                 Values(kRows, 3.0) + (LossOf(near) - LossOf(far)), tolerance);
    ExpectWithin(GradientOf(result, "anchor"),
                 GradientOf(near, "input1") - GradientOf(far, "input1"),
                 tolerance);
    ExpectWithin(GradientOf(result, "positive"), GradientOf(near, "input2"),
                 tolerance);
    ExpectWithin(GradientOf(result, "negative"), -GradientOf(far, "input2"),
                 tolerance);
  });
}

TEST(TripletIdentityTest, SquaredDistancesAreSumsOfMse) {
  ForAll([](Random* random) {
    const Samples samples(random);
    TestEvaluation triplet = samples.Of(*random, kSquaredEuclidean);
    const Result result = Answer(triplet.Set("margin", 1000.0));
    const auto squares = [&](const Values& other) {
      TestEvaluation pair("mse_loss");
      pair.Set("input", random->Tensor(kShape, samples.anchor));
      pair.Set("target", random->Tensor(kShape, other));
      return Answer(pair.Reduce(Reduction::kNone).Gradient());
    };
    const Result near = squares(samples.positive);
    const Result far = squares(samples.negative);
    ExpectClose(
        *random, LossOf(result),
        Values(kRows, 1000.0) + RowSums(LossOf(near) - LossOf(far), kWidth), 2);
    ExpectClose(*random, GradientOf(result, "anchor"),
                GradientOf(near, "input") - GradientOf(far, "input"), 1, 16);
    ExpectClose(*random, GradientOf(result, "negative"),
                GradientOf(far, "input"), 1);
  });
}

}  // namespace
}  // namespace lossd
