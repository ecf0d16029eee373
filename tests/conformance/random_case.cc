// SPDX-License-Identifier: Apache-2.0

#include "tests/conformance/random_case.h"

#include <cstring>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/half.h"

namespace lossd {
namespace {

// Uniform in [low, high), a multiple of (high - low) / 2^20. The generator is
// the standard's; its distributions are not the same everywhere.
double Uniform(std::mt19937_64* generator, double low, double high) {
  const double unit = static_cast<double>((*generator)() >> 44) * 0x1p-20;
  return low + unit * (high - low);
}

void Store(double value, Dtype dtype, uint8_t* to) {
  const auto put = [&](auto v) { std::memcpy(to, &v, sizeof(v)); };
  switch (dtype) {
    case Dtype::kFloat16:
      return put(ToFloat16(value));
    case Dtype::kBfloat16:
      return put(ToBfloat16(value));
    case Dtype::kFloat32:
      return put(static_cast<float>(value));
    case Dtype::kFloat64:
      return put(value);
    case Dtype::kInt64:
      return put(static_cast<int64_t>(value));
    default:
      return put(static_cast<uint8_t>(value));
  }
}

class Maker {
 public:
  Maker(const LossDefinition& loss, Dtype dtype, Shape shape, uint64_t seed)
      : schema_(loss.schema), dtype_(dtype), generator_(seed) {
    case_.evaluation.loss = &loss;
    case_.evaluation.gradient = true;
    case_.evaluation.arguments.parameters.resize(schema_.parameters.size());
    case_.name = absl::StrCat(schema_.name, "/", DtypeName(dtype), "/",
                              absl::StrJoin(shape, "x"));
    const Shape lead = LeadShape(shape);
    for (size_t slot = 0; slot < schema_.tensors.size(); ++slot) {
      AddTensor(static_cast<int>(slot), lead);
    }
    OutputSet& outputs = case_.evaluation.outputs;
    for (Output output :
         {Output::kLoss, Output::kElementwiseLosses, Output::kGradients}) {
      outputs.Add(output);
    }
    if (!schema_.has_probabilities) return;
    for (Output output : {Output::kProbabilities, Output::kLogProbabilities,
                          Output::kPredictedClasses}) {
      outputs.Add(output);
    }
  }

  GoldenCase Take() && { return std::move(case_); }

 private:
  bool LeadIs(absl::string_view rule) const {
    return absl::StartsWith(schema_.tensors[0].shape_rule, rule);
  }

  // Slot 0's shape: of two dimensions, except for a loss over sequences.
  Shape LeadShape(const Shape& shape) const {
    if (!LeadIs("[T, N, C]")) return shape;
    return {kSteps, shape[0], shape[1]};
  }

  // The shape of a tensor, after its shape rule.
  Shape ShapeOf(const TensorSchema& tensor, const Shape& lead) const {
    const absl::string_view rule = tensor.shape_rule;
    const int64_t last = lead.back();
    if (absl::StartsWith(rule, "[C]") && tensor.role == TensorRole::kWeight) {
      return {last};
    }
    if (absl::StrContains(rule, "without the class dimension") ||
        rule == "[] or [N]") {
      return {lead[0]};
    }
    if (absl::StartsWith(rule, "[N, S]")) return {lead[1], kLabels};
    if (absl::StartsWith(rule, "[N]")) return {lead[1]};
    return lead;
  }

  double IndexFor(const TensorSchema& tensor, int64_t classes) {
    if (tensor.name == "input_lengths") return Uniform(&generator_, 1, kSteps);
    if (tensor.name == "target_lengths") {
      return Uniform(&generator_, 0, kLabels);
    }
    const bool padded = absl::StrContains(tensor.description, "the first -1");
    if (padded && Uniform(&generator_, 0, 4) < 1) return -1;
    // 0 is the blank of sequences.
    return Uniform(&generator_, LeadIs("[T, N, C]") && classes > 1,
                   static_cast<double>(classes));
  }

  double ValueFor(const TensorSchema& tensor) {
    double value = Uniform(&generator_, -8, 8);
    if (tensor.role == TensorRole::kMask) {
      return Uniform(&generator_, 0, 4) >= 1;
    }
    if (tensor.role == TensorRole::kTarget) {
      value = Uniform(&generator_, 0, 1);
      if (absl::StrContains(tensor.description, "-1")) {
        value = value < 0.5 ? -1 : 1;
      }
    }
    if (tensor.role == TensorRole::kWeight) {
      value = Uniform(&generator_, 0.25, 2);
    }
    if (tensor.maximum.has_value()) value = Uniform(&generator_, 0, 1);
    if (tensor.role == TensorRole::kAuxiliary || schema_.metrics.size() > 0) {
      value /= 8;
    }
    return value;
  }

  void AddTensor(int slot, const Shape& lead) {
    const TensorSchema& schema = schema_.tensors[slot];
    auto tensor = std::make_unique<GoldenTensor>();
    TensorView& view = tensor->view;
    view.shape = slot == 0 ? lead : ShapeOf(schema, lead);
    view.elements = ElementCount(view.shape).value();
    const bool is_index = schema.dtypes == DtypeRule::kClassIndex ||
                          schema.dtypes == DtypeRule::kClassIndexOrAsLeading;
    view.dtype = is_index                           ? Dtype::kInt64
                 : schema.role == TensorRole::kMask ? Dtype::kUint8
                                                    : dtype_;
    const int64_t size = DtypeSize(view.dtype);
    tensor->bytes.resize(static_cast<size_t>(view.elements * size));
    for (int64_t i = 0; i < view.elements; ++i) {
      Store(is_index ? IndexFor(schema, lead.back()) : ValueFor(schema),
            view.dtype,
            reinterpret_cast<uint8_t*>(tensor->bytes.data()) + i * size);
    }
    view.data = reinterpret_cast<const uint8_t*>(tensor->bytes.data());
    case_.evaluation.arguments.tensors[slot] = view;
    const bool differentiable =
        schema.differentiable &&
        !(schema.role == TensorRole::kWeight && HasIndices());
    if (differentiable && IsFloating(view.dtype)) {
      case_.evaluation.wrt.emplace_back(schema.name);
    }
    case_.memory.push_back(std::move(tensor));
  }

  bool HasIndices() const {
    for (const TensorView& tensor : case_.evaluation.arguments.tensors) {
      if (tensor.dtype == Dtype::kInt64) return true;
    }
    return false;
  }

  static constexpr int64_t kSteps = 5;
  static constexpr int64_t kLabels = 3;

  const LossSchema& schema_;
  const Dtype dtype_;
  std::mt19937_64 generator_;
  GoldenCase case_;
};

}  // namespace

std::vector<GoldenCase> RandomCases(const LossDefinition& loss) {
  static const Shape kShapes[] = {{1, 1},    {3, 10},   {2, 15},   {4, 16},
                                  {5, 17},   {1, 1023}, {1, 1024}, {2, 1025},
                                  {33, 100}, {1031, 3}, {3, 40007}};
  std::vector<GoldenCase> cases;
  uint64_t seed = 1;
  for (Dtype dtype :
       {Dtype::kFloat16, Dtype::kBfloat16, Dtype::kFloat32, Dtype::kFloat64}) {
    for (const Shape& shape : kShapes) {
      // A sequence has a blank and a label at least.
      const bool sequences =
          loss.schema.tensors[0].shape_rule.find('T') != std::string::npos &&
          loss.schema.metrics.empty();
      if (sequences && shape.back() < 2) continue;
      cases.push_back(Maker(loss, dtype, shape, seed++).Take());
    }
  }
  return cases;
}

}  // namespace lossd
