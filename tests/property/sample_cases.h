// SPDX-License-Identifier: Apache-2.0
//
// What the properties of every loss do to a SampleCase.

#ifndef LOSSD_TESTS_PROPERTY_SAMPLE_CASES_H_
#define LOSSD_TESTS_PROPERTY_SAMPLE_CASES_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/property/property_support.h"

namespace lossd {

// Checks a property as ForAll does, and for every case. A failure names it.
void ForEachCase(
    const std::function<void(Random*, const SampleCase&)>& property);

// The loss and the elementwise losses; and with the gradients with respect to
// whatever is differentiable.
TestEvaluation Losses(const SampleCase& each, Reduction reduction);
TestEvaluation Everything(const SampleCase& each, Reduction reduction);

// The elements of a tensor at the given places along an axis, in their order;
// and so the samples of a case.
Values Taken(const Values& values, const Shape& shape, size_t axis,
             const std::vector<int64_t>& places);
SampleCase Taken(const SampleCase& each, const std::vector<int64_t>& samples);

// All samples but one.
std::vector<int64_t> AllBut(const SampleCase& each, int64_t sample);

// The linear indices of a sample's elements.
std::vector<size_t> ElementsOfSample(const SampleCase::Piece& piece,
                                     int64_t sample);

// The piece of that name, or null. Whether its samples can be taken apart.
SampleCase::Piece* FindPiece(SampleCase* each, absl::string_view tensor);
bool IsSliced(const SampleCase& each, absl::string_view tensor);

// What a loss is multiplied with before the mean adds it up, for each element
// of a tensor whose samples are along `axis`: 1 but for the mean of CTC over
// labels and that of a policy over sequences.
Values SharesOf(const SampleCase& each, const Shape& shape, size_t axis = 0);
// Whether the mean's numerator is the sum.
bool HasPlainSum(const SampleCase& each);
// Whether the mean is divided by the sum of an elementwise weight.
bool DividesByWeight(const SampleCase& each);

// That the sums of two results, whose losses differ in order at most, are the
// same within rounding: loss, numerator and metrics; and the denominator too.
void ExpectSameNumerators(const Random& random, const Result& a,
                          const Result& b);
void ExpectSameSums(const Random& random, const Result& a, const Result& b);

}  // namespace lossd

#endif  // LOSSD_TESTS_PROPERTY_SAMPLE_CASES_H_
