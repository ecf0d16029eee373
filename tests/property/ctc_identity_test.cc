// SPDX-License-Identifier: Apache-2.0
//
// Identities of ctc_loss, and its definition: the sum over all alignments.

#include <cmath>
#include <limits>

#include "gtest/gtest.h"
#include "tests/property/property_support.h"

namespace lossd {
namespace {

constexpr double kLogits = 1, kLogProbs = 2;

// Sequences of their own lengths. log_probs[n] holds the steps of sequence n.
struct Sequences {
  int64_t classes = 5;
  double blank = 0;
  std::vector<Values> log_probs;
  std::vector<Values> labels;

  size_t size() const { return log_probs.size(); }
  int64_t Steps(size_t n) const {
    return static_cast<int64_t>(log_probs[n].size()) / classes;
  }
};

// What a path of sequence n adds up, at most: the magnitude that the exponent
// of an occupancy is rounded at.
double Magnitude(const Sequences& all, size_t n) {
  double sum = 1;
  const Values& own = all.log_probs[n];
  for (auto step = own.begin(); step != own.end(); step += all.classes) {
    sum += Greatest(Values(step, step + all.classes));
  }
  return sum;
}

// Sequences that fit into their steps.
Sequences MakeSequences(Random* random, size_t count) {
  Sequences sequences;
  sequences.blank = static_cast<double>(random->Integer(0, 4));
  for (size_t n = 0; n < count; ++n) {
    const int64_t labels = random->Integer(0, 10);
    const int64_t steps = random->Integer(2 * labels + 1, 25);
    sequences.log_probs.push_back(
        random->Narrow(LogSoftmax(random->Uniform(steps * 5, -3, 3), 5)));
    Values own = random->Integers(labels, 1, 4);
    for (double& label : own) label = label == sequences.blank ? 0 : label;
    sequences.labels.push_back(own);
  }
  return sequences;
}

enum class Layout { kPadded, kConcatenated };

// What lies beyond a sequence: more steps and labels than are needed, and what
// they hold.
struct Padding {
  int64_t steps = 0;
  int64_t labels = 0;
  double log_prob = -1;
  double label = 1;
};

TestEvaluation Make(const Random& random, const Sequences& all, Layout layout,
                    const Padding& padding = {}) {
  const auto count = static_cast<int64_t>(all.size());
  size_t most_labels = 0;
  Values input_lengths, target_lengths;
  for (size_t n = 0; n < all.size(); ++n) {
    input_lengths.push_back(static_cast<double>(all.Steps(n)));
    target_lengths.push_back(static_cast<double>(all.labels[n].size()));
    most_labels = std::max(most_labels, all.labels[n].size());
  }
  const int64_t steps =
      static_cast<int64_t>(Greatest(input_lengths)) + padding.steps;
  const auto row = static_cast<size_t>(count * all.classes);
  Values log_probs(static_cast<size_t>(steps) * row, padding.log_prob);
  Values labels;
  for (size_t n = 0; n < all.size(); ++n) {
    for (size_t i = 0; i < all.log_probs[n].size(); ++i) {
      const auto c = static_cast<size_t>(all.classes);
      log_probs[i / c * row + n * c + i % c] = all.log_probs[n][i];
    }
    labels.insert(labels.end(), all.labels[n].begin(), all.labels[n].end());
    if (layout == Layout::kConcatenated) continue;
    labels.resize((n + 1) * (most_labels + static_cast<size_t>(padding.labels)),
                  padding.label);
  }
  const auto width = static_cast<int64_t>(labels.size());
  const Shape shape = layout == Layout::kConcatenated
                          ? Shape{width}
                          : Shape{count, width / count};
  TestEvaluation evaluation("ctc_loss");
  evaluation.Set("log_probs",
                 random.Tensor({steps, count, all.classes}, log_probs));
  evaluation.Set("targets", Indices(shape, labels));
  evaluation.Set("input_lengths", Indices({count}, input_lengths));
  evaluation.Set("target_lengths", Indices({count}, target_lengths));
  evaluation.Set("blank", all.blank).Set("gradient_convention", kLogProbs);
  return evaluation.Reduce(Reduction::kNone).Gradient();
}

Sequences One(int64_t classes, const Values& log_probs, const Values& labels) {
  Sequences one;
  one.classes = classes;
  one.log_probs = {log_probs};
  one.labels = {labels};
  return one;
}

// The gradient of sequence n, step after step, and whatever is behind it.
Values OfSequence(const Values& gradient, const Sequences& all, size_t n) {
  const auto c = static_cast<size_t>(all.classes);
  Values own;
  for (size_t i = 0; i < gradient.size(); ++i) {
    if (i / c % all.size() == n) own.push_back(gradient[i]);
  }
  return own;
}

// The definition: every alignment on its own.
struct AllAlignments {
  AllAlignments(const Sequences& all, size_t n)
      : sequences(all), log_probs(all.log_probs[n]), labels(all.labels[n]) {
    occupancy.resize(log_probs.size());
    path.resize(static_cast<size_t>(all.Steps(n)));
    Extend(0, 0);
    for (long double& each : occupancy) each /= total;
  }

