// SPDX-License-Identifier: Apache-2.0

#include "benchmarks/loss_case.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace lossd {
namespace {

// Uniform numbers by a linear congruential generator, 64 bits with the upper 24
// used: filling memory takes little longer than touching it.
class Uniform {
 public:
  explicit Uniform(uint64_t seed) : state_(seed * 2 + 1) {}

  float Between(float low, float high) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * (static_cast<float>(state_ >> 40) * 0x1p-24f);
  }
  int64_t Below(int64_t end) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<int64_t>((state_ >> 33) % static_cast<uint64_t>(end));
  }

 private:
  uint64_t state_;
};

// Whether the leading tensor has a dimension of classes.
bool HasClasses(const LossSchema& schema) {
  return absl::StrContains(schema.tensors[0].shape_rule, "[N, C]");
}

bool IsIndex(const TensorSchema& tensor) {
  return tensor.dtypes == DtypeRule::kClassIndex ||
         tensor.dtypes == DtypeRule::kClassIndexOrAsLeading;
}

bool IsOfSequences(const LossSchema& schema) {
  return absl::StartsWith(schema.tensors[0].shape_rule, "[T, N, C]");
}

// Slot 0's shape for a shape of two dimensions: that, or as many rows in
// sequences of at most kSteps.
constexpr int64_t kSteps = 16;
Shape LeadShape(const LossSchema& schema, const Shape& shape) {
  if (!IsOfSequences(schema)) return shape;
  const int64_t steps = std::min(kSteps, shape[0]);
  return {steps, shape[0] / steps, shape[1]};
}

// The shape of a tensor, after its shape rule.
Shape ShapeOf(const TensorSchema& tensor, const Shape& lead) {
  const absl::string_view rule = tensor.shape_rule;
  Shape shape = lead;
  if (absl::StrContains(rule, "without the class dimension")) {
    shape.erase(shape.begin() + (lead.size() > 1 ? 1 : 0));
  } else if (rule == "[] or [N]") {
    shape.pop_back();
  } else if (absl::StartsWith(rule, "[N, S]")) {
    shape = {lead[1], std::max<int64_t>(1, lead[0] / 4)};
  } else if (absl::StartsWith(rule, "[N]")) {
    shape = {lead[1]};
  }
  return shape;
}

// The range that a tensor's values are taken from.
std::pair<float, float> RangeOf(const LossSchema& schema,
                                const TensorSchema& tensor) {
  if (tensor.maximum.has_value() || tensor.role == TensorRole::kTarget) {
    return {0, 1};
  }
  if (tensor.role == TensorRole::kWeight) return {0.25, 2};
  // Log-probabilities of policies that are near one another.
  if (!schema.metrics.empty()) return {-1, 1};
  return {-8, 8};
}

// An index: a class, or a length that fits.
int64_t IndexFor(const LossSchema& schema, const TensorSchema& tensor,
                 const Shape& lead, int64_t i, Uniform* uniform) {
  if (tensor.name == "input_lengths") return lead[0];
  if (tensor.name == "target_lengths") return std::max<int64_t>(1, lead[0] / 4);
  const int64_t classes = lead.size() == 1 ? lead[0] : lead.back();
  // Rows of classes end after four.
  if (absl::StrContains(tensor.description, "the first -1") &&
      i % classes >= 4) {
    return -1;
  }
  // 0 is the blank of sequences.
  const int64_t least = IsOfSequences(schema) ? 1 : 0;
  return least + uniform->Below(classes - least);
}

void Fill(const LossSchema& schema, const TensorSchema& tensor,
          const Shape& lead, Uniform* uniform, const TensorView& view,
          uint8_t* data) {
  if (view.dtype == Dtype::kInt64) {
    auto* indices = reinterpret_cast<int64_t*>(data);
    for (int64_t i = 0; i < view.elements; ++i) {
      indices[i] = IndexFor(schema, tensor, lead, i, uniform);
    }
    return;
  }
  const auto [low, high] = RangeOf(schema, tensor);
  const bool sign = tensor.role == TensorRole::kTarget &&
                    absl::StrContains(tensor.description, "-1");
  auto* values = reinterpret_cast<float*>(data);
  for (int64_t i = 0; i < view.elements; ++i) {
    values[i] = uniform->Between(low, high);
    if (sign) values[i] = values[i] < 0.5f ? -1.0f : 1.0f;
  }
}

}  // namespace

LossCase MakeLossCase(const LossDefinition& loss, const Shape& shape) {
  const LossSchema& schema = loss.schema;
  LossCase result;
  result.evaluation.loss = &loss;
  result.evaluation.arguments.parameters.resize(schema.parameters.size());
  const Shape lead = LeadShape(schema, shape);
  for (size_t slot = 0; slot < schema.tensors.size(); ++slot) {
    const TensorSchema& tensor = schema.tensors[slot];
    if (!tensor.required) continue;
    TensorView view;
    view.dtype = IsIndex(tensor) ? Dtype::kInt64 : Dtype::kFloat32;
    view.shape = slot == 0 ? lead : ShapeOf(tensor, lead);
    view.elements = ElementCount(view.shape).value_or(0);
    AlignedBuffer data(view.elements * DtypeSize(view.dtype));
    Uniform uniform(slot + 1);
    Fill(schema, tensor, lead, &uniform, view, data.data());
    view.data = data.data();
    result.evaluation.arguments.tensors[slot] = std::move(view);
    result.memory.push_back(std::move(data));
  }
  return result;
}

std::vector<Shape> MeasuredShapes(const LossDefinition& loss) {
  if (HasClasses(loss.schema)) {
    return {{4, 10}, {32, 1000}, {1024, 1024}, {2048, 32000}};
  }
  if (loss.schema.tensors[0].shape_rule == "any") {
    return {{10000}, {1 << 20}, {1 << 24}};
  }
  return {{4, 10}, {1024, 1024}, {16384, 1024}};
}

std::string ShapeText(const Shape& shape) { return absl::StrJoin(shape, "x"); }

std::optional<Shape> ParseShape(absl::string_view text) {
  Shape shape;
  for (absl::string_view part : absl::StrSplit(text, 'x')) {
    int64_t size = 0;
    if (!absl::SimpleAtoi(part, &size) || size < 1) return std::nullopt;
    shape.push_back(size);
  }
  if (!ElementCount(shape).has_value()) return std::nullopt;
  return shape;
}

int64_t LeastBytes(const Evaluation& evaluation, bool gradient) {
  const LossSchema& schema = evaluation.loss->schema;
  int64_t bytes = 0;
  for (size_t slot = 0; slot < schema.tensors.size(); ++slot) {
    const TensorView& view =
        evaluation.arguments.tensor(static_cast<int>(slot));
    const int64_t size = view.elements * DtypeSize(view.dtype);
    bytes += size;
    if (gradient && schema.tensors[slot].default_wrt) bytes += size;
  }
  return bytes;
}

}  // namespace lossd
