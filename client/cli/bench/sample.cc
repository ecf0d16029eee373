// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench/sample.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/schema.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr int64_t kMostElements = int64_t{1} << 31;
// Steps of a sequence, and labels of it, at most.
constexpr int64_t kSteps = 16;
constexpr int64_t kLabelsOfRow = 4;

// Uniform numbers by a linear congruential generator, 64 bits with the upper
// ones used: the same on every machine, and filling memory takes little longer
// than touching it.
class Uniform {
 public:
  explicit Uniform(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}

  double Between(double low, double high) {
    return low + (high - low) * (static_cast<double>(Next() >> 40) * 0x1p-24);
  }
  int64_t Below(int64_t end) {
    return static_cast<int64_t>((Next() >> 33) % static_cast<uint64_t>(end));
  }

 private:
  uint64_t Next() {
    return state_ = state_ * 6364136223846793005u + 1442695040888963407u;
  }

  uint64_t state_;
};

// One loss's tensors, of which the first has shape `lead`.
struct Frame {
  const v1::LossDescriptor& descriptor;
  std::vector<int64_t> lead;

  const std::string& first_rule() const {
    return descriptor.tensors(0).shape_rule();
  }
  bool of_sequences() const { return absl::StartsWith(first_rule(), "[T, N"); }
  int64_t labels() const { return std::max<int64_t>(1, lead[0] / 4); }
};

bool IsIndex(const v1::TensorDescriptor& tensor) {
  return tensor.role() != v1::TensorDescriptor::ROLE_MASK &&
         std::find(tensor.dtypes().begin(), tensor.dtypes().end(),
                   v1::DTYPE_INT64) != tensor.dtypes().end();
}

// Which dimension of a rule such as "[C], [N, C] or [N, C, *]" is C, in its
// last form that has one; nothing if none is.
struct ClassDimension {
  size_t from_front;
  bool last;
};
std::optional<ClassDimension> FindClasses(absl::string_view rule) {
  if (absl::StrContains(rule, "[N, C, *]")) return ClassDimension{1, false};
  if (absl::StrContains(rule, ", C]")) return ClassDimension{0, true};
  return std::nullopt;
}

std::vector<int64_t> ShapeOf(const Frame& frame,
                             const v1::TensorDescriptor& tensor) {
  const std::string& rule = tensor.shape_rule();
  std::vector<int64_t> shape = frame.lead;
  if (absl::StrContains(rule, "without the class dimension")) {
    shape.erase(shape.begin() + (shape.size() > 1 ? 1 : 0));
  } else if (rule == "[] or [N]") {
    shape.pop_back();
  } else if (absl::StartsWith(rule, "[N, S]")) {
    shape = {frame.lead[1], frame.labels()};
  } else if (absl::StartsWith(rule, "[N]")) {
    shape = {frame.lead[1]};
  }
  return shape;
}

// The range that a floating tensor's values are taken from.
std::pair<double, double> RangeOf(const v1::LossDescriptor& loss,
                                  const v1::TensorDescriptor& tensor) {
  const bool bounded = tensor.has_maximum() && std::isfinite(tensor.maximum());
  if (bounded && tensor.has_minimum()) {
    return {tensor.minimum(), tensor.maximum()};
  }
  if (tensor.has_minimum()) {
    return {tensor.minimum() + 0.25, tensor.minimum() + 2};
  }
  if (tensor.role() == v1::TensorDescriptor::ROLE_TARGET) return {0, 1};
  if (tensor.role() == v1::TensorDescriptor::ROLE_WEIGHT) return {0.25, 2};
  // Log-probabilities of policies that are near one another.
  if (loss.metrics_size() > 0) return {-1, 1};
  return {-8, 8};
}

// An index: a class, or a length that fits.
int64_t IndexAt(const Frame& frame, const v1::TensorDescriptor& tensor,
                int64_t i, Uniform* uniform) {
  if (absl::StartsWith(tensor.description(), "The time steps")) {
    return frame.lead[0];
  }
  if (absl::StartsWith(tensor.description(), "The labels of each")) {
    return frame.labels();
  }
  const std::optional<ClassDimension> dimension =
      FindClasses(frame.first_rule());
  const bool second =
      dimension.has_value() && !dimension->last && frame.lead.size() > 1;
  const int64_t classes = second ? frame.lead[1] : frame.lead.back();
  // Rows of labels end with -1.
  if (absl::StrContains(tensor.description(), "the first -1") &&
      i % classes >= kLabelsOfRow) {
    return -1;
  }
  // 0 is the blank of sequences.
  const int64_t least = frame.of_sequences() && classes > 1 ? 1 : 0;
  return least + uniform->Below(classes - least);
}

template <typename T, typename From>
v1::Tensor Converted(const std::vector<double>& values,
                     absl::Span<const int64_t> shape, From from) {
  std::vector<T> converted(values.size());
  std::transform(values.begin(), values.end(), converted.begin(), from);
  return MakeTensor(converted, shape);
}

