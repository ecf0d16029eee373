// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_CUDA_ANSWER_BYTES_H_
#define LOSSD_TESTS_CUDA_ANSWER_BYTES_H_

#include <string>

#include "server/engine/evaluation.h"

namespace lossd {

// The bytes of the tensors and sums of an answer.
inline std::string AnswerBytes(const Result& result) {
  std::string bytes;
  const auto add = [&](const OwnedTensor& tensor) {
    if (tensor.data.size() == 0) return;
    bytes.append(reinterpret_cast<const char*>(tensor.data.data()),
                 static_cast<size_t>(tensor.data.size()));
  };
  add(result.loss_tensor);
  add(result.elementwise_losses);
  add(result.probabilities);
  add(result.log_probabilities);
  add(result.predicted_classes);
  for (const GradientValue& gradient : result.gradients) add(gradient.value);
  for (const MetricValue& metric : result.metrics) {
    bytes.append(reinterpret_cast<const char*>(&metric.numerator),
                 sizeof(double));
  }
  return bytes;
}

}  // namespace lossd

#endif  // LOSSD_TESTS_CUDA_ANSWER_BYTES_H_
