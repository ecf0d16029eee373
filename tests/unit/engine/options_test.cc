// SPDX-License-Identifier: Apache-2.0
//
// Reduction, normalizer, outputs, wrt, gradient_dtype and grad_output: each
// changes the answer as it says, or is refused.

#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

using testing::ElementsAre;
using Values = std::vector<double>;

// Losses 1, 4, 9 and 16.
TestEvaluation Squares(const Shape& shape = {4}) {
  TestEvaluation evaluation("mse_loss");
  evaluation.Set("input", Floats(shape, {1, 2, 3, 4}));
  evaluation.Set("target", Floats(shape, {0, 0, 0, 0}));
  return evaluation;
}

std::string Refusal(const TestEvaluation& evaluation,
                    const std::string& field) {
  return OnlyRefusal(evaluation, Reason::kOptionInvalid, field);
}

TEST(ReductionTest, EachReductionIsWhatItSays) {
  EXPECT_EQ(Answer(Squares()).loss, 7.5);
  EXPECT_EQ(Answer(Squares().Reduce(Reduction::kMean)).loss, 7.5);
  EXPECT_EQ(Answer(Squares().Reduce(Reduction::kSum)).loss, 30);
  const Result none = Answer(Squares({2, 2}).Reduce(Reduction::kNone));
  EXPECT_EQ(none.loss, std::nullopt);
  EXPECT_EQ(none.loss_tensor.shape, (Shape{2, 2}));
  EXPECT_EQ(ValuesOf(none.loss_tensor), (Values{1, 4, 9, 16}));
}

TEST(ReductionTest, ALossTensorOfOneNumberIsAScalarOfTheInputsDtype) {
  const Result result = Answer(Squares());
  EXPECT_EQ(result.loss_tensor.shape, Shape());
  EXPECT_EQ(result.loss_tensor.dtype, Dtype::kFloat32);
  EXPECT_EQ(ValuesOf(result.loss_tensor), Values{7.5});
}

TEST(ReductionTest, NumeratorAndDenominatorAreOfTheMeanWhateverIsAsked) {
  for (const Reduction reduction :
       {Reduction::kDefault, Reduction::kNone, Reduction::kSum}) {
    const Result result = Answer(Squares().Reduce(reduction));
    EXPECT_EQ(result.mean_numerator, 30);
    EXPECT_EQ(result.mean_denominator, 4);
    EXPECT_EQ(result.element_count, 4);
  }
}

TEST(ReductionTest, GradientsAreOfTheReducedLoss) {
  const auto gradient = [](Reduction reduction) {
    return ValuesOf(
        Answer(Squares().Reduce(reduction).Gradient()).gradients[0].value);
  };
  EXPECT_EQ(gradient(Reduction::kMean), (Values{0.5, 1, 1.5, 2}));
  EXPECT_EQ(gradient(Reduction::kSum), (Values{2, 4, 6, 8}));
  EXPECT_EQ(gradient(Reduction::kNone), (Values{2, 4, 6, 8}));
}

TEST(NormalizerTest, ReplacesTheDenominatorOfLossAndGradient) {
  TestEvaluation evaluation = Squares().Gradient();
  evaluation.options.normalizer = 10;
  const Result result = Answer(evaluation);
  EXPECT_EQ(result.loss, 3);
  EXPECT_EQ(ValuesOf(result.gradients[0].value),
            (Values{0.2f, 0.4f, 0.6f, 0.8f}));
  EXPECT_EQ(result.mean_denominator, 4);
}

TEST(NormalizerTest, IsFiniteAndPositive) {
  for (const auto& [value, name] :
       {std::pair{0.0, "0"}, {-1.0, "-1"}, {INFINITY, "inf"}, {NAN, "nan"}}) {
    TestEvaluation evaluation = Squares();
    evaluation.options.normalizer = value;
    EXPECT_EQ(Refusal(evaluation, "evaluation.normalizer"),
              std::string("normalizer = ") + name +
                  " is not finite and greater than 0.");
  }
}

TEST(NormalizerTest, GoesWithTheMeanOnly) {
  for (const Reduction reduction : {Reduction::kSum, Reduction::kNone}) {
    TestEvaluation evaluation = Squares().Reduce(reduction);
    evaluation.options.normalizer = 4;
    EXPECT_EQ(Refusal(evaluation, "evaluation.normalizer"),
              "normalizer goes with the mean only: leave it unset, or leave "
              "reduction unset.");
  }
}

