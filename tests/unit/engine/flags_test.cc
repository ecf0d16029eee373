// SPDX-License-Identifier: Apache-2.0
//
// What an answer says about NaN, infinity and underflow: of the values that are
// used, and of everything that is sent back.

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

TestEvaluation Mse(Dtype dtype, const std::vector<double>& input) {
  const Shape shape = {static_cast<int64_t>(input.size())};
  TestEvaluation evaluation("mse_loss");
  evaluation.Set("input", TestTensor(dtype, shape, input));
  evaluation.Set("target", Filled(dtype, shape, 0));
  return evaluation;
}

// The flags as letters: input nan, input infinity, result nan and infinity.
std::string Flags(const TestEvaluation& evaluation) {
  const NonFinite flags = Answer(evaluation).non_finite;
  std::string letters;
  if (flags.input_nan) letters += "n";
  if (flags.input_infinity) letters += "i";
  if (flags.result_nan) letters += "N";
  if (flags.result_infinity) letters += "I";
  return letters;
}

TEST(NonFiniteTest, FiniteValuesRaiseNoFlag) {
  for (const SampleCase& each : SampleCases(Dtype::kFloat32)) {
    EXPECT_EQ(Flags(each.All().Gradient()), "") << each.name;
  }
}

TEST(NonFiniteTest, EveryPlaceOfALeafIsLookedAt) {
  for (const Dtype dtype : {Dtype::kFloat16, Dtype::kFloat32}) {
    for (const size_t place : {0, 1, 15, 16, 17, 1023, 1024, 1040}) {
      std::vector<double> input(1041, 1.0);
      input[place] = NAN;
      EXPECT_EQ(Flags(Mse(dtype, input)), "nN") << place;
      input[place] = -INFINITY;
      EXPECT_EQ(Flags(Mse(dtype, input)), "iI") << place;
    }
  }
}

TEST(NonFiniteTest, TargetsAndWeightsAreLookedAtToo) {
  TestEvaluation evaluation = Mse(Dtype::kFloat32, {1, 2});
  evaluation.Set("weight", Floats({2}, {1, INFINITY}));
  EXPECT_EQ(Flags(evaluation), "iN");  // infinity / infinity
  evaluation.Set("weight", Floats({2}, {1, 1}));
  evaluation.Set("target", Floats({2}, {1, NAN}));
  EXPECT_EQ(Flags(evaluation), "nN");
}

TEST(NonFiniteTest, AWeightOfOneValueIsLookedAt) {
  TestEvaluation evaluation("binary_cross_entropy_with_logits");
  evaluation.Set("input", Floats({2}, {1, 2}));
  evaluation.Set("target", Floats({2}, {1, 0}));
  evaluation.Set("weight", Floats({}, {INFINITY}));
  EXPECT_EQ(Flags(evaluation), "iI");
}

TEST(NonFiniteTest, AnIgnoredRowIsNotUsed) {
  for (const char* loss : {"cross_entropy", "nll_loss"}) {
    TestEvaluation evaluation(loss);
    evaluation.Set("input", Floats({2, 2}, {NAN, INFINITY, -1, -2}));
    evaluation.Set("target", Indices({2}, {-100, 1})).Gradient();
    EXPECT_EQ(Flags(evaluation), "") << loss;
    const std::vector<double> gradient =
        ValuesOf(Answer(evaluation).gradients[0].value);
    EXPECT_EQ(gradient[0], 0) << loss;
    EXPECT_EQ(gradient[1], 0) << loss;
    EXPECT_EQ(Answer(evaluation).ignored_count, 1) << loss;
    evaluation.Set("target", Indices({2}, {0, 1}));
    EXPECT_EQ(Flags(evaluation)[0], 'n') << loss;
  }
}

TEST(NonFiniteTest, NllLossLooksAtTheTargetsElementOnly) {
  TestEvaluation evaluation("nll_loss");
  evaluation.Set("input", Floats({1, 3}, {NAN, -1, -INFINITY}));
  evaluation.Set("target", Indices({1}, {1}));
  EXPECT_EQ(Flags(evaluation), "");
  evaluation.Set("target", Indices({1}, {0}));
  EXPECT_EQ(Flags(evaluation), "nN");
  evaluation.Set("target", Indices({1}, {2}));
  EXPECT_EQ(Flags(evaluation), "iI");
}

TestEvaluation Policy(const TestTensor& advantages, const TestTensor& mask) {
  TestEvaluation evaluation("clipped_policy_loss");
  evaluation.Set("log_probs", Floats({2, 2}, {-1, -2, -1, -2}));
  evaluation.Set("old_log_probs", Floats({2, 2}, {-1, -2, -1, -2}));
  evaluation.Set("advantages", advantages);
  evaluation.Set("mask", mask);
  return evaluation.Gradient();
}

