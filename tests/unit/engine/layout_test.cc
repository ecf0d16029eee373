// SPDX-License-Identifier: Apache-2.0
//
// Shapes and memory at their edges: nothing at all, one class, scalars, data
// off alignment, classes that interleave, and what a mask hides.

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

using Values = std::vector<double>;

// The evaluation with all that its loss can send back.
TestEvaluation Everything(TestEvaluation evaluation) {
  evaluation.Gradient().Ask(
      {Output::kLoss, Output::kElementwiseLosses, Output::kGradients});
  if (evaluation.schema().has_probabilities) {
    evaluation.Ask({Output::kProbabilities, Output::kLogProbabilities,
                    Output::kPredictedClasses});
  }
  return evaluation;
}

TEST(AlignmentTest, DataOffAlignmentGivesTheSameBits) {
  for (const Dtype dtype :
       {Dtype::kFloat16, Dtype::kBfloat16, Dtype::kFloat32, Dtype::kFloat64}) {
    for (const SampleCase& each : SampleCases(dtype)) {
      const std::string aligned = Digest(Answer(Everything(each.All())));
      for (size_t offset = 1; offset < 8; ++offset) {
        EXPECT_EQ(
            Digest(Answer(Everything(each.Rows(0, each.samples, offset)))),
            aligned)
            << each.name << " " << DtypeName(dtype) << " + " << offset;
      }
    }
  }
}

TEST(EmptyTest, WithoutSamplesTheMeanIsNanAndTheSumZero) {
  for (const SampleCase& each : SampleCases(Dtype::kFloat32)) {
    SCOPED_TRACE(each.name);
    if (each.loss == "ctc_loss") continue;  // refuses it, as PyTorch does
    TestEvaluation nothing = Everything(each.Rows(0, 0));
    const Result mean = Answer(nothing);
    EXPECT_TRUE(std::isnan(mean.loss.value()));
    EXPECT_EQ(mean.mean_numerator, 0);
    EXPECT_EQ(mean.mean_denominator, 0);
    EXPECT_EQ(mean.element_count, 0);
    EXPECT_TRUE(ValuesOf(mean.gradients[0].value).empty());
    EXPECT_EQ(mean.gradient_underflow_count, 0);
    EXPECT_EQ(Answer(nothing.Reduce(Reduction::kSum)).loss, 0);
    const Result none = Answer(nothing.Reduce(Reduction::kNone));
    EXPECT_EQ(none.loss_tensor.shape[0], 0);
    EXPECT_EQ(none.loss_tensor.data.size(), 0);
  }
}

TEST(EmptyTest, WithoutPositionsThereIsNoRow) {
  TestEvaluation evaluation("cross_entropy");
  evaluation.Set("input", Floats({2, 3, 0}, {}));
  evaluation.Set("target", Indices({2, 0}, {}));
  const Result result = Answer(Everything(evaluation));
  EXPECT_EQ(result.element_count, 0);
  EXPECT_EQ(result.elementwise_losses.shape, (Shape{2, 0}));
}

TEST(EmptyTest, RowsWithoutClassesCanOnlyBeIgnored) {
  for (const char* loss : {"cross_entropy", "nll_loss"}) {
    TestEvaluation evaluation(loss);
    evaluation.Set("input", Floats({2, 0}, {}));
    evaluation.Set("target", Indices({2}, {-100, 0}));
    EXPECT_EQ(Refuse(evaluation).count(), 1) << loss;
    evaluation.Set("target", Indices({2}, {-100, -100}));
    const Result result = Answer(Everything(evaluation));
    EXPECT_EQ(ValuesOf(result.elementwise_losses), (Values{0, 0})) << loss;
    EXPECT_TRUE(std::isnan(*result.loss)) << loss;
  }
}

TEST(EmptyTest, ProbabilitiesOfNoClassesHaveNoDistribution) {
  TestEvaluation evaluation("cross_entropy");
  evaluation.Set("input", Floats({2, 0}, {}));
  evaluation.Set("target", Floats({2, 0}, {}));
  const Result result = Answer(Everything(evaluation));
  EXPECT_TRUE(std::isnan(ValuesOf(result.elementwise_losses)[0]));
}

TEST(EmptyTest, RowsWithoutFeaturesAreAtNoDistance) {
  TestEvaluation evaluation("triplet_margin_loss");
  for (const char* name : {"anchor", "positive", "negative"}) {
    evaluation.Set(name, Floats({3, 0}, {}));
  }
  for (const double p : {1.0, 2.0, 3.0, double{INFINITY}}) {
    evaluation.Set("p", p).Set("margin", 0.5);
    EXPECT_EQ(ValuesOf(Answer(Everything(evaluation)).elementwise_losses),
              (Values{0.5, 0.5, 0.5}))
        << p;
  }
}

