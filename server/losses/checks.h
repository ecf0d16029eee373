// SPDX-License-Identifier: Apache-2.0
//
// The schemas, checks and geometry that losses share. Each adds what is wrong
// to `violations`, in the words that a caller can act on.

#ifndef LOSSD_SERVER_LOSSES_CHECKS_H_
#define LOSSD_SERVER_LOSSES_CHECKS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/losses/loss.h"

namespace lossd {

// A required input of that name, differentiated by default.
TensorSchema NamedInputSchema(absl::string_view name, DtypeRule dtypes,
                              absl::string_view shape_rule,
                              absl::string_view description);

// What most losses say of their tensors: an input that leads, is required and
// is differentiated by default; a target of its dtype, required, with a
// gradient; an optional weight of its dtype.
TensorSchema InputSchema(absl::string_view shape_rule,
                         absl::string_view description);
TensorSchema TargetSchema(absl::string_view shape_rule,
                          absl::string_view description);
TensorSchema WeightSchema(absl::string_view name, absl::string_view shape_rule,
                          absl::string_view description);

// The same tensor with a gradient, and without.
TensorSchema Differentiable(TensorSchema schema);
TensorSchema Constant(TensorSchema schema);

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

// Slot 0 has at least one dimension.
void CheckRows(const LossSchema& schema, const Arguments& arguments,
               Violations* violations);

// Slot 0 is of shape [C] or [N, C].
void CheckRowOrRows(const LossSchema& schema, const Arguments& arguments,
                    Violations* violations);

// Slot 0 is of shape [C] or [N, C], and C is not 0.
void CheckScores(const LossSchema& schema, const Arguments& arguments,
                 Violations* violations);

// The tensor in `slot` is of shape [classes], if it is there.
void CheckClassWeight(const LossSchema& schema, const Arguments& arguments,
                      int slot, int64_t classes, Violations* violations);

// What the class indices come to: how many are ignored (without ignore_index:
// none), and the sum of the weights of the others (their number without
// weights). An index outside
// [0, C) that is not `ignore_index` is a violation, which names the first and
// counts all, followed by `hint`.
struct ClassCounts {
  bool known = true;  // false where target or weight has no data
  int64_t ignored = 0;
  double weight = 0;
};
ClassCounts CountClasses(const LossSchema& schema, const Arguments& arguments,
                         int target_slot, int weight_slot,
                         std::optional<int64_t> ignore_index,
                         absl::string_view hint, Violations* violations);

// What the losses of a difference share: input, target and weight, of one
// shape, each with a gradient.
std::vector<TensorSchema> ResidualSchemas();
void CheckResidual(const LossSchema& schema, const Arguments& arguments,
                   Violations* violations);

// What the triplet losses share: anchor, positive and negative, of one shape
// with at least one dimension, and the parameter swap.
std::vector<TensorSchema> TripletSchemas();
ParameterSchema SwapSchema();
void CheckTriplet(const LossSchema& schema, const Arguments& arguments,
                  Violations* violations);

// The geometry of a loss with one value for each element of slot 0.
Geometry ElementwiseGeometry(const LossSchema& schema,
                             const Arguments& arguments);

// The geometry of a loss with one value for each row of slot 0's last
// dimension.
Geometry RowGeometry(const LossSchema& schema, const Arguments& arguments);

// The geometry of a loss with one value for each row of classes of slot 0: of
// weight 1, none ignored.
Geometry ClassGeometry(const LossSchema& schema, const Arguments& arguments);

// Makes the mean that of the weights in `slot`, if they are there.
void DivideByWeight(const Arguments& arguments, int slot, Geometry* geometry);

// The parameter margin, in force when unset, of that range.
ParameterSchema MarginSchema(double default_value, bool positive,
                             absl::string_view description);

// The parameter ignore_index.
ParameterSchema IgnoreIndexSchema();

// What to tell a caller who sent one logit for two classes.
std::string OneClassHint(const TensorView& input);

// Copies the parameters in force into the geometry: what is off is NaN.
void BindParameters(const LossSchema& schema, const Arguments& arguments,
                    Geometry* geometry);

}  // namespace lossd

#endif  // LOSSD_SERVER_LOSSES_CHECKS_H_