// Which lanes a gradient of scale 1 / normalizer is computed in.
bool FloatLanes(double normalizer, double* gradient) {
  TestEvaluation evaluation("mse_loss");
  evaluation.Set("input", Floats({1}, {std::ldexp(1.0, 60)}));
  evaluation.Set("target", Floats({1}, {0}));
  evaluation.Gradient();
  evaluation.options.normalizer = normalizer;
  const std::unique_ptr<Task> task = RunTask(evaluation);
  *gradient = ValuesOf(task->result.gradients[0].value)[0];
  return task->job.float_lanes;
}

TEST(NormalizerTest, AScaleThatIsNoNormalFloatIsAppliedInDouble) {
  double gradient;
  EXPECT_TRUE(FloatLanes(0x1p126, &gradient));
  EXPECT_EQ(gradient, 0x1p-65);
  EXPECT_FALSE(FloatLanes(0x1p160, &gradient));  // 2^-160 is 0 as a float
  EXPECT_EQ(gradient, 0x1p-99);
  EXPECT_FALSE(FloatLanes(3 * 0x1p147, &gradient));  // subnormal as a float
  EXPECT_EQ(gradient, static_cast<double>(static_cast<float>(0x1p-86 / 3)));
}

TEST(NormalizerTest, AScaleBeyondFloatMayHaveAFiniteGradient) {
  for (const char* loss : {"mse_loss", "binary_cross_entropy_with_logits"}) {
    TestEvaluation evaluation(loss);
    evaluation.Set("input", Floats({1}, {loss[0] == 'm' ? 1e-20 : -46.0}));
    evaluation.Set("target", Floats({1}, {0})).Gradient();
    evaluation.options.normalizer = 1e-45;
    const Result result = Answer(evaluation);
    const double gradient = ValuesOf(result.gradients[0].value)[0];
    const double exact = loss[0] == 'm'
                             ? 2 * static_cast<double>(1e-20f) / 1e-45
                             : std::exp(-46.0) / 1e-45;
    EXPECT_NEAR(gradient / exact, 1, 1e-7) << loss;
    EXPECT_FALSE(result.non_finite.result_infinity) << loss;
  }
}

TEST(OutputsTest, WithoutAnyTheLossAndTheGradientsAreSent) {
  const Result loss = Answer(Squares());
  EXPECT_TRUE(loss.loss.has_value());
  EXPECT_TRUE(loss.gradients.empty());
  EXPECT_FALSE(loss.gradient_underflow_count.has_value());
  EXPECT_FALSE(loss.elementwise_losses.present());
  const Result gradient = Answer(Squares().Gradient());
  EXPECT_TRUE(gradient.loss.has_value());
  EXPECT_EQ(gradient.gradients.size(), 1u);
  EXPECT_EQ(gradient.gradient_underflow_count, 0);
}

TEST(OutputsTest, OnlyWhatIsNamedIsSent) {
  const Result losses =
      Answer(Squares().Gradient().Ask({Output::kElementwiseLosses}));
  EXPECT_EQ(losses.loss, std::nullopt);
  EXPECT_FALSE(losses.loss_tensor.present());
  EXPECT_TRUE(losses.gradients.empty());
  EXPECT_EQ(ValuesOf(losses.elementwise_losses), (Values{1, 4, 9, 16}));
  EXPECT_EQ(losses.mean_numerator, 30);
}

TEST(OutputsTest, NoneGivesTheElementwiseLossesTwiceIfBothAreNamed) {
  const Result result =
      Answer(Squares()
                 .Reduce(Reduction::kNone)
                 .Ask({Output::kLoss, Output::kElementwiseLosses}));
  EXPECT_EQ(ValuesOf(result.loss_tensor), (Values{1, 4, 9, 16}));
  EXPECT_EQ(ValuesOf(result.elementwise_losses), (Values{1, 4, 9, 16}));
}

TEST(OutputsTest, ActivationsAreOfTheInput) {
  TestEvaluation evaluation("cross_entropy");
  evaluation.Set("input", Floats({2, 2}, {0, 0, std::log(3.0), 0}));
  evaluation.Set("target", Indices({2}, {0, 0}));
  evaluation.Ask({Output::kProbabilities, Output::kLogProbabilities,
                  Output::kPredictedClasses});
  const Result result = Answer(evaluation);
  EXPECT_EQ(result.probabilities.shape, (Shape{2, 2}));
  const Values p = ValuesOf(result.probabilities);
  const Values log_p = ValuesOf(result.log_probabilities);
  for (const auto& [i, expected] :
       {std::pair{0, 0.5}, {1, 0.5}, {2, 0.75}, {3, 0.25}}) {
    EXPECT_NEAR(p[i], expected, 1e-7);
    EXPECT_NEAR(log_p[i], std::log(expected), 2e-7);
  }
  EXPECT_EQ(result.predicted_classes.dtype, Dtype::kInt64);
  EXPECT_EQ(ValuesOf(result.predicted_classes), (Values{0, 0}));
}