TEST(EmptyTest, SequencesWithoutTokensContributeNothing) {
  TestEvaluation evaluation("clipped_policy_loss");
  for (const char* name : {"log_probs", "old_log_probs", "ref_log_probs"}) {
    evaluation.Set(name, Floats({3, 0}, {}));
  }
  evaluation.Set("advantages", Floats({3}, {1, 2, 3}));
  const Result result = Answer(Everything(evaluation));
  EXPECT_TRUE(std::isnan(*result.loss));
  EXPECT_EQ(result.mean_numerator, 0);
  EXPECT_EQ(result.elementwise_losses.shape, (Shape{3, 0}));
}

TEST(OneClassTest, ALoneClassIsCertain) {
  TestEvaluation evaluation("cross_entropy");
  evaluation.Set("input", Floats({3, 1}, {-5, 0, 80}));
  evaluation.Set("target", Indices({3}, {0, 0, 0}));
  const Result result = Answer(Everything(evaluation));
  EXPECT_EQ(ValuesOf(result.elementwise_losses), (Values{0, 0, 0}));
  EXPECT_EQ(ValuesOf(result.gradients[0].value), (Values{0, 0, 0}));
  EXPECT_EQ(ValuesOf(result.probabilities), (Values{1, 1, 1}));
  EXPECT_EQ(ValuesOf(result.predicted_classes), (Values{0, 0, 0}));
  EXPECT_EQ(result.loss, 0);
  EXPECT_EQ(result.gradient_underflow_count, 0);
}

TEST(ScalarTest, AScalarIsOneElement) {
  for (const char* loss : {"mse_loss", "binary_cross_entropy",
                           "binary_cross_entropy_with_logits"}) {
    TestEvaluation scalar(loss);
    scalar.Set("input", Floats({}, {0.25})).Set("target", Floats({}, {1}));
    TestEvaluation vector(loss);
    vector.Set("input", Floats({1}, {0.25})).Set("target", Floats({1}, {1}));
    for (const Reduction reduction : {Reduction::kMean, Reduction::kNone}) {
      const Result one = Answer(Everything(scalar.Reduce(reduction)));
      const Result other = Answer(Everything(vector.Reduce(reduction)));
      EXPECT_EQ(one.loss_tensor.shape, Shape()) << loss;
      EXPECT_EQ(one.gradients[0].value.shape, Shape()) << loss;
      EXPECT_EQ(ValuesOf(one.gradients[0].value),
                ValuesOf(other.gradients[0].value));
      EXPECT_EQ(one.loss, ValuesOf(other.loss_tensor)[0]) << loss;
    }
  }
}

TEST(ScalarTest, ASampleWithoutABatchIsOneRow) {
  for (const char* loss : {"cross_entropy", "nll_loss"}) {
    TestEvaluation one(loss);
    one.Set("input", Floats({3}, {-1, -2, -3})).Set("target", Indices({}, {2}));
    TestEvaluation batch(loss);
    batch.Set("input", Floats({1, 3}, {-1, -2, -3}));
    batch.Set("target", Indices({1}, {2}));
    const Result a = Answer(Everything(one));
    const Result b = Answer(Everything(batch));
    EXPECT_EQ(a.elementwise_losses.shape, Shape());
    EXPECT_EQ(a.loss, b.loss);
    EXPECT_EQ(ValuesOf(a.gradients[0].value), ValuesOf(b.gradients[0].value));
  }
}

// Moves the last dimension of [n, d, c] to the middle.
Values Interleave(const Values& from, int64_t n, int64_t d, int64_t c) {
  Values to(from.size());
  for (int64_t i = 0; i < n * d * c; ++i) {
    const int64_t sample = i / (d * c);
    const int64_t place = i / c % d;
    to[(sample * c + i % c) * d + place] = from[i];
  }
  return to;
}

