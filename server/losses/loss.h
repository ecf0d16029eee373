// SPDX-License-Identifier: Apache-2.0
//
// A loss as the rest of the server sees it: schema, checks, geometry, cost. Its
// mathematics is in its -inl.h file, which the kernels compile.
//
// A new loss is a file pair x.cc and x-inl.h here, a row in CMakeLists.txt of
// this folder, a message in lossd.v1 and golden vectors.

#ifndef LOSSD_SERVER_LOSSES_LOSS_H_
#define LOSSD_SERVER_LOSSES_LOSS_H_

#include <array>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/base/tensor_view.h"
#include "server/losses/arguments.h"
#include "server/losses/schema.h"
#include "server/losses/violations.h"

namespace lossd {

// The order and the arithmetic of every reduction and kernel. Whatever changes
// a bit of any result raises it.
inline constexpr int kNumericsVersion = 1;

// What a loss means for tensors of given shapes and targets, before any
// floating value has been looked at.
struct Geometry {
  Shape loss_shape;             // of the elementwise losses
  Shape class_shape;            // of predicted_classes
  int64_t element_count = 0;    // of the elementwise losses
  int64_t ignored_count = 0;    // of those, ignored or masked
  double mean_denominator = 0;  // of the loss's default mean
  double batch_size = 0;        // what batchmean divides by
  // False if a tensor without data (Evaluation::validate_only) would have to be
  // read to know the ignored count and the denominator.
  bool counted = true;
  // Whether mean_denominator is known in spite of that.
  bool denominator_known = true;
  // The mean is divided by the sum of the weight, so that the gradient with
  // respect to the weight needs the mean.
  bool divides_by_weight = false;

  // An elementwise loss looks at one element of each tensor at a time. A row
  // loss looks at `rows` rows of `row_length` elements, of which `inner`
  // neighbours interleave (the product of the dimensions after the row's). In
  // a loss over sequences a row is a sequence of at most `steps` rows, with at
  // most `labels` labels.
  bool row_loss = false;
  bool over_sequences = false;
  int64_t rows = 0;
  int64_t row_length = 0;
  int64_t inner = 1;
  int64_t steps = 1;
  int64_t labels = 0;
  bool loss_per_element = false;  // else one loss a row
  // Of a row only the class's element is read, unless activations are wanted.
  bool label_only = false;

  // By slot: the shape under which a tensor broadcasts to loss_shape (to slot
  // 0's shape in a row loss), where that is not its own.
  std::array<std::optional<Shape>, kMaxTensors> views;

  // What the evaluation costs, where that is not operations_per_element for
  // each element of slot 0; and what each thread of the kernel needs.
  double operations = 0;
  int64_t scratch_bytes = 0;

  // Float and half tensors are computed in lanes of float, else of double.
  bool float_lanes = false;
  // The loss of a row is the weighted negative log-likelihood of one class
  // under softmax of the row; the classes are slot 1, the weights slot 2, and
  // the first parameter is the class index of rows to ignore.
  bool class_likelihood = false;

  // What the metrics are divided by, and how many, from the last, are absent.
  double metric_denominator = 0;
  int absent_metrics = 0;

  // Parameter values in force, by slot, and whatever else the loss derives from
  // them for its mathematics. An enum is its number; what is off is NaN.
  std::array<double, kMaxParameters> parameters = {};
};

// What an evaluation costs, from shapes alone.
struct Cost {
  double operations = 0;      // scalar operations, roughly
  int64_t scratch_bytes = 0;  // beyond arguments and answer
};

struct LossDefinition {
  const LossSchema& schema;
  // Adds what is wrong with the shapes, and with the parameters beyond their
  // schema's ranges. Dtypes, lengths and ranges have been checked before, and
  // found good. Reads no tensor data.
  void (*check_shapes)(const Arguments&, Violations*);
  // The geometry; shapes have been checked and found good. Checks whatever is
  // used as an index, which it reads, and adds what is wrong with it.
  Geometry (*plan)(const Arguments&, Violations*);
  // Operations a call costs for each element of the leading tensor, roughly.
  double operations_per_element;
};

// Every loss, sorted by name.
absl::Span<const LossDefinition* const> AllLosses();

// The loss of that name, or null.
const LossDefinition* FindLoss(absl::string_view name);

}  // namespace lossd

#endif  // LOSSD_SERVER_LOSSES_LOSS_H_
