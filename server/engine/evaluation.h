// SPDX-License-Identifier: Apache-2.0
//
// What is asked of the engine, and what it answers.

#ifndef LOSSD_SERVER_ENGINE_EVALUATION_H_
#define LOSSD_SERVER_ENGINE_EVALUATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/base/tensor_view.h"
#include "server/engine/owned_tensor.h"
#include "server/losses/arguments.h"
#include "server/losses/loss.h"

namespace lossd {

// The numbers are those of lossd.v1.Device.
enum class DeviceClass : uint8_t {
  kUnspecified = 0,
  kCpu = 1,
  kCuda = 2,
  kAny = 3,
};

// The numbers are those of lossd.v1.Output.
enum class Output : uint8_t {
  kLoss = 1,
  kElementwiseLosses = 2,
  kGradients = 3,
  kProbabilities = 4,
  kLogProbabilities = 5,
  kPredictedClasses = 6,
};

// A set of outputs.
class OutputSet {
 public:
  void Add(Output output) { bits_ |= Bit(output); }
  bool Has(Output output) const { return (bits_ & Bit(output)) != 0; }
  bool empty() const { return bits_ == 0; }

 private:
  static uint32_t Bit(Output output) { return 1u << static_cast<int>(output); }
  uint32_t bits_ = 0;
};

// One evaluation as a caller states it. It owns no tensor data: the bytes must
// stay where they are until the answer has been made.
struct Evaluation {
  const LossDefinition* loss = nullptr;
  Arguments arguments;
  Reduction reduction = Reduction::kDefault;
  std::optional<double> normalizer;
  DeviceClass device = DeviceClass::kUnspecified;
  OutputSet outputs;  // empty: the loss, and the gradients if `gradient`
  // Nothing is computed; tensors may be without data.
  bool validate_only = false;

  bool gradient = false;         // ComputeGradient, else ComputeLoss
  std::vector<std::string> wrt;  // empty: the schema's default
  Dtype gradient_dtype = Dtype::kUnspecified;
  TensorView grad_output;  // absent: ones
  // Whoever asks has memory for the gradients, see Task: they are no part of
  // the answer.
  bool gradients_elsewhere = false;
};

struct MetricValue {
  absl::string_view name;
  double numerator = 0;
  double denominator = 0;
};

struct GradientValue {
  absl::string_view wrt;
  OwnedTensor value;
};

struct NonFinite {
  bool input_nan = false;
  bool input_infinity = false;
  bool result_nan = false;
  bool result_infinity = false;

  void Merge(const NonFinite& other) {
    input_nan |= other.input_nan;
    input_infinity |= other.input_infinity;
    result_nan |= other.result_nan;
    result_infinity |= other.result_infinity;
  }
};

// The meaning of each field is that of lossd.v1.Result. What was not asked for
// is absent.
struct Result {
  std::optional<double> loss;
  std::optional<double> mean_numerator;
  double mean_denominator = 0;
  int64_t element_count = 0;
  int64_t ignored_count = 0;
  bool counted = true;  // mean_denominator and ignored_count are known
  std::optional<int64_t> gradient_underflow_count;
  NonFinite non_finite;
  std::vector<MetricValue> metrics;
  OwnedTensor loss_tensor;
  OwnedTensor predicted_classes;
  OwnedTensor elementwise_losses;
  OwnedTensor probabilities;
  OwnedTensor log_probabilities;
  std::vector<GradientValue> gradients;  // in the order of wrt
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_EVALUATION_H_
