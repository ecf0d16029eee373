// SPDX-License-Identifier: Apache-2.0
//
// What holds for every loss, on one case of each loss and of its variants: the
// order of the samples, the arithmetic of reductions, and NaN and infinity that
// stay where they are.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/property/property_support.h"
#include "tests/property/sample_cases.h"
#include "tests/unit/engine/backend_under_test.h"

namespace lossd {
namespace {

TEST(EveryLossTest, HasACase) {
  std::set<std::string> covered;
  for (const SampleCase& each : SampleCases(Dtype::kFloat32)) {
    covered.insert(each.loss);
  }
  for (const LossDefinition* loss : AllLosses()) {
    EXPECT_TRUE(covered.contains(std::string(loss->schema.name)))
        << loss->schema.name << " has no case in SampleCases(): add one.";
  }
}

TEST(EveryLossTest, PermutedSamplesGivePermutedLossesAndGradientsToTheBit) {
  ForEachCase([](Random* random, const SampleCase& each) {
    const std::vector<int64_t> order = random->Permutation(each.samples);
    const Result a = Answer(Everything(each, Reduction::kSum));
    const Result b = Answer(Everything(Taken(each, order), Reduction::kSum));
    EXPECT_EQ(ValuesOf(b.elementwise_losses),
              Taken(ValuesOf(a.elementwise_losses), a.elementwise_losses.shape,
                    0, order));
    for (const GradientValue& gradient : a.gradients) {
      SCOPED_TRACE(gradient.wrt);
      const Values values = ValuesOf(gradient.value);
      const Values other = GradientOf(b, gradient.wrt);
      if (IsSliced(each, gradient.wrt)) {
        EXPECT_EQ(other, Taken(values, gradient.value.shape,
                               each.AxisOf(gradient.wrt), order));
      } else {
        ExpectClose(*random, other, values, 1, Greatest(values));
      }
    }
    ExpectSameSums(*random, a, b);
  });
}

TEST(EveryLossTest, PermutedSamplesHaveTheSameMeanWithinRounding) {
  ForEachCase([](Random* random, const SampleCase& each) {
    const std::vector<int64_t> order = random->Permutation(each.samples);
    const Result a = Answer(Everything(each, Reduction::kMean));
    const Result b = Answer(Everything(Taken(each, order), Reduction::kMean));
    ExpectSameSums(*random, a, b);
    for (const GradientValue& gradient : a.gradients) {
      if (!IsSliced(each, gradient.wrt)) continue;
      const Values values = ValuesOf(gradient.value);
      ExpectClose(
          *random, GradientOf(b, gradient.wrt),
          Taken(values, gradient.value.shape, each.AxisOf(gradient.wrt), order),
          4, Greatest(values));
    }
  });
}

TEST(EveryLossTest, TheSumAndTheMeanAreThoseOfTheElementwiseLosses) {
  ForEachCase([](Random* random, const SampleCase& each) {
    const Result sum = Answer(Losses(each, Reduction::kSum));
    const Result mean = Answer(Losses(each, Reduction::kMean));
    const Result none = Answer(Losses(each, Reduction::kNone));
    const Values losses = ValuesOf(none.elementwise_losses);
    EXPECT_EQ(LossOf(none), losses);
    EXPECT_EQ(ValuesOf(sum.elementwise_losses), losses);
    EXPECT_EQ(ValuesOf(mean.elementwise_losses), losses);
    ExpectClose(*random, LossOf(sum), {Sum(losses)}, 4,
                SumOfMagnitudes(losses));

    const Values shares = SharesOf(each, none.elementwise_losses.shape);
    const Values terms = shares * losses;
    const double count = mean.mean_denominator;
    ExpectWithin({*mean.mean_numerator}, {Sum(terms)},
                 4 * random->epsilon() * SumOfMagnitudes(terms));
    ExpectClose(*random, LossOf(mean), {Sum(terms) / count}, 4,
                SumOfMagnitudes(terms) / count);
    EXPECT_EQ(*mean.loss,
              Narrowed(*mean.mean_numerator / count, random->dtype()));
    EXPECT_EQ(*mean.mean_numerator, *none.mean_numerator);
    EXPECT_EQ(mean.mean_denominator, none.mean_denominator);
  });
}

TEST(EveryLossTest, TheGradientOfTheSumIsThatOfTheMeanTimesItsDenominator) {
  ForEachCase([](Random* random, const SampleCase& each) {
    const Result sum = Answer(Everything(each, Reduction::kSum));
    const Result mean = Answer(Everything(each, Reduction::kMean));
    for (const GradientValue& gradient : sum.gradients) {
      SCOPED_TRACE(gradient.wrt);
      // The mean is divided by the sum of this weight, which is not held.
      if (gradient.wrt == "weight" && DividesByWeight(each)) continue;
      const Values of_sum = ValuesOf(gradient.value);
      const Values share =
          SharesOf(each, gradient.value.shape, each.AxisOf(gradient.wrt));
      ExpectClose(*random,
                  mean.mean_denominator * GradientOf(mean, gradient.wrt),
                  share * of_sum, 4, Greatest(of_sum));
      EXPECT_GT(Greatest(of_sum), 0);
    }
  });
}

TEST(EveryLossTest, ANormalizerReplacesTheDenominatorOfTheMean) {
  ForEachCase([](Random* random, const SampleCase& each) {
    const double normalizer = random->Number(2, 50);
    const Result mean = Answer(Losses(each, Reduction::kMean));
    const Result sum = Answer(Everything(each, Reduction::kSum));
    TestEvaluation evaluation = Everything(each, Reduction::kMean);
    evaluation.options.normalizer = normalizer;
    const Result result = Answer(evaluation);
    EXPECT_EQ(*result.loss,
              Narrowed(*mean.mean_numerator / normalizer, random->dtype()));
    EXPECT_EQ(result.mean_denominator, mean.mean_denominator);
    EXPECT_EQ(*result.mean_numerator, *mean.mean_numerator);
    if (HasPlainSum(each)) {
      ExpectClose(*random, LossOf(result), {*sum.loss / normalizer}, 2);
    }
    for (const GradientValue& gradient : sum.gradients) {
      SCOPED_TRACE(gradient.wrt);
      const Values of_sum = ValuesOf(gradient.value);
      const Values share =
          SharesOf(each, gradient.value.shape, each.AxisOf(gradient.wrt));
      ExpectClose(*random, normalizer * GradientOf(result, gradient.wrt),
                  share * of_sum, 4, Greatest(of_sum));
    }
  });
}

TEST(EveryLossTest, ThePowersOfTwoOfAGradOutputScaleGradientsExactly) {
  ForEachCase([](Random* random, const SampleCase& each) {
    for (const Reduction reduction : {Reduction::kSum, Reduction::kMean}) {
      const Result one = Answer(Everything(each, reduction));
      for (const double power : {0.125, 2.0, -64.0}) {
        TestEvaluation scaled = Everything(each, reduction);
        scaled.GradOutput(random->Tensor({}, {power}));
        const Result result = Answer(scaled);
        EXPECT_EQ(LossOf(result), LossOf(one));
        for (const GradientValue& gradient : one.gradients) {
          EXPECT_EQ(GradientOf(result, gradient.wrt),
                    power * ValuesOf(gradient.value))
              << gradient.wrt;
        }
      }
    }
  });
}

TEST(EveryLossTest, GradientsAreLinearInTheGradOutput) {
  ForEachCase([](Random* random, const SampleCase& each) {
    const Result plain = Answer(Everything(each, Reduction::kNone));
    const Shape& shape = plain.loss_tensor.shape;
    const int64_t count = ElementCount(shape).value();
    const Values first = random->Coarse(count, -2, 2);
    const Values second = random->Coarse(count, -2, 2);
    const auto of = [&](const Values& upstream) {
      TestEvaluation evaluation = Everything(each, Reduction::kNone);
      return Answer(evaluation.GradOutput(random->Tensor(shape, upstream)));
    };
    const Result a = of(first), b = of(second), both = of(first + second);
    const Result ones = of(Values(first.size(), 1.0));
    const Result sum = Answer(Everything(each, Reduction::kSum));
    for (const GradientValue& gradient : plain.gradients) {
      SCOPED_TRACE(gradient.wrt);
      const Values values = ValuesOf(gradient.value);
      EXPECT_EQ(GradientOf(ones, gradient.wrt), values);
      EXPECT_EQ(GradientOf(sum, gradient.wrt), values);
      const Values x = GradientOf(a, gradient.wrt);
      const Values y = GradientOf(b, gradient.wrt);
      ExpectClose(
          *random, GradientOf(both, gradient.wrt), x + y, 4,
          Magnitudes(x) + Magnitudes(y) + Values(x.size(), Greatest(values)));
      EXPECT_NE(x, y);
    }
  });
}

// Whether a tensor may hold the value at all.
bool IsInDomain(const TensorSchema& tensor, double value) {
  return (!tensor.minimum || value >= *tensor.minimum) &&
         (!tensor.maximum || value <= *tensor.maximum);
}

// Whether some of a sample's elements may have no use: logits of other classes
// in nll_loss, steps beyond a length, what is masked or ignored.
bool MayBeUnused(const SampleCase& each) {
  return each.loss == "nll_loss" || each.loss == "ctc_loss" ||
         each.loss == "clipped_policy_loss" || each.name == "ce_ignoring" ||
         each.name == "ce_smoothed";
}

// What is sent back, as flags.
struct Sent {
  explicit Sent(const Result& result) {
    Look(result.loss_tensor);
    Look(result.elementwise_losses);
    for (const GradientValue& gradient : result.gradients) Look(gradient.value);
  }
  void Look(const OwnedTensor& tensor) {
    for (const double value : ValuesOf(tensor)) {
      nan |= std::isnan(value);
      infinity |= std::isinf(value);
    }
  }
  bool nan = false;
  bool infinity = false;
};

// That the other samples are what they were, to the bit, and that the flags say
// what happened. Returns whether the value was used.
bool CheckPoisoned(const SampleCase& each, const Result& clean,
                   const Result& poisoned, int64_t sample, double value) {
  const std::vector<int64_t> others = AllBut(each, sample);
  const auto rest = [&](const OwnedTensor& tensor, size_t axis) {
    return Taken(ValuesOf(tensor), tensor.shape, axis, others);
  };
  EXPECT_EQ(rest(poisoned.elementwise_losses, 0),
            rest(clean.elementwise_losses, 0));
  for (size_t k = 0; k < clean.gradients.size(); ++k) {
    const GradientValue& gradient = clean.gradients[k];
    if (!IsSliced(each, gradient.wrt)) continue;
    const size_t axis = each.AxisOf(gradient.wrt);
    EXPECT_EQ(rest(poisoned.gradients[k].value, axis),
              rest(gradient.value, axis))
        << gradient.wrt;
  }
  const NonFinite& flags = poisoned.non_finite;
  const Sent sent(poisoned);
  EXPECT_EQ(flags.result_nan, sent.nan);
  EXPECT_EQ(flags.result_infinity, sent.infinity);
  const bool used = flags.input_nan || flags.input_infinity;
  if (used) {
    EXPECT_EQ(flags.input_nan, std::isnan(value));
    EXPECT_EQ(flags.input_infinity, std::isinf(value));
  } else {
    EXPECT_TRUE(MayBeUnused(each));
    EXPECT_EQ(Digest(poisoned), Digest(clean));
  }
  return used;
}

TEST(EveryLossTest, NanAndInfinityOfASampleStayThere) {
  const double infinity = std::numeric_limits<double>::infinity();
  std::map<std::string, int> uses;
  ForEachCase([&](Random* random, const SampleCase& each) {
    const Result clean = Answer(Everything(each, Reduction::kSum));
    const LossSchema& schema = FindLoss(each.loss)->schema;
    for (size_t k = 0; k < each.pieces.size(); ++k) {
      const SampleCase::Piece& piece = each.pieces[k];
      if (!piece.sliced || !IsFloating(piece.dtype)) continue;
      SCOPED_TRACE(piece.tensor);
      const auto tensor = std::find_if(
          schema.tensors.begin(), schema.tensors.end(),
          [&](const TensorSchema& t) { return t.name == piece.tensor; });
      for (const double value : {std::nan(""), infinity, -infinity}) {
        if (!IsInDomain(*tensor, value)) continue;
        SCOPED_TRACE(value);
        int& used = uses[absl::StrCat(each.name, " ", piece.tensor, value)];
        const int64_t samples = RepetitionsUnderTest(each.samples, 6);
        for (int64_t sample = 0; sample < samples; ++sample) {
          SCOPED_TRACE(absl::StrCat("sample ", sample));
          SampleCase poisoned = each;
          const std::vector<size_t> own = ElementsOfSample(piece, sample);
          poisoned.pieces[k].values[own[static_cast<size_t>(random->Integer(
              0, static_cast<int64_t>(own.size()) - 1))]] = value;
          used += CheckPoisoned(each, clean,
                                Answer(Everything(poisoned, Reduction::kSum)),
                                sample, value);
        }
      }
    }
  });
  for (const auto& [name, used] : uses) EXPECT_GT(used, 0) << name;
}

TEST(EveryLossTest, NanOfAnElementStaysThereWhereLossesAreElementwise) {
  std::set<std::string> checked;
  ForEachCase([&](Random* random, const SampleCase& each) {
    if (RunTask(each.All())->geometry.row_loss) return;
    checked.insert(each.loss);
    const Result clean = Answer(Everything(each, Reduction::kSum));
    const SampleCase::Piece& piece = each.pieces[0];
    if (piece.shape != clean.elementwise_losses.shape) return;
    const auto place = static_cast<size_t>(
        random->Integer(0, static_cast<int64_t>(piece.values.size()) - 1));
    SampleCase poisoned = each;
    // NaN would be outside the domain of a probability.
    const bool probability = each.loss == "binary_cross_entropy";
    poisoned.pieces[0].values[place] = probability ? 0 : std::nan("");
    const Result result = Answer(Everything(poisoned, Reduction::kSum));
    const auto others = [&](Values values) {
      values.erase(values.begin() + static_cast<int64_t>(place));
      return values;
    };
    const Values losses = ValuesOf(result.elementwise_losses);
    EXPECT_EQ(others(losses), others(ValuesOf(clean.elementwise_losses)));
    EXPECT_EQ(std::isnan(losses[place]), !probability);
    EXPECT_EQ(others(GradientOf(result, piece.tensor)),
              others(GradientOf(clean, piece.tensor)));
  });
  EXPECT_EQ(checked.size(), 12u);
}

}  // namespace
}  // namespace lossd
