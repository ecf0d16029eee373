// SPDX-License-Identifier: Apache-2.0
//
// An ignored sample is an absent one, whatever it holds: for ignore_index, and
// for the tokens and sequences that a mask leaves out.

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/property/property_support.h"
#include "tests/property/sample_cases.h"

namespace lossd {
namespace {

// NaN, the infinities, and something finite.
double Garbage(Random* random) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double values[] = {std::nan(""), infinity, -infinity, 1e30};
  return values[random->Integer(0, 3)];
}

void FillSample(Random* random, SampleCase* each, const char* tensor,
                int64_t sample) {
  SampleCase::Piece* piece = FindPiece(each, tensor);
  for (const size_t i : ElementsOfSample(*piece, sample)) {
    piece->values[i] = Garbage(random);
  }
}

bool Ignores(const SampleCase& each, double* index) {
  for (const auto& [name, value] : each.parameters) {
    if (name == "ignore_index") *index = value;
    if (name == "ignore_index") return true;
  }
  return false;
}

// That the first result is the second with one more sample, which costs
// nothing. The samples lead in every tensor that has a gradient.
void ExpectAbsent(const Random& random, const Result& with,
                  const Result& without, int64_t sample,
                  const std::vector<int64_t>& others) {
  const auto check = [&](const OwnedTensor& a, const OwnedTensor& b,
                         double ulps) {
    const Values values = ValuesOf(a);
    EXPECT_EQ(Greatest(Taken(values, a.shape, 0, {sample})), 0);
    const Values expected = ValuesOf(b);
    ExpectClose(random, Taken(values, a.shape, 0, others), expected, ulps,
                Greatest(expected));
  };
  check(with.elementwise_losses, without.elementwise_losses, 0);
  ExpectSameSums(random, with, without);
  // A weighted denominator may be added up otherwise.
  const bool same = with.mean_denominator == without.mean_denominator;
  ASSERT_EQ(with.gradients.size(), without.gradients.size());
  for (size_t k = 0; k < with.gradients.size(); ++k) {
    check(with.gradients[k].value, without.gradients[k].value, same ? 0 : 4);
  }
  EXPECT_FALSE(with.non_finite.input_nan || with.non_finite.input_infinity);
  EXPECT_FALSE(with.non_finite.result_nan || with.non_finite.result_infinity);
}

TEST(IgnoredSampleTest, AnIgnoredIndexIsAnAbsentSample) {
  int checked = 0;
  ForEachCase([&](Random* random, const SampleCase& each) {
    double index;
    if (!Ignores(each, &index)) return;
    const int64_t sample = random->Integer(0, each.samples - 1);
    SampleCase ignoring = each;
    FindPiece(&ignoring, "target")->values[static_cast<size_t>(sample)] = index;
    FillSample(random, &ignoring, "input", sample);
    const std::vector<int64_t> others = AllBut(each, sample);
    const SampleCase absent = Taken(each, others);
    for (const Reduction reduction :
         {Reduction::kNone, Reduction::kMean, Reduction::kSum}) {
      const Result with = Answer(Everything(ignoring, reduction));
      const Result without = Answer(Everything(absent, reduction));
      EXPECT_EQ(with.element_count, without.element_count + 1);
      EXPECT_EQ(with.ignored_count, without.ignored_count + 1);
      if (reduction == Reduction::kNone) {
        EXPECT_EQ(LossOf(with), ValuesOf(with.elementwise_losses));
        continue;
      }
      ExpectAbsent(*random, with, without, sample, others);
    }
    ++checked;
  });
  EXPECT_GT(checked, 0);
}

TEST(IgnoredSampleTest, OneSampleAndOneIgnoredIsOneSample) {
  // Smoothing, weights and ignored samples, each with each.
  ForAll([](Random* random) {
    constexpr int64_t kClasses = 5;
    const Values row = random->Uniform(kClasses, -4, 4);
    Values both = row;
    for (int i = 0; i < kClasses; ++i) both.push_back(Garbage(random));
    const TestTensor weight =
        random->Tensor({kClasses}, random->Uniform(kClasses, 0.25, 2));
    for (const char* loss : {"cross_entropy", "nll_loss"}) {
      for (const double smoothing : {0.0, 0.2}) {
        for (const bool weighted : {false, true}) {
          for (const Reduction reduction :
               {Reduction::kMean, Reduction::kSum}) {
            if (loss == std::string("nll_loss") && smoothing > 0) continue;
            TestEvaluation one(loss), two(loss);
            one.Set("input", random->Tensor({1, kClasses}, row));
            two.Set("input", random->Tensor({2, kClasses}, both));
            one.Set("target", Indices({1}, {3}));
            two.Set("target", Indices({2}, {3, -100}));
            for (TestEvaluation* each : {&one, &two}) {
              if (smoothing > 0) each->Set("label_smoothing", smoothing);
              if (weighted) each->Set("weight", weight);
              each->Reduce(reduction).Gradient();
            }
            const Result a = Answer(one);
            const Result b = Answer(two);
            EXPECT_EQ(LossOf(a), LossOf(b));
            Values gradient = GradientOf(a, "input");
            gradient.resize(2 * kClasses, 0.0);
            EXPECT_EQ(GradientOf(b, "input"), gradient);
            EXPECT_EQ(a.mean_denominator, b.mean_denominator);
          }
        }
      }
    }
  });
}

TEST(IgnoredSampleTest, WhereAllIsIgnoredTheMeanIsNanAndTheGradientZero) {
  ForEachCase([&](Random* random, const SampleCase& each) {
    double index;
    if (!Ignores(each, &index)) return;
    SampleCase ignoring = each;
    for (double& label : FindPiece(&ignoring, "target")->values) label = index;
    for (int64_t sample = 0; sample < each.samples; ++sample) {
      FillSample(random, &ignoring, "input", sample);
    }
    const Result mean = Answer(Everything(ignoring, Reduction::kMean));
    EXPECT_TRUE(std::isnan(*mean.loss));
    EXPECT_EQ(*mean.mean_numerator, 0);
    EXPECT_EQ(mean.mean_denominator, 0);
    EXPECT_EQ(Greatest(GradientOf(mean, "input")), 0);
    const Result sum = Answer(Everything(ignoring, Reduction::kSum));
    EXPECT_EQ(*sum.loss, 0);
    EXPECT_EQ(Greatest(GradientOf(sum, "input")), 0);
  });
}

constexpr int64_t kRows = 5;
constexpr int64_t kTokens = 21;  // more than are computed at a time
const char* const kTokenTensors[] = {"log_probs", "old_log_probs",
                                     "ref_log_probs", "advantages"};

// A batch of token sequences and the parameters of the loss.
struct Policy {
  Values tensors[4];  // as kTokenTensors
  Values mask;
  int64_t rows = kRows;
  std::vector<std::pair<std::string, double>> parameters;

