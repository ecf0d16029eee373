// SPDX-License-Identifier: Apache-2.0
//
// The schemas, checks and geometry that losses share. Each adds what is wrong
// to `violations`, in the words that a caller can act on.

#ifndef LOSSD_SERVER_LOSSES_CHECKS_H_
#define LOSSD_SERVER_LOSSES_CHECKS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "server/losses/loss.h"

namespace lossd {

// What most losses say of their tensors: an input that leads, is required and
// is differentiated by default; a target of its dtype, required, with a
// gradient; an optional weight of its dtype.
TensorSchema InputSchema(absl::string_view shape_rule,
                         absl::string_view description);
TensorSchema TargetSchema(absl::string_view shape_rule,
                          absl::string_view description);
TensorSchema WeightSchema(absl::string_view name, absl::string_view shape_rule,
                          absl::string_view description);

// The same tensor with values in [minimum, maximum] only; `hint` says what to
// do about others.
TensorSchema Within(TensorSchema schema, double minimum, double maximum,
                    absl::string_view hint);

// The tensor in `slot` has the shape of slot 0, if it is there.
void CheckSameShape(const LossSchema& schema, const Arguments& arguments,
                    int slot, Violations* violations);

// The tensor in `slot` broadcasts to the shape of slot 0, if it is there.
void CheckBroadcasts(const LossSchema& schema, const Arguments& arguments,
                     int slot, Violations* violations);

// How slot 0 of shape [C], [N, C] or [N, C, *] is cut into rows of classes.
struct ClassLayout {
  int64_t batch = 1;
  int64_t classes = 0;
  int64_t inner = 1;   // positions after the class dimension
  Shape sample_shape;  // slot 0's without the class dimension
};
ClassLayout LayOutClasses(const TensorView& input);

// Slot 0 has a class dimension, `weight_slot` is of shape [C], and the target,
// of class indices, has slot 0's shape without the class dimension.
void CheckClassShapes(const LossSchema& schema, const Arguments& arguments,
                      int target_slot, int weight_slot, Violations* violations);

// What the class indices come to: how many are ignored, and the sum of the
// weights of the others (their number without weights). An index outside
// [0, C) that is not `ignore_index` is a violation, which names the first and
// counts all, followed by `hint`.
struct ClassCounts {
  int64_t ignored = 0;
  double weight = 0;
};
ClassCounts CountClasses(const LossSchema& schema, const Arguments& arguments,
                         int target_slot, int weight_slot, int64_t ignore_index,
                         absl::string_view hint, Violations* violations);

// The geometry of a loss with one value for each element of slot 0.
Geometry ElementwiseGeometry(const LossSchema& schema,
                             const Arguments& arguments);

// The geometry of a loss with one value for each row of classes of slot 0: of
// weight 1, none ignored.
Geometry ClassGeometry(const LossSchema& schema, const Arguments& arguments);

// The parameter ignore_index.
ParameterSchema IgnoreIndexSchema();

// What to tell a caller who sent one logit for two classes.
std::string OneClassHint(const TensorView& input);

// Copies the parameters in force into the geometry: what is off is NaN.
void BindParameters(const LossSchema& schema, const Arguments& arguments,
                    Geometry* geometry);

}  // namespace lossd

#endif  // LOSSD_SERVER_LOSSES_CHECKS_H_