v1::Tensor FloatingTensor(const std::vector<double>& values,
                          absl::Span<const int64_t> shape, v1::Dtype dtype) {
  switch (dtype) {
    case v1::DTYPE_FLOAT16:
      return Converted<Float16>(values, shape, ToFloat16);
    case v1::DTYPE_BFLOAT16:
      return Converted<BFloat16>(values, shape, ToBFloat16);
    case v1::DTYPE_FLOAT64:
      return MakeTensor(values, shape);
    default:
      return Converted<float>(values, shape,
                              [](double value) { return float(value); });
  }
}

v1::Tensor SampleTensor(const Frame& frame, const v1::TensorDescriptor& tensor,
                        v1::Dtype dtype, Uniform uniform) {
  const std::vector<int64_t> shape = ShapeOf(frame, tensor);
  const int64_t elements = ElementCount(shape).value_or(0);
  if (IsIndex(tensor)) {
    std::vector<int64_t> indices(static_cast<size_t>(elements));
    for (int64_t i = 0; i < elements; ++i) {
      indices[static_cast<size_t>(i)] = IndexAt(frame, tensor, i, &uniform);
    }
    return MakeTensor(indices, shape);
  }
  const auto [low, high] = RangeOf(frame.descriptor, tensor);
  const bool sign = tensor.role() == v1::TensorDescriptor::ROLE_TARGET &&
                    absl::StrContains(tensor.description(), "-1");
  std::vector<double> values(static_cast<size_t>(elements));
  for (double& value : values) {
    value = uniform.Between(low, high);
    if (sign) value = value < 0.5 ? -1 : 1;
  }
  return FloatingTensor(values, shape, dtype);
}

// The fewest dimensions that the rules of the loss name letters for.
size_t LeastDimensions(const v1::LossDescriptor& descriptor) {
  const std::string& rule = descriptor.tensors(0).shape_rule();
  if (absl::StartsWith(rule, "[T, N")) return 3;
  if (absl::StartsWith(rule, "[B, T]")) return 2;
  return 1;
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> ParseSampleShape(absl::string_view text) {
  std::vector<int64_t> shape;
  int64_t elements = 1;
  for (absl::string_view part : absl::StrSplit(text, 'x')) {
    int64_t size = 0;
    if (!absl::SimpleAtoi(part, &size) || size < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", text,
                       "' is not sizes of at least 1 with an x between them, "
                       "as in 32x1000"));
    }
    if (size > kMostElements / elements) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", text, "' has over ", kMostElements,
                       " elements: give smaller sizes"));
    }
    elements *= size;
    shape.push_back(size);
  }
  return shape;
}

absl::StatusOr<std::vector<int64_t>> WithClasses(
    const v1::LossDescriptor& descriptor, std::vector<int64_t> shape,
    int64_t classes) {
  const std::optional<ClassDimension> dimension =
      FindClasses(descriptor.tensors(0).shape_rule());
  if (!dimension.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        descriptor.name(), " has no dimension of classes, its ",
        descriptor.tensors(0).name(), " is ",
        descriptor.tensors(0).shape_rule(),
        ": leave --classes out and give the whole shape with --shape"));
  }
  const size_t at = dimension->last ? shape.size() : dimension->from_front;
  shape.insert(shape.begin() + static_cast<int64_t>(std::min(at, shape.size())),
               classes);
  return shape;
}

absl::Status FillTensors(const v1::LossDescriptor& descriptor,
                         absl::Span<const int64_t> shape, v1::Dtype dtype,
                         uint64_t seed, v1::Evaluation* evaluation) {
  const absl::StatusOr<const FieldDescriptor*> field =
      FindLoss(descriptor.name());
  if (!field.ok()) return field.status();
  Message& loss =
      *evaluation->GetReflection()->MutableMessage(evaluation, *field);
  Frame frame = {.descriptor = descriptor,
                 .lead = std::vector<int64_t>(shape.begin(), shape.end())};
  if (frame.of_sequences() && shape.size() == 2) {
    const int64_t steps = std::min(kSteps, shape[0]);
    frame.lead = {steps, shape[0] / steps, shape[1]};
  }
  for (int slot = 0; slot < descriptor.tensors_size(); ++slot) {
    const v1::TensorDescriptor& tensor = descriptor.tensors(slot);
    const FieldDescriptor* of_tensor =
        loss.GetDescriptor()->FindFieldByName(tensor.name());
    if (of_tensor == nullptr || !tensor.required()) continue;
    auto& message = static_cast<v1::Tensor&>(
        *loss.GetReflection()->MutableMessage(&loss, of_tensor));
    if (message.dtype() != v1::DTYPE_UNSPECIFIED) {
      if (slot == 0)
        frame.lead.assign(message.shape().begin(), message.shape().end());
      continue;
    }
    if (frame.lead.size() < LeastDimensions(descriptor)) {
      return absl::InvalidArgumentError(absl::StrCat(
          absl::StrJoin(frame.lead, "x"), " has too few dimensions for ",
          descriptor.name(), ", whose ", descriptor.tensors(0).name(), " is ",
          frame.first_rule()));
    }
    message = SampleTensor(frame, tensor, dtype,
                           Uniform(seed * 64 + static_cast<uint64_t>(slot)));
  }
  return absl::OkStatus();
}

}  // namespace lossd::cli