TEST(NonFiniteTest, AdvantagesAreLookedAtOfTokensAndOfSequences) {
  const TestTensor all = Floats({2, 2}, {1, 1, 1, 1});
  EXPECT_EQ(Flags(Policy(Floats({2, 2}, {1, NAN, 1, 1}), all)), "nN");
  EXPECT_EQ(Flags(Policy(Floats({2}, {1, NAN}), all)), "nN");
  EXPECT_EQ(Flags(Policy(Floats({2}, {-INFINITY, 1}), all)), "iI");
}

TEST(NonFiniteTest, AMaskedTokenIsNotUsed) {
  const TestTensor mask = Floats({2, 2}, {1, 0, 0, 0});
  EXPECT_EQ(Flags(Policy(Floats({2, 2}, {1, NAN, INFINITY, NAN}), mask)), "");
  EXPECT_EQ(Flags(Policy(Floats({2}, {1, NAN}), mask)), "");
}

// 300^2 and 2 * 40000 are above 65504.
TEST(NonFiniteTest, WhatOverflowsItsDtypeIsFlagged) {
  TestEvaluation loss = Mse(Dtype::kFloat16, {300});
  EXPECT_EQ(Flags(loss), "I");
  EXPECT_EQ(Flags(loss.Reduce(Reduction::kNone)), "I");
  TestEvaluation gradient =
      Mse(Dtype::kFloat16, {40000}).Gradient().Ask({Output::kGradients});
  ASSERT_EQ(ValuesOf(Answer(gradient).gradients[0].value)[0], INFINITY);
  EXPECT_EQ(Flags(gradient), "I");
  TestEvaluation nll("nll_loss");
  nll.Set("input", TestTensor(Dtype::kFloat16, {1, 1}, {-60000}));
  nll.Set("weight", TestTensor(Dtype::kFloat16, {1}, {2}));
  nll.Set("target", Indices({1}, {0})).Ask({Output::kElementwiseLosses});
  ASSERT_EQ(ValuesOf(Answer(nll).elementwise_losses)[0], INFINITY);
  EXPECT_EQ(Flags(nll), "I");
}

TEST(NonFiniteTest, OnlyWhatIsSentBackIsAResult) {
  TestEvaluation evaluation = Mse(Dtype::kFloat32, {1e30, 1}).Gradient();
  EXPECT_EQ(Flags(evaluation), "I");  // the loss
  evaluation.Ask({Output::kGradients});
  EXPECT_EQ(Flags(evaluation), "");
}

TEST(NonFiniteTest, ALossThatIsNanForItsDenominatorIsFlagged) {
  EXPECT_EQ(Flags(Mse(Dtype::kFloat32, {})), "N");
  EXPECT_EQ(Flags(Mse(Dtype::kFloat32, {}).Reduce(Reduction::kSum)), "");
}

int64_t Underflows(const TestEvaluation& evaluation) {
  return Answer(evaluation).gradient_underflow_count.value_or(-1);
}

TEST(UnderflowTest, CountsGradientsThatTheirDtypeLost) {
  TestEvaluation evaluation = Mse(Dtype::kFloat32, {1e-9, 0, 1, -1e-9, 1e-5});
  evaluation.Gradient();
  EXPECT_EQ(Underflows(evaluation), 0);
  evaluation.options.gradient_dtype = Dtype::kFloat16;
  EXPECT_EQ(Underflows(evaluation), 2);
  evaluation.options.gradient_dtype = Dtype::kBfloat16;
  EXPECT_EQ(Underflows(evaluation), 0);
}

TEST(UnderflowTest, CountsWhatTheArithmeticLost) {
  std::vector<double> input(1041, 1e-30);
  input[7] = 0;
  TestEvaluation evaluation = Mse(Dtype::kFloat32, input);
  evaluation.Reduce(Reduction::kSum).Gradient();
  EXPECT_EQ(Underflows(evaluation), 0);
  evaluation.GradOutput(Floats({}, {1e-20}));
  EXPECT_EQ(Underflows(evaluation), 1040);
  evaluation.GradOutput(Floats({}, {0}));
  EXPECT_EQ(Underflows(evaluation), 0);
}

TEST(UnderflowTest, CountsTheClassesThatARowLost) {
  // exp(-200) is 0 as a float and not as a double; exp(-infinity) is 0.
  TestEvaluation evaluation("cross_entropy");
  const std::vector<double> logits = {0, -200, -200, -INFINITY, -1};
  evaluation.Set("input", Floats({1, 5}, logits));
  evaluation.Set("target", Indices({1}, {4})).Gradient();
  EXPECT_EQ(Underflows(evaluation), 2);
  evaluation.Set("target", Indices({1}, {0}));
  EXPECT_EQ(Underflows(evaluation), 2);
  evaluation.Set("target", Indices({1}, {1}));
  EXPECT_EQ(Underflows(evaluation), 1);  // the target's own is -1
  evaluation.Set("input", Doubles({1, 5}, logits));
  EXPECT_EQ(Underflows(evaluation), 0);
  evaluation.Set("target", Indices({1}, {-100}));
  EXPECT_EQ(Underflows(evaluation), 0);
}

}  // namespace
}  // namespace lossd
