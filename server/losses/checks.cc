// SPDX-License-Identifier: Apache-2.0

#include "server/losses/checks.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "server/base/ordered_sum.h"
#include "server/base/tensor_sum.h"

namespace lossd {
namespace {

bool Broadcasts(const Shape& from, const Shape& to) {
  if (from.size() > to.size()) return false;
  for (size_t i = 1; i <= from.size(); ++i) {
    const int64_t size = from[from.size() - i];
    if (size != 1 && size != to[to.size() - i]) return false;
  }
  return true;
}

}  // namespace

TensorSchema NamedInputSchema(absl::string_view name, DtypeRule dtypes,
                              absl::string_view shape_rule,
                              absl::string_view description) {
  return {.name = name,
          .role = TensorRole::kInput,
          .dtypes = dtypes,
          .required = true,
          .differentiable = true,
          .default_wrt = true,
          .shape_rule = shape_rule,
          .description = description};
}

TensorSchema InputSchema(absl::string_view shape_rule,
                         absl::string_view description) {
  return NamedInputSchema("input", DtypeRule::kLeading, shape_rule,
                          description);
}

TensorSchema TargetSchema(absl::string_view shape_rule,
                          absl::string_view description) {
  return {.name = "target",
          .role = TensorRole::kTarget,
          .dtypes = DtypeRule::kSameAsLeading,
          .required = true,
          .differentiable = true,
          .shape_rule = shape_rule,
          .description = description};
}

TensorSchema WeightSchema(absl::string_view name, absl::string_view shape_rule,
                          absl::string_view description) {
  return {.name = name,
          .role = TensorRole::kWeight,
          .dtypes = DtypeRule::kSameAsLeading,
          .required = false,
          .shape_rule = shape_rule,
          .description = description};
}

TensorSchema Differentiable(TensorSchema schema) {
  schema.differentiable = true;
  return schema;
}

TensorSchema Constant(TensorSchema schema) {
  schema.differentiable = false;
  return schema;
}

TensorSchema Within(TensorSchema schema, double minimum, double maximum,
                    absl::string_view hint) {
  schema.minimum = minimum;
  schema.maximum = maximum;
  schema.domain_hint = hint;
  return schema;
}

void CheckSameShape(const LossSchema& schema, const Arguments& arguments,
                    int slot, Violations* violations) {
  const TensorView& lead = arguments.tensor(0);
  const TensorView& tensor = arguments.tensor(slot);
  if (!tensor.present() || tensor.shape == lead.shape) return;
  violations->Add(
      Reason::kShapeMismatch, schema.tensors[slot].name,
      absl::StrCat(schema.tensors[slot].name, " has shape ",
                   ShapeName(tensor.shape), ", but ", schema.tensors[0].name,
                   " has shape ", ShapeName(lead.shape), ": ", schema.name,
                   " needs equal shapes and does not broadcast. Reshape one of "
                   "them."));
}

void CheckBroadcasts(const LossSchema& schema, const Arguments& arguments,
                     int slot, Violations* violations) {
  const TensorView& lead = arguments.tensor(0);
  const TensorView& tensor = arguments.tensor(slot);
  if (!tensor.present() || Broadcasts(tensor.shape, lead.shape)) return;
  violations->Add(
      Reason::kShapeMismatch, schema.tensors[slot].name,
      absl::StrCat(
          schema.tensors[slot].name, " has shape ", ShapeName(tensor.shape),
          ", which does not broadcast to ", schema.tensors[0].name, "'s shape ",
          ShapeName(lead.shape),
          ": each of its dimensions, from the last, must be 1 or equal "
          "to ",
          schema.tensors[0].name, "'s."));
}

ClassLayout LayOutClasses(const TensorView& input) {
  ClassLayout layout;
  const size_t class_dimension = input.shape.size() == 1 ? 0 : 1;
  if (class_dimension == 1) {
    layout.batch = input.shape[0];
    layout.sample_shape.push_back(input.shape[0]);
  }
  layout.classes = input.shape[class_dimension];
  for (size_t i = class_dimension + 1; i < input.shape.size(); ++i) {
    layout.inner *= input.shape[i];
    layout.sample_shape.push_back(input.shape[i]);
  }
  return layout;
}

void CheckClassShapes(const LossSchema& schema, const Arguments& arguments,
                      int target_slot, int weight_slot,
                      Violations* violations) {
  const TensorView& input = arguments.tensor(0);
  if (input.shape.empty()) {
    violations->Add(
        Reason::kShapeMismatch, schema.tensors[0].name,
        absl::StrCat(schema.tensors[0].name, " is a scalar, but ", schema.name,
                     " needs a class dimension: [C], [N, C] or "
                     "[N, C, *]."));
    return;
  }
  const ClassLayout layout = LayOutClasses(input);
  const TensorView& target = arguments.tensor(target_slot);
  if (IsClassIndex(target.dtype) && target.shape != layout.sample_shape) {
    violations->Add(
        Reason::kShapeMismatch, schema.tensors[target_slot].name,
        absl::StrCat("target of class indices has shape ",
                     ShapeName(target.shape), ", but input of shape ",
                     ShapeName(input.shape), " needs ",
                     ShapeName(layout.sample_shape),
                     ": input's shape without the class dimension."));
  }
  CheckClassWeight(schema, arguments, weight_slot, layout.classes, violations);
}

void CheckRows(const LossSchema& schema, const Arguments& arguments,
               Violations* violations) {
  const TensorView& lead = arguments.tensor(0);
  if (!lead.shape.empty()) return;
  const TensorSchema& tensor = schema.tensors[0];
  violations->Add(
      Reason::kShapeMismatch, tensor.name,
      absl::StrCat(tensor.name, " is a scalar, but ", schema.name,
                   " needs at least one dimension: ", tensor.shape_rule, "."));
}

void CheckRowOrRows(const LossSchema& schema, const Arguments& arguments,
                    Violations* violations) {
  const Shape& shape = arguments.tensor(0).shape;
  const TensorSchema& tensor = schema.tensors[0];
  if (shape.size() == 1 || shape.size() == 2) return;
  violations->Add(
      Reason::kShapeMismatch, tensor.name,
      absl::StrCat(tensor.name, " has shape ", ShapeName(shape), ", but ",
                   schema.name, " needs ", tensor.shape_rule, "."));
}

void CheckScores(const LossSchema& schema, const Arguments& arguments,
                 Violations* violations) {
  CheckRowOrRows(schema, arguments, violations);
  const Shape& shape = arguments.tensor(0).shape;
  const absl::string_view name = schema.tensors[0].name;
  if (shape.empty() || shape.back() > 0) return;
  violations->Add(Reason::kShapeMismatch, name,
                  absl::StrCat(name, " has shape ", ShapeName(shape), ", but ",
                               schema.name, " needs at least one class."));
}

void CheckClassWeight(const LossSchema& schema, const Arguments& arguments,
                      int slot, int64_t classes, Violations* violations) {
  const TensorView& weight = arguments.tensor(slot);
  if (!weight.present() || weight.shape == Shape({classes})) return;
  violations->Add(
      Reason::kShapeMismatch, schema.tensors[slot].name,
      absl::StrCat("weight has shape ", ShapeName(weight.shape),
                   ", but input of shape ",
                   ShapeName(arguments.tensor(0).shape),
                   " needs one weight for each class: [", classes, "]."));
}

ClassCounts CountClasses(const LossSchema& schema, const Arguments& arguments,
                         int target_slot, int weight_slot,
                         std::optional<int64_t> ignore_index,
                         absl::string_view hint, Violations* violations) {
  const TensorView& target = arguments.tensor(target_slot);
  const TensorView& weight = arguments.tensor(weight_slot);
  const int64_t classes = LayOutClasses(arguments.tensor(0)).classes;
  ClassCounts counts;
  if (!target.readable() || (weight.present() && !weight.readable())) {
    counts.known = false;
    return counts;
  }
  int64_t bad = 0;
  int64_t first_bad = 0;
  OrderedSum own_sum;
  OrderedSum& sum = weight.present() && arguments.weight_sum != nullptr
                        ? arguments.weight_sum->Continue()
                        : own_sum;
  for (int64_t i = 0; i < target.elements; ++i) {
    const int64_t label = target.IndexAt(i);
    double w = 0;
    if (label == ignore_index) {
      ++counts.ignored;
    } else if (label < 0 || label >= classes) {
      if (bad++ == 0) first_bad = i;
    } else if (weight.present()) {
      w = weight.ValueAt(label);
    }
    if (weight.present()) sum.Add(w);
  }
  counts.weight = weight.present()
                      ? OrderedSum(sum).Total()
                      : static_cast<double>(target.elements - counts.ignored);
  if (bad > 0) {
    const absl::string_view name = schema.tensors[target_slot].name;
    violations->Add(
        Reason::kTargetOutOfRange, name,
        absl::StrCat(name, target.PlaceName(first_bad), " = ",
                     violations->ValueName(target.IndexAt(first_bad)),
                     " is outside [0, ", classes, "): input of shape ",
                     ShapeName(arguments.tensor(0).named_shape()),
                     " has C = ", classes,
                     classes == 1 ? " class. " : " classes. ", bad, " of ",
                     target.elements, bad == 1 ? " targets is" : " targets are",
                     " out of range.", hint.empty() ? "" : " ", hint));
  }
  return counts;
}

std::vector<TensorSchema> ResidualSchemas() {
  return {InputSchema("any", "The predicted values."),
          TargetSchema("input's", "The wanted values."),
          Differentiable(WeightSchema("weight", "input's",
                                      "The weight of each element."))};
}

void CheckResidual(const LossSchema& schema, const Arguments& arguments,
                   Violations* violations) {
  CheckSameShape(schema, arguments, 1, violations);
  CheckSameShape(schema, arguments, 2, violations);
}

std::vector<TensorSchema> TripletSchemas() {
  return {NamedInputSchema("anchor", DtypeRule::kLeading, "[D] or [*, D]",
                           "The samples."),
          NamedInputSchema("positive", DtypeRule::kSameAsLeading, "anchor's",
                           "Samples of the anchor's class."),
          NamedInputSchema("negative", DtypeRule::kSameAsLeading, "anchor's",
                           "Samples of other classes.")};
}

ParameterSchema SwapSchema() {
  return {.name = "swap",
          .type = ParameterType::kBool,
          .default_value = 0,
          .range = "false or true",
          .description =
              "Use the smaller of d(anchor, negative) and "
              "d(positive, negative)."};
}

void CheckTriplet(const LossSchema& schema, const Arguments& arguments,
                  Violations* violations) {
  CheckRows(schema, arguments, violations);
  CheckSameShape(schema, arguments, 1, violations);
  CheckSameShape(schema, arguments, 2, violations);
}

Geometry ElementwiseGeometry(const LossSchema& schema,
                             const Arguments& arguments) {
  Geometry geometry;
  const TensorView& lead = arguments.tensor(0);
  geometry.loss_shape = lead.shape;
  geometry.class_shape = lead.shape;
  geometry.element_count = lead.elements;
  geometry.mean_denominator = static_cast<double>(lead.elements);
  geometry.batch_size =
      lead.shape.empty() ? 1 : static_cast<double>(lead.shape[0]);
  geometry.loss_per_element = true;
  BindParameters(schema, arguments, &geometry);
  return geometry;
}

Geometry RowGeometry(const LossSchema& schema, const Arguments& arguments) {
  const Shape& shape = arguments.tensor(0).shape;
  Geometry geometry;
  geometry.loss_shape.assign(shape.begin(), shape.end() - 1);
  geometry.row_length = shape.back();
  geometry.rows = ElementCount(geometry.loss_shape).value();
  geometry.element_count = geometry.rows;
  geometry.mean_denominator = static_cast<double>(geometry.rows);
  geometry.row_loss = true;
  BindParameters(schema, arguments, &geometry);
  return geometry;
}

Geometry ClassGeometry(const LossSchema& schema, const Arguments& arguments) {
  const ClassLayout layout = LayOutClasses(arguments.tensor(0));
  Geometry geometry;
  geometry.loss_shape = layout.sample_shape;
  geometry.class_shape = layout.sample_shape;
  geometry.rows = layout.batch * layout.inner;
  geometry.row_length = layout.classes;
  geometry.inner = layout.inner;
  geometry.row_loss = true;
  geometry.element_count = geometry.rows;
  geometry.mean_denominator = static_cast<double>(geometry.rows);
  BindParameters(schema, arguments, &geometry);
  return geometry;
}

void DivideByWeight(const Arguments& arguments, int slot, Geometry* geometry) {
  const TensorView& weight = arguments.tensor(slot);
  if (!weight.present()) return;
  geometry->divides_by_weight = true;
  geometry->counted = weight.readable();
  geometry->denominator_known = geometry->counted;
  if (geometry->counted) geometry->mean_denominator = SumOfTensor(weight);
}

ParameterSchema MarginSchema(double default_value, bool positive,
                             absl::string_view description) {
  ParameterSchema margin = {.name = "margin",
                            .type = ParameterType::kDouble,
                            .default_value = default_value,
                            .range = positive ? "(0, inf)" : "(-inf, inf)",
                            .description = description};
  if (positive) {
    margin.minimum = 0;
    margin.minimum_open = true;
  }
  return margin;
}

ParameterSchema IgnoreIndexSchema() {
  return {.name = "ignore_index",
          .type = ParameterType::kInt64,
          .default_value = -100,
          .range = "any int64; negative with class probabilities",
          .description = "Targets of this class index contribute nothing."};
}

std::string OneClassHint(const TensorView& input) {
  Shape two = input.named_shape();
  two[two.size() == 1 ? 0 : 1] = 2;
  return absl::StrCat(
      "For binary labels with one logit use binary_cross_entropy_with_logits, "
      "or send logits of shape ",
      ShapeName(two), ".");
}

void BindParameters(const LossSchema& schema, const Arguments& arguments,
                    Geometry* geometry) {
  for (size_t i = 0; i < schema.parameters.size(); ++i) {
    geometry->parameters[i] =
        arguments.parameter(schema, static_cast<int>(i))
            .value_or(std::numeric_limits<double>::quiet_NaN());
  }
}

}  // namespace lossd
