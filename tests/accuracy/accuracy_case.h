// SPDX-License-Identifier: Apache-2.0
//
// The accuracy vectors of vectors/, as evaluations with exact answers.

#ifndef LOSSD_TESTS_ACCURACY_ACCURACY_CASE_H_
#define LOSSD_TESTS_ACCURACY_ACCURACY_CASE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/engine/evaluation.h"

namespace lossd {

// PyTorch's answer: its largest error, and how many of the exact values that
// are normal numbers came out as 0.
struct PyTorchFigures {
  double error = 0;  // in last places; infinite for infinity and NaN
  int64_t zeros = 0;
  int64_t normal = 0;

  void Merge(const PyTorchFigures& other);
};

// The exact values of a tensor.
struct ExactTensor {
  std::string wrt;              // empty for the loss
  std::vector<int64_t> places;  // where in the tensor; empty: everywhere
  std::vector<double> high;     // the value is high + low
  std::vector<double> low;      // empty: 0
  std::vector<double> scale;    // of the terms; empty: |high|
  std::optional<PyTorchFigures> pytorch;

  double LowAt(size_t i) const { return low.empty() ? 0.0 : low[i]; }
  double ScaleAt(size_t i) const;
};

struct AccuracyCase {
  std::string name;
  Dtype dtype = Dtype::kUnspecified;
  Evaluation evaluation;                            // with gradients
  std::vector<std::unique_ptr<std::string>> bytes;  // what the views point to
  std::vector<ExactTensor> exact;  // the loss, then the gradients
};

struct AccuracyFile {
  std::string loss;
  std::string ranges;  // what the inputs are, in words
  std::vector<AccuracyCase> cases;
};

// The losses that have a file, sorted.
std::vector<std::string> AccuracyLosses();

// The vectors of one of them. Failures of the test tell what cannot be read.
AccuracyFile LoadAccuracyFile(const std::string& loss);

}  // namespace lossd

#endif  // LOSSD_TESTS_ACCURACY_ACCURACY_CASE_H_
