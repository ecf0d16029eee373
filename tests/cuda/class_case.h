// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_CUDA_CLASS_CASE_H_
#define LOSSD_TESTS_CUDA_CLASS_CASE_H_

#include <cstdint>
#include <string>

#include "server/engine/evaluation.h"

namespace lossd {

// Cross-entropy of classes, with its gradient, over random rows. Not movable:
// the evaluation points into it.
class ClassCase {
 public:
  struct Shape {
    // Or nll_loss, which has the same tensors.
    const char* loss = "cross_entropy";
    Dtype dtype = Dtype::kFloat32;
    int64_t rows = 1;
    int64_t classes = 1;
    float spread = 4;  // of the logits
    bool weighted = false;
    float weight_of_3 = 1;  // of class 3
    bool gradient = true;
    // NaN, infinities and ties in some rows; an ignored row.
    bool special = false;
    double scale = 1;  // of the gradient, as grad_output
  };
  explicit ClassCase(const Shape& shape);
  ClassCase(const ClassCase&) = delete;
  ClassCase& operator=(const ClassCase&) = delete;

  const Evaluation& evaluation() const { return evaluation_; }

 private:
  std::string input_, target_, weight_, grad_output_;
  Evaluation evaluation_;
};

}  // namespace lossd

#endif  // LOSSD_TESTS_CUDA_CLASS_CASE_H_
