// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_LOSSES_ARGUMENTS_H_
#define LOSSD_SERVER_LOSSES_ARGUMENTS_H_

#include <array>
#include <cstdint>
#include <optional>

#include "absl/container/inlined_vector.h"
#include "server/base/ordered_sum.h"
#include "server/base/tensor_view.h"
#include "server/losses/schema.h"

namespace lossd {

// The sum of the weights that divide a mean, over tensors that arrive in parts.
class WeightSum {
 public:
  // To go on from the parts before.
  OrderedSum& Continue() {
    used_ = true;
    return sum_;
  }
  // Whether there are such weights.
  bool used() const { return used_; }
  double Total() const { return OrderedSum(sum_).Total(); }

 private:
  OrderedSum sum_;
  bool used_ = false;
};

// The tensors and parameters of one evaluation, by the slots of the loss's
// schema. Owns no tensor data.
struct Arguments {
  std::array<TensorView, kMaxTensors> tensors;
  // As sent; integers are exact up to 2^53. nullopt: not sent.
  absl::InlinedVector<std::optional<double>, 9> parameters;

  // If set, the sum of weights in Geometry::mean_denominator goes on from here.
  WeightSum* weight_sum = nullptr;

  const TensorView& tensor(int slot) const { return tensors[slot]; }
  bool has(int slot) const { return tensors[slot].present(); }

  // The value in force, or nullopt where it is off.
  std::optional<double> parameter(const LossSchema& schema, int slot) const {
    const std::optional<double>& sent = parameters[slot];
    return sent.has_value() ? sent : schema.parameters[slot].default_value;
  }
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LOSSES_ARGUMENTS_H_