void ExpectInterleavedIsTheSame(const char* loss, Dtype dtype, int64_t classes,
                                bool weighted) {
  SCOPED_TRACE(testing::Message() << loss << " " << DtypeName(dtype) << " "
                                  << classes << " " << weighted);
  constexpr int64_t kN = 3;
  constexpr int64_t kD = 5;
  std::mt19937_64 random(static_cast<uint64_t>(classes));
  std::uniform_real_distribution<double> uniform(-20, 0);
  Values logits(static_cast<size_t>(kN * kD * classes));
  for (double& logit : logits) logit = uniform(random);
  Values labels(kN * kD);
  for (double& label : labels) {
    label = static_cast<double>(random() % static_cast<uint64_t>(classes));
  }
  labels[4] = -100;
  TestEvaluation plain(loss);
  plain.Set("input", TestTensor(dtype, {kN * kD, classes}, logits));
  plain.Set("target", Indices({kN * kD}, labels));
  TestEvaluation interleaved(loss);
  interleaved.Set("input", TestTensor(dtype, {kN, classes, kD},
                                      Interleave(logits, kN, kD, classes)));
  interleaved.Set("target", Indices({kN, kD}, labels));
  if (weighted) {
    Values weight(static_cast<size_t>(classes));
    for (double& each : weight) each = -uniform(random);
    plain.Set("weight", TestTensor(dtype, {classes}, weight));
    interleaved.Set("weight", TestTensor(dtype, {classes}, weight));
  }
  const Result a = Answer(Everything(plain));
  const Result b = Answer(Everything(interleaved));
  const auto same = [&](const OwnedTensor& rows, const OwnedTensor& planes) {
    EXPECT_EQ(Interleave(ValuesOf(rows), kN, kD, classes), ValuesOf(planes));
  };
  same(a.gradients[0].value, b.gradients[0].value);
  same(a.probabilities, b.probabilities);
  same(a.log_probabilities, b.log_probabilities);
  EXPECT_EQ(ValuesOf(a.elementwise_losses), ValuesOf(b.elementwise_losses));
  EXPECT_EQ(ValuesOf(a.predicted_classes), ValuesOf(b.predicted_classes));
  EXPECT_EQ(a.mean_numerator, b.mean_numerator);
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(a.gradient_underflow_count, b.gradient_underflow_count);
}

TEST(InterleavedTest, ClassesInTheMiddleGiveTheBitsOfRows) {
  for (const char* loss : {"cross_entropy", "nll_loss"}) {
    for (const Dtype dtype : {Dtype::kFloat16, Dtype::kBfloat16,
                              Dtype::kFloat32, Dtype::kFloat64}) {
      for (const int64_t classes : {1, 2, 15, 16, 17, 1023, 1024, 1025}) {
        ExpectInterleavedIsTheSame(loss, dtype, classes, classes % 2 == 1);
      }
    }
  }
}

// A policy evaluation of [2, 20] in which `hidden` stands under the mask.
TestEvaluation Masked(double hidden, double aggregation) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> uniform(-2, 0);
  Values mask(40);
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = i < 20 && i % 3 != 1;
  const auto values = [&] {
    Values result(40);
    for (size_t i = 0; i < result.size(); ++i) {
      const double value = uniform(random);
      result[i] = mask[i] == 1 ? value : hidden;
    }
    return result;
  };
  TestEvaluation evaluation("clipped_policy_loss");
  for (const char* name :
       {"log_probs", "old_log_probs", "ref_log_probs", "advantages"}) {
    evaluation.Set(name, Floats({2, 20}, values()));
  }
  evaluation.Set("mask", TestTensor(Dtype::kUint8, {2, 20}, mask));
  evaluation.Set("kl_weight", 0.5).Set("aggregation", aggregation);
  return evaluation;
}

TEST(MaskTest, WhatIsUnderTheMaskDoesNotShow) {
  for (const double aggregation : {1, 2, 3}) {
    const std::string zero = Digest(Answer(Everything(Masked(0, aggregation))));
    for (const double hidden : Values{1, INFINITY, -INFINITY, NAN}) {
      EXPECT_EQ(Digest(Answer(Everything(Masked(hidden, aggregation)))), zero)
          << hidden;
    }
  }
}

TEST(MaskTest, MaskedTokensGiveExactZeros) {
  const Result result = Answer(Everything(Masked(NAN, 1)));
  const Values gradient = ValuesOf(result.gradients[0].value);
  const Values losses = ValuesOf(result.elementwise_losses);
  for (size_t i = 0; i < 40; ++i) {
    const bool counts = i < 20 && i % 3 != 1;
    EXPECT_EQ(gradient[i] == 0, !counts) << i;
    EXPECT_EQ(losses[i] == 0, !counts) << i;
  }
  EXPECT_EQ(result.ignored_count, 27);
  EXPECT_EQ(result.mean_denominator, 13);
}

TEST(MaskTest, WithoutATokenTheMeanIsNanAndTheGradientZero) {
  TestEvaluation evaluation = Masked(1, 1);
  evaluation.Set("mask", Filled(Dtype::kBool, {2, 20}, 0));
  const Result result = Answer(Everything(evaluation));
  EXPECT_TRUE(std::isnan(*result.loss));
  EXPECT_EQ(ValuesOf(result.gradients[0].value), Values(40, 0.0));
  EXPECT_EQ(result.mean_numerator, 0);
  EXPECT_EQ(result.metrics[0].denominator, 0);
}

}  // namespace
}  // namespace lossd