TEST(OutputsTest, ActivationsThatALossHasNotAreRefused) {
  for (const Output output : {Output::kProbabilities, Output::kLogProbabilities,
                              Output::kPredictedClasses}) {
    EXPECT_EQ(Refusal(Squares().Ask({output}), "evaluation.outputs"),
              "mse_loss computes no probabilities: leave OUTPUT_PROBABILITIES, "
              "OUTPUT_LOG_PROBABILITIES and OUTPUT_PREDICTED_CLASSES out.");
  }
}

TEST(OutputsTest, GradientsNeedComputeGradient) {
  EXPECT_EQ(Refusal(Squares().Ask({Output::kGradients}), "evaluation.outputs"),
            "OUTPUT_GRADIENTS goes with ComputeGradient only: call it "
            "instead.");
}

TEST(WrtTest, DefaultsToTheInputsNotToTargetsAndWeights) {
  for (const SampleCase& each : SampleCases(Dtype::kFloat32)) {
    // The inputs come before everything else that has a gradient.
    std::vector<std::string> expected;
    const auto& tensors = FindLoss(each.loss)->schema.tensors;
    for (const TensorSchema& tensor : tensors) {
      if (tensor.role == TensorRole::kInput && tensor.differentiable) {
        expected.emplace_back(tensor.name);
      }
    }
    std::vector<std::string> actual;
    for (const GradientValue& gradient :
         Answer(each.All().Gradient()).gradients) {
      actual.emplace_back(gradient.wrt);
    }
    EXPECT_EQ(actual, expected) << each.name;
  }
}

TEST(WrtTest, GradientsComeInItsOrder) {
  const Result result = Answer(Squares().Gradient({"target", "input"}));
  ASSERT_EQ(result.gradients.size(), 2u);
  EXPECT_EQ(result.gradients[0].wrt, "target");
  EXPECT_EQ(ValuesOf(result.gradients[0].value), (Values{-0.5, -1, -1.5, -2}));
  EXPECT_EQ(ValuesOf(result.gradients[1].value), (Values{0.5, 1, 1.5, 2}));
}

TEST(WrtTest, NamesAreOfDifferentiableTensorsThatWereSentOnce) {
  const std::string end = ": mse_loss has gradients for input, target, weight.";
  EXPECT_EQ(Refusal(Squares().Gradient({"x"}), "wrt[0]"),
            "wrt[0] = \"x\" is not a tensor of mse_loss" + end);
  EXPECT_EQ(Refusal(Squares().Gradient({"input", "weight"}), "wrt[1]"),
            "wrt[1] = \"weight\" was not sent" + end);
  EXPECT_EQ(Refusal(Squares().Gradient({"input", "input"}), "wrt[1]"),
            "wrt[1] = \"input\" is there twice" + end);
}

TEST(WrtTest, ClassIndicesHaveNoGradient) {
  TestEvaluation evaluation("cross_entropy");
  evaluation.Set("input", Floats({1, 2}, {0, 0}));
  evaluation.Set("target", Indices({1}, {0})).Gradient({"target"});
  EXPECT_EQ(Refusal(evaluation, "wrt[0]"),
            "wrt[0] = \"target\" is not differentiable as int64: cross_entropy "
            "has gradients for input, target, weight.");
  evaluation.Set("weight", Floats({2}, {1, 1})).Gradient({"weight"});
  EXPECT_EQ(Refusal(evaluation, "wrt[0]"),
            "wrt[0] = \"weight\" is not differentiable with class indices: "
            "cross_entropy has gradients for input, target, weight.");
}

TEST(WrtTest, ItDoesNotShowInTheLoss) {
  for (const char* loss : {"l1_loss", "mse_loss"}) {
    TestEvaluation evaluation(loss);
    evaluation.Set("input", Floats({1}, {1.1}));
    evaluation.Set("target", Floats({1}, {0.3}));
    evaluation.Set("weight", Floats({1}, {0.7}));
    const Result alone = Answer(evaluation);
    const Result result = Answer(evaluation.Gradient({"input", "weight"}));
    EXPECT_EQ(result.mean_numerator, alone.mean_numerator) << loss;
  }
}