  TestEvaluation Make(const Random& random, Reduction reduction) const {
    TestEvaluation evaluation("clipped_policy_loss");
    const auto count = static_cast<int64_t>(mask.size());
    const Shape shape = {rows, count / rows};
    for (int i = 0; i < 4; ++i) {
      evaluation.Set(kTokenTensors[i], random.Tensor(shape, tensors[i]));
    }
    evaluation.Set("mask", TestTensor(Dtype::kBool, shape, mask));
    for (const auto& [name, value] : parameters) evaluation.Set(name, value);
    evaluation.Reduce(reduction).Gradient();
    return evaluation.Ask(
        {Output::kLoss, Output::kElementwiseLosses, Output::kGradients});
  }
};

constexpr uint64_t kSeeds = 8;

// Checks a property for every objective, importance level, estimator and
// aggregation.
void ForEveryPolicy(const std::function<void(Random*, Policy)>& property) {
  const auto policies = [&](Random* random) {
    for (int variant = 0; variant < 3 * 2 * 3 * 4; ++variant) {
      SCOPED_TRACE(absl::StrCat("variant ", variant));
      const double aggregation = 1 + variant % 4;
      Policy policy;
      for (Values& each : policy.tensors) {
        each = random->Uniform(kRows * kTokens, -2, 0);
      }
      policy.tensors[3] = random->Uniform(kRows * kTokens, -2, 2);
      policy.mask = Values(kRows * kTokens, 1.0);
      policy.parameters = {{"kl_weight", 0.25},
                           {"aggregation", aggregation},
                           {"kl_estimator", 1 + variant / 4 % 3},
                           {"importance_level", 1 + variant / 12 % 2},
                           {"objective", 1 + variant / 24}};
      if (aggregation == 4) policy.parameters.push_back({"max_length", 16});
      property(random, policy);
    }
  };
  ForAll(policies, kSeeds);
}

// Leaves tokens out, and puts garbage there.
void Mask(Random* random, const std::vector<size_t>& tokens, Policy* policy) {
  for (const size_t i : tokens) {
    policy->mask[i] = 0;
    for (Values& each : policy->tensors) each[i] = Garbage(random);
  }
}

TEST(MaskedTokenTest, WhatIsMaskedDoesNotMatterToTheBit) {
  ForEveryPolicy([](Random* random, Policy policy) {
    std::vector<size_t> tokens;
    for (size_t i = 0; i < policy.mask.size(); ++i) {
      if (random->Integer(0, 2) == 0) tokens.push_back(i);
    }
    Policy other = policy;
    for (const size_t i : tokens) other.mask[i] = 0;
    Mask(random, tokens, &policy);
    for (const Reduction reduction :
         {Reduction::kNone, Reduction::kMean, Reduction::kSum}) {
      const Result a = Answer(policy.Make(*random, reduction));
      EXPECT_EQ(Digest(a), Digest(Answer(other.Make(*random, reduction))));
      const Values gradient = GradientOf(a, "log_probs");
      const Values losses = ValuesOf(a.elementwise_losses);
      for (const size_t i : tokens) {
        EXPECT_EQ(losses[i], 0);
        EXPECT_EQ(gradient[i], 0);
      }
      EXPECT_EQ(a.ignored_count, static_cast<int64_t>(tokens.size()));
    }
  });
}

TEST(MaskedTokenTest, MaskedTokensAreAbsentOnes) {
  ForEveryPolicy([](Random* random, Policy policy) {
    // The tokens at some places of every sequence.
    constexpr int kMasked = 6;
    const std::vector<int64_t> places = random->Permutation(kTokens);
    std::vector<int64_t> kept(places.begin() + kMasked, places.end());
    const Shape shape = {kRows, kTokens};
    Policy shorter = policy;
    shorter.mask = Taken(policy.mask, shape, 1, kept);
    for (Values& each : shorter.tensors) each = Taken(each, shape, 1, kept);
    std::vector<size_t> tokens;
    for (int64_t row = 0; row < kRows; ++row) {
      for (int k = 0; k < kMasked; ++k) {
        tokens.push_back(static_cast<size_t>(row * kTokens + places[k]));
      }
    }
    Mask(random, tokens, &policy);
    for (const Reduction reduction : {Reduction::kMean, Reduction::kSum}) {
      const Result a = Answer(policy.Make(*random, reduction));
      const Result b = Answer(shorter.Make(*random, reduction));
      ExpectSameSums(*random, a, b);
      EXPECT_EQ(a.mean_denominator, b.mean_denominator);
      EXPECT_EQ(a.element_count, b.element_count + kMasked * kRows);
      const auto check = [&](const Values& with, const Values& without) {
        ExpectClose(*random, Taken(with, shape, 1, kept), without, 4,
                    Greatest(without));
        EXPECT_GT(Greatest(without), 0);
      };
      check(ValuesOf(a.elementwise_losses), ValuesOf(b.elementwise_losses));
      check(GradientOf(a, "log_probs"), GradientOf(b, "log_probs"));
    }
  });
}

TEST(MaskedTokenTest, AMaskedSequenceIsAnAbsentOneButForTheBatchSize) {
  ForEveryPolicy([](Random* random, Policy policy) {
    const int64_t row = random->Integer(0, kRows - 1);
    const Shape shape = {kRows, kTokens};
    std::vector<int64_t> others;
    std::vector<size_t> tokens;
    for (int64_t i = 0; i < kRows; ++i) {
      if (i != row) others.push_back(i);
    }
    for (int64_t t = 0; t < kTokens; ++t) {
      tokens.push_back(static_cast<size_t>(row * kTokens + t));
    }
    Policy fewer = policy;
    fewer.rows = kRows - 1;
    fewer.mask = Taken(policy.mask, shape, 0, others);
    for (Values& each : fewer.tensors) each = Taken(each, shape, 0, others);
    Mask(random, tokens, &policy);
    // Which the aggregations over sequences divide by: a normalizer of the
    // caller's does not.
    TestEvaluation with = policy.Make(*random, Reduction::kMean);
    TestEvaluation without = fewer.Make(*random, Reduction::kMean);
    const bool tokens_alone = policy.parameters[1].second == 1;
    if (!tokens_alone) {
      const double ratio =
          Answer(with).mean_denominator / Answer(without).mean_denominator;
      EXPECT_DOUBLE_EQ(ratio, kRows / (kRows - 1.0));
      with.options.normalizer = without.options.normalizer = 7;
    }
    const Result a = Answer(with);
    const Result b = Answer(without);
    // The sequences behind it are added in other lanes.
    ExpectSameNumerators(*random, a, b);
    const Values losses = ValuesOf(a.elementwise_losses);
    EXPECT_EQ(Taken(losses, shape, 0, others), ValuesOf(b.elementwise_losses));
    const Values gradient = GradientOf(a, "log_probs");
    EXPECT_EQ(Taken(gradient, shape, 0, others), GradientOf(b, "log_probs"));
    EXPECT_EQ(Greatest(Taken(gradient, shape, 0, {row})), 0);
  });
}

}  // namespace
}  // namespace lossd
