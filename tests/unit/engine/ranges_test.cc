// SPDX-License-Identifier: Apache-2.0
//
// Parameters, reductions and variances at the ends of their ranges, of each
// loss that has them, and what is said of several mistakes at once.

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/engine/engine_test_support.h"

namespace lossd {
namespace {

using testing::ElementsAre;
using Values = std::vector<double>;

// A good evaluation of that loss.
TestEvaluation Good(const std::string& loss) {
  static const auto* const cases =
      new std::vector<SampleCase>(SampleCases(Dtype::kFloat32));
  for (const SampleCase& each : *cases) {
    if (each.loss == loss) return each.All();
  }
  ADD_FAILURE() << "there is no case of " << loss;
  return TestEvaluation("mse_loss");
}

std::vector<std::string> FieldsOf(const Violations& violations) {
  std::vector<std::string> fields;
  for (const Violation& each : violations.kept()) fields.push_back(each.field);
  return fields;
}

struct Range {
  std::string loss;
  std::string parameter;
  std::string words;  // of the range
  Values outside;
  Values inside;
};

std::vector<Range> Ranges() {
  const std::string any = "(-inf, inf)";
  const std::string positive = "(0, inf)";
  const std::string natural = "[0, inf)";
  const Values not_finite = {NAN, -NAN, INFINITY, -INFINITY};
  const Values finite = {-1e300, -1, -0.0, 0, 1e-300, 2, 1e300};
  const Values negative = {-1, -1e-300, NAN, INFINITY, -INFINITY};
  return {
      {"cosine_embedding_loss", "margin", any, not_finite, finite},
      {"ctc_loss", "blank", "[0, C)", {-1, -0x1p53, NAN, -INFINITY}, {0}},
      {"gaussian_nll_loss", "eps", natural, negative, {0, 1e-300, 1, 1e300}},
      {"hinge_embedding_loss", "margin", any, not_finite, finite},
      {"huber_loss",
       "delta",
       "(0, inf]",
       {0, -0.0, -1, -1e-300, NAN, -INFINITY},
       {1e-300, 1, 1e300, INFINITY}},
      {"margin_ranking_loss", "margin", any, not_finite, finite},
      {"multi_margin_loss", "p", "[1, 2]", {0, 3, -1, NAN, INFINITY}, {1, 2}},
      {"multi_margin_loss", "margin", any, not_finite, finite},
      {"poisson_nll_loss", "eps", natural, negative, {0, 1e-300, 1, 1e300}},
      {"smooth_l1_loss",
       "beta",
       "[0, inf]",
       {-1, -1e-300, NAN, -INFINITY},
       {0, -0.0, 1e-300, 1, INFINITY}},
      {"triplet_margin_with_distance_loss",
       "margin",
       positive,
       {0, -0.0, -1, -1e-300, NAN, INFINITY, -INFINITY},
       {1e-300, 1, 1e300}},
  };
}

TEST(RangeTest, AParameterOutsideIsRefusedInTheSameWords) {
  for (const Range& range : Ranges()) {
    for (const double value : range.outside) {
      EXPECT_EQ(
          OnlyRefusal(
              Good(range.loss).Set(range.parameter, value),
              Reason::kParameterOutOfRange,
              absl::StrCat("evaluation.", range.loss, ".", range.parameter)),
          absl::StrCat(range.parameter, " = ", Violations::NumberName(value),
                       " is outside ", range.words, "."));
    }
  }
}

TEST(RangeTest, AParameterInsideIsTaken) {
  for (const Range& range : Ranges()) {
    for (const double value : range.inside) {
      EXPECT_TRUE(
          Refuse(Good(range.loss).Set(range.parameter, value).Gradient())
              .empty())
          << range.loss << " " << range.parameter << " = " << value;
    }
  }
}

TEST(RangeTest, OfANumberIsAnInterval) {
  for (const LossDefinition* loss : AllLosses()) {
    for (const ParameterSchema& parameter : loss->schema.parameters) {
      if (parameter.type == ParameterType::kDouble) {
        EXPECT_THAT(std::string(parameter.range),
                    testing::MatchesRegex("[[(].*, .*[])]"))
            << loss->schema.name << " " << parameter.name;
      }
    }
  }
}

TEST(BatchMeanTest, IsOfKlDivOnly) {
  for (const LossDefinition* loss : AllLosses()) {
    const std::string name(loss->schema.name);
    TestEvaluation evaluation = Good(name).Reduce(Reduction::kBatchMean);
    if (name == "kl_div") {
      EXPECT_TRUE(Refuse(evaluation.Gradient()).empty());
      evaluation.options.normalizer = 3;
      EXPECT_TRUE(Refuse(evaluation).empty());
      continue;
    }
    EXPECT_EQ(
        OnlyRefusal(evaluation, Reason::kOptionInvalid, "evaluation.reduction"),
        absl::StrCat(
            "reduction = REDUCTION_BATCHMEAN goes with kl_div only: ", name,
            " has REDUCTION_NONE, REDUCTION_MEAN and "
            "REDUCTION_SUM."));
  }
}

TEST(MistakesTest, OfEveryKindAreToldAtOnce) {
  TestEvaluation evaluation = Good("huber_loss");
  evaluation.Set("delta", 0.0).Set("weight", Doubles({1}, {1}));
  evaluation.Reduce(Reduction::kBatchMean).Gradient({"var"});
  evaluation.options.normalizer = NAN;
  EXPECT_THAT(
      FieldsOf(Refuse(evaluation)),
      ElementsAre("evaluation.huber_loss.weight", "evaluation.huber_loss.delta",
                  "evaluation.reduction", "evaluation.normalizer", "wrt[0]"));
}

TEST(MistakesTest, InEveryTensorOfCtcAreToldAtOnce) {
  TestEvaluation missing("ctc_loss");
  missing.Set("blank", -1.0);
  EXPECT_THAT(FieldsOf(Refuse(missing)),
              ElementsAre("evaluation.ctc_loss.log_probs",
                          "evaluation.ctc_loss.targets",
                          "evaluation.ctc_loss.input_lengths",
                          "evaluation.ctc_loss.target_lengths",
                          "evaluation.ctc_loss.blank"));
  TestEvaluation wrong = Good("ctc_loss");
  wrong.Set("targets", Filled(Dtype::kInt64, {1, 1, 1}, 1));
  wrong.Set("input_lengths", Indices({}, {1}));
  wrong.Set("target_lengths", Indices({1, 1}, {1})).Set("blank", 1e6);
  EXPECT_THAT(
      FieldsOf(Refuse(wrong)),
      ElementsAre("evaluation.ctc_loss.input_lengths",
                  "evaluation.ctc_loss.target_lengths",
                  "evaluation.ctc_loss.targets", "evaluation.ctc_loss.blank"));
}

TEST(MistakesTest, ParametersOfOneLossAreToldTogether) {
  TestEvaluation evaluation = Good("multi_margin_loss");
  evaluation.Set("p", 3.0).Set("margin", NAN).Reduce(Reduction::kBatchMean);
  EXPECT_THAT(FieldsOf(Refuse(evaluation)),
              ElementsAre("evaluation.multi_margin_loss.p",
                          "evaluation.multi_margin_loss.margin",
                          "evaluation.reduction"));
}

TestEvaluation Gaussian(const Shape& input, const TestTensor& var) {
  TestEvaluation evaluation("gaussian_nll_loss");
  evaluation.Set("input", Filled(Dtype::kFloat32, input, 1));
  evaluation.Set("target", Filled(Dtype::kFloat32, input, 0));
  evaluation.Set("var", var);
  return evaluation;
}

TEST(VarianceTest, ThatIsNegativeIsNamedByItsOwnSubscripts) {
  const auto refusal = [](const Shape& input, const TestTensor& var) {
    return OnlyRefusal(Gaussian(input, var).Gradient(),
                       Reason::kValueOutOfRange,
                       "evaluation.gaussian_nll_loss.var");
  };
  const std::string hint =
      " A variance is not negative: send exp(log_variance) rather than the "
      "logarithm itself.";
  EXPECT_EQ(refusal({2, 2}, Floats({2, 2}, {1, 0, 1, -0.5})),
            "var[1, 1] = -0.5 is outside [0, inf]. 1 of 4 values is out of "
            "range." +
                hint);
  EXPECT_EQ(refusal({2, 2}, Floats({2, 1}, {-1, -2})),
            "var[0, 0] = -1 is outside [0, inf]. 2 of 2 values are out of "
            "range." +
                hint);
  EXPECT_EQ(
      refusal({2, 2}, Floats({2}, {3, -1})),
      "var[1] = -1 is outside [0, inf]. 1 of 2 values is out of range." + hint);
  EXPECT_EQ(
      refusal({2, 2}, Floats({}, {-1})),
      "var = -1 is outside [0, inf]. 1 of 1 values is out of range." + hint);
  EXPECT_EQ(refusal({2}, Floats({2}, {1, NAN})),
            "var[1] = nan is outside [0, inf]. 1 of 2 values is out of range." +
                hint);
}

TEST(VarianceTest, ThatIsNegativeIsFoundInEveryDtypeAndPlace) {
  for (const Dtype dtype :
       {Dtype::kFloat16, Dtype::kBfloat16, Dtype::kFloat32, Dtype::kFloat64}) {
    for (const size_t place : {0, 15, 16, 1023, 1024, 1040}) {
      Values values(1041, 0.5);
      values[place] = -1;
      TestEvaluation evaluation("gaussian_nll_loss");
      evaluation.Set("input", Filled(dtype, {1041}, 1));
      evaluation.Set("target", Filled(dtype, {1041}, 0));
      evaluation.Set("var", TestTensor(dtype, {1041}, values));
      EXPECT_THAT(
          OnlyRefusal(evaluation, Reason::kValueOutOfRange,
                      "evaluation.gaussian_nll_loss.var"),
          testing::StartsWith(absl::StrCat("var[", place, "] = -1 is outside")))
          << DtypeName(dtype);
    }
  }
}

TEST(VarianceTest, OfZeroOrInfinityIsTaken) {
  EXPECT_TRUE(Refuse(Gaussian({3}, Floats({3}, {0, -0.0, INFINITY})).Gradient())
                  .empty());
  // Nothing of an empty input is looked at.
  EXPECT_TRUE(Refuse(Gaussian({0}, Floats({0}, {}))).empty());
}

}  // namespace
}  // namespace lossd
