// SPDX-License-Identifier: Apache-2.0
//
// docs/accuracy.md, from what was measured.

#ifndef LOSSD_TESTS_ACCURACY_ACCURACY_PAGE_H_
#define LOSSD_TESTS_ACCURACY_ACCURACY_PAGE_H_

#include <optional>
#include <string>
#include <vector>

#include "tests/accuracy/accuracy_case.h"

namespace lossd {

// What a loss and dtype promise, and what was found, in last places.
struct AccuracyRow {
  std::string loss;
  Dtype dtype = Dtype::kUnspecified;
  int digits = 0;  // of the dtype, in binary
  double bound = 0;
  double loss_error = 0;
  double gradient_error = 0;
  std::optional<PyTorchFigures> pytorch_loss;
  std::optional<PyTorchFigures> pytorch_gradient;
};

struct AccuracyRange {
  std::string loss;
  std::string ranges;
};

// The whole page.
std::string AccuracyPage(const std::vector<AccuracyRow>& rows,
                         const std::vector<AccuracyRange>& ranges);

}  // namespace lossd

#endif  // LOSSD_TESTS_ACCURACY_ACCURACY_PAGE_H_