  double Loss() const { return static_cast<double>(-std::log(total)); }
  Values Gradient() const {
    return -Values(occupancy.begin(), occupancy.end());
  }

 private:
  void Extend(size_t step, long double log_probability) {
    if (step == path.size()) return Count(std::exp(log_probability));
    const auto classes = static_cast<size_t>(sequences.classes);
    for (size_t c = 0; c < classes; ++c) {
      path[step] = c;
      Extend(step + 1, log_probability + log_probs[step * classes + c]);
    }
  }

  void Count(long double probability) {
    Values collapsed;
    for (size_t t = 0; t < path.size(); ++t) {
      const bool repeats = t > 0 && path[t] == path[t - 1];
      const auto c = static_cast<double>(path[t]);
      if (!repeats && c != sequences.blank) collapsed.push_back(c);
    }
    if (collapsed != labels) return;
    total += probability;
    for (size_t t = 0; t < path.size(); ++t) {
      occupancy[t * static_cast<size_t>(sequences.classes) + path[t]] +=
          probability;
    }
  }

  const Sequences& sequences;
  const Values& log_probs;
  const Values& labels;
  std::vector<size_t> path;
  long double total = 0;
  std::vector<long double> occupancy;
};

TEST(CtcIdentityTest, TheLossIsTheSumOverAllAlignments) {
  ForAll([](Random* random) {
    for (int trial = 0; trial < 12; ++trial) {
      const int64_t classes = random->Integer(2, 4);
      const int64_t labels = random->Integer(0, 3);
      const int64_t steps = random->Integer(std::max<int64_t>(1, labels), 5);
      Sequences one = One(classes, random->Uniform(steps * classes, -4, 0), {});
      one.blank = static_cast<double>(random->Integer(0, classes - 1));
      for (int64_t i = 0; i < labels; ++i) {
        const auto other =
            static_cast<int64_t>(one.blank) + random->Integer(1, classes - 1);
        one.labels[0].push_back(static_cast<double>(other % classes));
      }
      const AllAlignments expected(one, 0);
      TestEvaluation evaluation = Make(*random, one, Layout::kPadded);
      const Result result = Answer(evaluation);
      if (std::isinf(expected.Loss())) {
        EXPECT_EQ(LossOf(result), Values{expected.Loss()});
        continue;
      }
      ExpectClose(*random, LossOf(result), {expected.Loss()}, 2,
                  Magnitude(one, 0));
      ExpectClose(*random, GradientOf(result, "log_probs"), expected.Gradient(),
                  2, Magnitude(one, 0));
    }
  });
}

TEST(CtcIdentityTest, OneStepAndOneLabelIsNll) {
  ForAll([](Random* random) {
    constexpr int64_t kCount = 7;
    Sequences all;
    Values log_probs, labels;
    for (int64_t n = 0; n < kCount; ++n) {
      all.log_probs.push_back(random->Uniform(5, -9, 0));
      all.labels.push_back(random->Integers(1, 1, 4));
      log_probs.insert(log_probs.end(), all.log_probs.back().begin(),
                       all.log_probs.back().end());
      labels.push_back(all.labels.back()[0]);
    }
    TestEvaluation nll("nll_loss");
    nll.Set("input", random->Tensor({kCount, 5}, log_probs));
    nll.Set("target", Indices({kCount}, labels)).Gradient();
    for (const Reduction reduction :
         {Reduction::kNone, Reduction::kMean, Reduction::kSum}) {
      TestEvaluation ctc = Make(*random, all, Layout::kConcatenated);
      const Result a = Answer(ctc.Reduce(reduction));
      const Result b = Answer(nll.Reduce(reduction));
      EXPECT_EQ(LossOf(a), LossOf(b));
      EXPECT_EQ(GradientOf(a, "log_probs"), GradientOf(b, "input"));
    }
  });
}

TEST(CtcIdentityTest, WithoutLabelsEveryStepIsABlank) {
  ForAll([](Random* random) {
    constexpr int64_t kSteps = 9;
    Sequences one = One(5, random->Uniform(kSteps * 5, -4, 0), {});
    one.blank = static_cast<double>(random->Integer(0, 4));
    const Result result = Answer(Make(*random, one, Layout::kPadded));
    Values blanks;
    for (int64_t t = 0; t < kSteps; ++t) {
      for (int64_t c = 0; c < 5; ++c) {
        blanks.push_back(static_cast<double>(c) == one.blank);
      }
    }
    const double expected = -Sum(blanks * one.log_probs[0]);
    ExpectClose(*random, LossOf(result), {expected}, 2);
    ExpectClose(*random, GradientOf(result, "log_probs"), -blanks, 2, expected);
  });
}

TEST(CtcIdentityTest, ConcatenatedLabelsAreThePaddedOnesToTheBit) {
  ForAll([](Random* random) {
    const Sequences all = MakeSequences(random, 8);
    for (const Reduction reduction :
         {Reduction::kNone, Reduction::kMean, Reduction::kSum}) {
      EXPECT_EQ(
          Digest(Answer(Make(*random, all, Layout::kPadded).Reduce(reduction))),
          Digest(Answer(
              Make(*random, all, Layout::kConcatenated).Reduce(reduction))));
    }
  });
}

TEST(CtcIdentityTest, WhatLiesBeyondTheLengthsDoesNotMatter) {
  ForAll([](Random* random) {
    const Sequences all = MakeSequences(random, 8);
    const Result expected = Answer(Make(*random, all, Layout::kPadded));
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double infinity = std::numeric_limits<double>::infinity();
    const Padding paddings[] = {{3, 2, -2, 2},
                                {0, 1, nan, 1000},
                                {1, 5, infinity, all.blank},
                                {17, 0, -infinity, -100}};
    for (const Padding& padding : paddings) {
      for (const double convention : {kLogits, kLogProbs}) {
        TestEvaluation exact = Make(*random, all, Layout::kPadded);
        TestEvaluation padded = Make(*random, all, Layout::kPadded, padding);
        const Result a = Answer(exact.Set("gradient_convention", convention));
        const Result b = Answer(padded.Set("gradient_convention", convention));
        EXPECT_EQ(LossOf(a), LossOf(b));
        EXPECT_FALSE(b.non_finite.input_nan || b.non_finite.input_infinity);
        Values longer = GradientOf(a, "log_probs");
        const Values gradient = GradientOf(b, "log_probs");
        longer.resize(gradient.size(), 0.0);
        EXPECT_EQ(gradient, longer);
      }
    }
  });
}

TEST(CtcIdentityTest, EachSequenceIsWhatItIsAlone) {
  ForAll([](Random* random) {
    const Sequences all = MakeSequences(random, 8);
    const Result together = Answer(Make(*random, all, Layout::kPadded));
    const Values gradient = GradientOf(together, "log_probs");
    for (size_t n = 0; n < all.size(); ++n) {
      Sequences one = One(5, all.log_probs[n], all.labels[n]);
      one.blank = all.blank;
      const Result alone = Answer(Make(*random, one, Layout::kPadded));
      EXPECT_EQ(LossOf(alone)[0], LossOf(together)[n]);
      Values own = GradientOf(alone, "log_probs");
      const Values expected = OfSequence(gradient, all, n);
      own.resize(expected.size(), 0.0);
      EXPECT_EQ(own, expected);
    }
  });
}

TEST(CtcIdentityTest, TheConventionsDifferByTheProbabilities) {
  ForAll([](Random* random) {
    const Sequences all = MakeSequences(random, 8);
    const Values upstream = random->Uniform(8, 0.5, 2);
    TestEvaluation evaluation = Make(*random, all, Layout::kPadded);
    evaluation.GradOutput(random->Tensor({8}, upstream));
    const Values of_log_probs = GradientOf(Answer(evaluation), "log_probs");
    const Values of_logits = GradientOf(
        Answer(evaluation.Set("gradient_convention", kLogits)), "log_probs");
    for (size_t n = 0; n < all.size(); ++n) {
      Values p = Map(all.log_probs[n],
                     [&](double v) { return upstream[n] * std::exp(v); });
      const Values own = OfSequence(of_log_probs, all, n);
      p.resize(own.size(), 0.0);  // beyond its steps both are 0
      ExpectClose(*random, OfSequence(of_logits, all, n), own + p, 4,
                  Magnitudes(own) + p);
    }
  });
}

TEST(CtcIdentityTest, EveryStepIsOccupiedOnce) {
  // So the gradient of logits, whose probabilities add up to 1, adds up to 0.
  ForAll([](Random* random) {
    const Sequences all = MakeSequences(random, 8);
    TestEvaluation evaluation = Make(*random, all, Layout::kPadded);
    const Values of_log_probs = GradientOf(Answer(evaluation), "log_probs");
    const Values of_logits = GradientOf(
        Answer(evaluation.Set("gradient_convention", kLogits)), "log_probs");
    for (size_t n = 0; n < all.size(); ++n) {
      const Values sums = RowSums(OfSequence(of_log_probs, all, n), 5);
      Values expected(static_cast<size_t>(all.Steps(n)), -1.0);
      expected.resize(sums.size(), 0.0);
      ExpectClose(*random, sums, expected, 2, Magnitude(all, n));
      ExpectClose(*random, RowSums(OfSequence(of_logits, all, n), 5),
                  Values(sums.size(), 0.0), 2, Magnitude(all, n));
    }
  });
}

TEST(CtcIdentityTest, AShiftOfAStepMovesTheLossAlone) {
  ForAll([](Random* random) {
    const Sequences all = MakeSequences(random, 1);
    const Values shift = random->Uniform(all.Steps(0), -3, 3);
    Sequences moved = all;
    moved.log_probs[0] = random->Narrow(all.log_probs[0] + Repeated(shift, 5));
    const Result a = Answer(Make(*random, all, Layout::kPadded));
    const Result b = Answer(Make(*random, moved, Layout::kPadded));
    const double scale = Magnitude(all, 0) + SumOfMagnitudes(shift);
    ExpectClose(*random, LossOf(b), {LossOf(a)[0] - Sum(shift)}, 2, scale);
    ExpectClose(*random, GradientOf(b, "log_probs"), GradientOf(a, "log_probs"),
                2, scale);
  });
}

TEST(CtcIdentityTest, BackwardsIsTheSame) {
  ForAll([](Random* random) {
    const Sequences all = MakeSequences(random, 1);
    const auto reversed = [](const Values& rows) {
      Values back;
      for (size_t i = rows.size(); i > 0; i -= 5) {
        back.insert(back.end(), rows.begin() + static_cast<int64_t>(i) - 5,
                    rows.begin() + static_cast<int64_t>(i));
      }
      return back;
    };
    Sequences backwards = all;
    backwards.log_probs[0] = reversed(all.log_probs[0]);
    backwards.labels[0].assign(all.labels[0].rbegin(), all.labels[0].rend());
    const Result a = Answer(Make(*random, all, Layout::kPadded));
    const Result b = Answer(Make(*random, backwards, Layout::kPadded));
    const double scale = Magnitude(all, 0);
    ExpectClose(*random, LossOf(a), LossOf(b), 2, scale);
    ExpectClose(*random, GradientOf(a, "log_probs"),
                reversed(GradientOf(b, "log_probs")), 2, scale);
  });
}

TEST(CtcIdentityTest, ASequenceThatDoesNotFitCostsNothingIfSoAsked) {
  ForAll([](Random* random) {
    Sequences all = MakeSequences(random, 4);
    const Result fitting = Answer(Make(*random, all, Layout::kPadded));
    all.log_probs.push_back(random->Uniform(2 * 5, -4, 0));
    all.labels.push_back(Values(2, all.blank == 1 ? 2.0 : 1.0));
    TestEvaluation evaluation = Make(*random, all, Layout::kPadded);
    EXPECT_TRUE(std::isinf(LossOf(Answer(evaluation)).back()));
    const Result result = Answer(evaluation.Set("zero_infinity", 1.0));
    Values losses = LossOf(fitting);
    losses.push_back(0);
    EXPECT_EQ(LossOf(result), losses);
    const Values gradient = GradientOf(result, "log_probs");
    EXPECT_EQ(Greatest(OfSequence(gradient, all, 4)), 0);
    const Values before = GradientOf(fitting, "log_probs");
    Sequences four = all;
    four.log_probs.pop_back();
    for (size_t n = 0; n < four.size(); ++n) {
      Values own = OfSequence(before, four, n);
      own.resize(gradient.size() / all.size(), 0.0);
      EXPECT_EQ(OfSequence(gradient, all, n), own);
    }
  });
}

}  // namespace
}  // namespace lossd
