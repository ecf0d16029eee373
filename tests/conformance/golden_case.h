// SPDX-License-Identifier: Apache-2.0
//
// The golden vectors of tests/golden, as evaluations.

#ifndef LOSSD_TESTS_CONFORMANCE_GOLDEN_CASE_H_
#define LOSSD_TESTS_CONFORMANCE_GOLDEN_CASE_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/evaluation.h"

namespace lossd {

// A tensor with its bytes.
struct GoldenTensor {
  std::string bytes;
  TensorView view;  // into bytes
};

struct GoldenCase {
  std::string name;
  std::string differs;    // why PyTorch's answer is not expected, or empty
  Evaluation evaluation;  // a gradient with every output of `expected`
  std::vector<std::unique_ptr<GoldenTensor>> memory;  // what the views point to

  std::string error;  // PyTorch's, where one is expected
  TensorView loss;
  TensorView elementwise;
  std::map<std::string, TensorView> gradients;
  std::map<std::string, std::pair<double, double>> metrics;
};

// Every case of one loss, from tests/golden/<loss>.jsonl.
std::vector<GoldenCase> LoadGoldenCases(const std::string& loss);

}  // namespace lossd

#endif  // LOSSD_TESTS_CONFORMANCE_GOLDEN_CASE_H_
