// SPDX-License-Identifier: Apache-2.0
//
// What a loss tells about itself. Validation, ListLosses, the command line, the
// documentation and the conformance tests read it; nothing else lists tensors,
// parameters or limits of a loss.

#ifndef LOSSD_SERVER_LOSSES_SCHEMA_H_
#define LOSSD_SERVER_LOSSES_SCHEMA_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"

namespace lossd {

// The most tensors that a loss can have.
inline constexpr int kMaxTensors = 6;
// The most sums that a kernel writes for each unit.
inline constexpr int kMaxSums = 10;

// The parameters of a loss for its mathematics, and the last of them, which is
// the mean itself where Geometry::divides_by_weight asks for it.
inline constexpr int kMaxParameters = 12;
inline constexpr int kMeanParameter = kMaxParameters - 1;

// The numbers are those of lossd.v1.Reduction.
enum class Reduction : uint8_t {
  kDefault = 0,
  kNone = 1,
  kMean = 2,
  kSum = 3,
  kBatchMean = 4,
};

// The numbers are those of lossd.v1.TensorDescriptor.Role.
enum class TensorRole : uint8_t {
  kInput = 1,
  kTarget = 2,
  kWeight = 3,
  kMask = 4,
  kAuxiliary = 5,
};

// Which dtypes a tensor can have. The leading tensor is the loss's slot 0.
enum class DtypeRule : uint8_t {
  kLeading,                // slot 0: any floating dtype
  kSameAsLeading,          // that of slot 0
  kClassIndex,             // int64, int32 or uint8
  kClassIndexOrAsLeading,  // class indices, or class probabilities
  kAny,                    // any
};

struct TensorSchema {
  absl::string_view name;  // as in torch.nn.functional and in the proto
  TensorRole role;
  DtypeRule dtypes;
  bool required;
  bool differentiable = false;
  bool default_wrt = false;  // differentiated where the caller names none
  absl::string_view shape_rule;
  absl::string_view description;
  // The domain of the values, inclusive; NaN is outside any domain. Kernels
  // find violations in their one pass.
  std::optional<double> minimum = std::nullopt;
  std::optional<double> maximum = std::nullopt;
  absl::string_view domain_hint = "";  // what to do about a violation
};

// The numbers are those of lossd.v1.ParameterDescriptor.Type.
enum class ParameterType : uint8_t {
  kDouble = 1,
  kInt64 = 2,
  kBool = 3,
  kEnum = 4
};

struct ParameterSchema {
  absl::string_view name;
  ParameterType type;
  // In force when unset; for an enum its number. nullopt: unset means off.
  std::optional<double> default_value;
  absl::string_view range;  // in words, such as "[0, 1]"
  absl::string_view description;
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool minimum_open = false;  // the minimum itself is outside
  bool infinity_allowed = false;
  // An enum's values by number from 1, without their prefix.
  std::vector<absl::string_view> choices = {};
};

struct MetricSchema {
  absl::string_view name;
  absl::string_view description;
};

struct LossSchema {
  absl::string_view name;         // the functional, and the field of Evaluation
  absl::string_view summary;      // one sentence
  absl::string_view formula;      // one elementwise loss, one line
  absl::string_view denominator;  // of the mean, one line
  absl::string_view source;       // where the meaning comes from
  absl::string_view cost_rule;    // operations and bytes by shape
  std::vector<absl::string_view> differences;  // from PyTorch, a sentence each
  std::vector<TensorSchema> tensors;           // by slot; slot 0 leads
  std::vector<ParameterSchema> parameters;     // by slot, in field order
  std::vector<MetricSchema> metrics = {};
  bool has_probabilities = false;  // and log-probabilities, predicted classes
  bool has_batch_mean = false;     // the reduction batchmean
  bool batch_first = true;         // dimension 0 of a batch is its samples'
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LOSSES_SCHEMA_H_