TEST(WrtTest, AWeightHasNoGradientWherePyTorchHasNone) {
  TestEvaluation evaluation("binary_cross_entropy");
  evaluation.Set("input", Floats({1}, {0.5}));
  evaluation.Set("target", Floats({1}, {0.5}));
  evaluation.Set("weight", Floats({1}, {1})).Gradient({"weight"});
  EXPECT_EQ(Refusal(evaluation, "wrt[0]"),
            "wrt[0] = \"weight\" is not differentiable: binary_cross_entropy "
            "has gradients for input, target.");
}

TEST(GradientDtypeTest, DefaultsToTheTensorsOwn) {
  for (const Dtype dtype :
       {Dtype::kFloat16, Dtype::kBfloat16, Dtype::kFloat32, Dtype::kFloat64}) {
    for (const SampleCase& each : SampleCases(dtype)) {
      for (const auto& gradient : Answer(each.All().Gradient()).gradients) {
        EXPECT_EQ(gradient.value.dtype, dtype) << each.name;
      }
    }
  }
}

TEST(GradientDtypeTest, AWiderOneKeepsWhatTheTensorsOwnWouldRound) {
  TestEvaluation evaluation("mse_loss");
  evaluation.Set("input", TestTensor(Dtype::kFloat16, {3}, {1, 2, 3}));
  evaluation.Set("target", TestTensor(Dtype::kFloat16, {3}, {0, 0, 0}));
  evaluation.Gradient();
  evaluation.options.gradient_dtype = Dtype::kFloat64;
  const Result result = Answer(evaluation);
  EXPECT_EQ(result.gradients[0].value.dtype, Dtype::kFloat64);
  // In double: once rounded.
  EXPECT_EQ(ValuesOf(result.gradients[0].value),
            (Values{2 * (1.0 / 3), 4 * (1.0 / 3), 6 * (1.0 / 3)}));
}

TEST(GradientDtypeTest, IsFloating) {
  TestEvaluation evaluation = Squares().Gradient();
  evaluation.options.gradient_dtype = Dtype::kBool;
  EXPECT_EQ(Refusal(evaluation, "gradient_dtype"),
            "gradient_dtype = bool is not float16, bfloat16, float32 or "
            "float64.");
}

TEST(GradOutputTest, AScalarMultipliesEveryGradient) {
  for (const Reduction reduction : {Reduction::kMean, Reduction::kNone}) {
    TestEvaluation evaluation = Squares().Reduce(reduction).Gradient();
    const Values plain = ValuesOf(Answer(evaluation).gradients[0].value);
    const Values scaled = ValuesOf(
        Answer(evaluation.GradOutput(Floats({}, {-4}))).gradients[0].value);
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(scaled[i], -4 * plain[i]);
  }
}

TEST(GradOutputTest, OfTheLosssShapeItMultipliesEachByItsOwn) {
  TestEvaluation evaluation = Squares({2, 2}).Reduce(Reduction::kNone);
  evaluation.Gradient().GradOutput(Floats({2, 2}, {1, 0, -1, 0.5}));
  EXPECT_EQ(ValuesOf(Answer(evaluation).gradients[0].value),
            (Values{2, 0, -6, 4}));
}

TEST(GradOutputTest, OfAnyOtherShapeItIsRefused) {
  TestEvaluation evaluation = Squares({2, 2}).Gradient();
  evaluation.GradOutput(Floats({2, 2}, {1, 1, 1, 1}));
  const auto refusal = [&] {
    return OnlyRefusal(evaluation, Reason::kShapeMismatch, "grad_output");
  };
  EXPECT_EQ(refusal(),
            "grad_output has shape [2, 2], but the loss has shape []: send a "
            "scalar (shape []) or a tensor of the loss's shape.");
  evaluation.Reduce(Reduction::kNone).GradOutput(Floats({4}, {1, 1, 1, 1}));
  EXPECT_EQ(refusal(),
            "grad_output has shape [4], but the loss has shape [2, 2]: send a "
            "scalar (shape []) or a tensor of the loss's shape.");
  evaluation.GradOutput(Floats({1}, {1}));
  EXPECT_EQ(Refuse(evaluation).count(), 1);
}

TEST(GradOutputTest, HasTheInputsDtype) {
  TestEvaluation evaluation = Squares().Gradient();
  evaluation.GradOutput(Doubles({}, {1}));
  EXPECT_EQ(OnlyRefusal(evaluation, Reason::kDtypeMismatch, "grad_output"),
            "grad_output has dtype float64, but needs that of input "
            "(float32).");
}

}  // namespace
}  // namespace lossd
