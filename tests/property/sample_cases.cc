// SPDX-License-Identifier: Apache-2.0

#include "tests/property/sample_cases.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

namespace lossd {
namespace {

constexpr uint64_t kSeeds = 8;

const SampleCase::Piece* Find(const SampleCase& each,
                              absl::string_view tensor) {
  for (const SampleCase::Piece& piece : each.pieces) {
    if (piece.tensor == tensor) return &piece;
  }
  return nullptr;
}

bool IsMeanOfSequenceMeans(const SampleCase& each) {
  for (const auto& [name, value] : each.parameters) {
    if (name == "aggregation" && value == 3) return true;
  }
  return false;
}

// What each sample's losses are divided by before the mean adds them up.
Values CountsOf(const SampleCase& each) {
  Values counts(static_cast<size_t>(each.samples), 1.0);
  if (each.loss == "ctc_loss") counts = Find(each, "target_lengths")->values;
  if (IsMeanOfSequenceMeans(each)) {
    const SampleCase::Piece* mask = Find(each, "mask");
    counts = RowSums(mask->values, mask->shape[1]);
  }
  return Map(counts, [](double count) { return std::max(count, 1.0); });
}

}  // namespace

void ForEachCase(
    const std::function<void(Random*, const SampleCase&)>& property) {
  const auto cases = [&](Random* random) {
    const auto seed = static_cast<uint64_t>(random->Integer(0, 1 << 30));
    for (const SampleCase& each : SampleCases(random->dtype(), seed)) {
      SCOPED_TRACE(each.name);
      property(random, each);
    }
  };
  ForAll(cases, kSeeds);
}

TestEvaluation Losses(const SampleCase& each, Reduction reduction) {
  return each.All().Reduce(reduction).Ask(
      {Output::kLoss, Output::kElementwiseLosses});
}

TestEvaluation Everything(const SampleCase& each, Reduction reduction) {
  TestEvaluation evaluation = Losses(each, reduction);
  evaluation.Gradient(DifferentiableOf(evaluation));
  return evaluation.Ask({Output::kGradients});
}

Values Taken(const Values& values, const Shape& shape, size_t axis,
             const std::vector<int64_t>& places) {
  size_t inner = 1;
  for (size_t d = axis + 1; d < shape.size(); ++d) {
    inner *= static_cast<size_t>(shape[d]);
  }
  const size_t block = inner * static_cast<size_t>(shape[axis]);
  Values taken;
  for (size_t outer = 0; outer < values.size(); outer += block) {
    for (const int64_t place : places) {
      const auto from = values.begin() + static_cast<int64_t>(outer) +
                        place * static_cast<int64_t>(inner);
      taken.insert(taken.end(), from, from + static_cast<int64_t>(inner));
    }
  }
  return taken;
}

SampleCase Taken(const SampleCase& each, const std::vector<int64_t>& samples) {
  SampleCase taken = each;
  taken.samples = static_cast<int64_t>(samples.size());
  for (SampleCase::Piece& piece : taken.pieces) {
    if (!piece.sliced) continue;
    piece.values = Taken(piece.values, piece.shape, piece.axis, samples);
    piece.shape[piece.axis] = taken.samples;
  }
  return taken;
}

std::vector<int64_t> AllBut(const SampleCase& each, int64_t sample) {
  std::vector<int64_t> others;
  for (int64_t i = 0; i < each.samples; ++i) {
    if (i != sample) others.push_back(i);
  }
  return others;
}

std::vector<size_t> ElementsOfSample(const SampleCase::Piece& piece,
                                     int64_t sample) {
  Values indices(piece.values.size());
  for (size_t i = 0; i < indices.size(); ++i) {
    indices[i] = static_cast<double>(i);
  }
  const Values own = Taken(indices, piece.shape, piece.axis, {sample});
  return std::vector<size_t>(own.begin(), own.end());
}

SampleCase::Piece* FindPiece(SampleCase* each, absl::string_view tensor) {
  return const_cast<SampleCase::Piece*>(Find(*each, tensor));
}

bool IsSliced(const SampleCase& each, absl::string_view tensor) {
  const SampleCase::Piece* piece = Find(each, tensor);
  return piece != nullptr && piece->sliced;
}

Values SharesOf(const SampleCase& each, const Shape& shape, size_t axis) {
  const Values counts = CountsOf(each);
  Shape view(shape.size(), 1);
  if (static_cast<size_t>(shape[axis]) != counts.size()) {
    EXPECT_TRUE(HasPlainSum(each));
    return Values(static_cast<size_t>(ElementCount(shape).value()), 1.0);
  }
  view[axis] = shape[axis];
  return Map(Expanded(counts, view, shape), [](double n) { return 1 / n; });
}

bool HasPlainSum(const SampleCase& each) {
  return each.loss != "ctc_loss" && !IsMeanOfSequenceMeans(each);
}

bool DividesByWeight(const SampleCase& each) {
  return (each.loss == "l1_loss" || each.loss == "mse_loss") &&
         Find(each, "weight") != nullptr;
}

void ExpectSameNumerators(const Random& random, const Result& a,
                          const Result& b) {
  // At most 95 losses are added.
  const double ulps = 16 * DBL_EPSILON;
  const double magnitudes = SumOfMagnitudes(ValuesOf(a.elementwise_losses));
  ExpectWithin({*b.mean_numerator}, {*a.mean_numerator}, ulps * magnitudes);
  // The loss may round to the other neighbour.
  ExpectWithin({*b.loss}, {*a.loss},
               random.epsilon() * std::abs(*a.loss) +
                   ulps * magnitudes * std::abs(*a.loss / *a.mean_numerator));
  ASSERT_EQ(a.metrics.size(), b.metrics.size());
  for (size_t k = 0; k < a.metrics.size(); ++k) {
    EXPECT_EQ(a.metrics[k].name, b.metrics[k].name);
    EXPECT_EQ(a.metrics[k].denominator, b.metrics[k].denominator);
    ExpectWithin({b.metrics[k].numerator}, {a.metrics[k].numerator},
                 ulps * std::max(1.0, std::abs(a.metrics[k].numerator)));
  }
}

void ExpectSameSums(const Random& random, const Result& a, const Result& b) {
  ExpectSameNumerators(random, a, b);
  ExpectWithin({b.mean_denominator}, {a.mean_denominator},
               16 * DBL_EPSILON * a.mean_denominator);
  EXPECT_EQ(a.element_count - a.ignored_count,
            b.element_count - b.ignored_count);
}

}  // namespace lossd
