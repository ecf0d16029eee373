// SPDX-License-Identifier: Apache-2.0

#include "tests/conformance/random_case.h"

#include <cstring>
#include <random>

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
    for (size_t slot = 0; slot < schema_.tensors.size(); ++slot) {
      AddTensor(static_cast<int>(slot), shape);
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
  // Sample-shaped, except for class indices and class weights, which are found
  // by their shape rules.
  Shape ShapeOf(const TensorSchema& tensor, const Shape& lead) const {
    const bool class_loss =
        schema_.tensors[0].shape_rule.find("C") != absl::string_view::npos;
    if (!class_loss) return lead;
    if (tensor.role == TensorRole::kWeight)
      return {lead.size() > 1 ? lead[1] : lead[0]};
    if (tensor.role != TensorRole::kTarget) return lead;
    Shape shape = lead;
    shape.erase(shape.begin() + (lead.size() > 1 ? 1 : 0));
    return shape;
  }

  void AddTensor(int slot, const Shape& lead) {
    const TensorSchema& schema = schema_.tensors[slot];
    auto tensor = std::make_unique<GoldenTensor>();
    TensorView& view = tensor->view;
    view.shape = ShapeOf(schema, lead);
    view.elements = ElementCount(view.shape).value();
    const bool is_index = schema.dtypes == DtypeRule::kClassIndex ||
                          schema.dtypes == DtypeRule::kClassIndexOrAsLeading;
    view.dtype = is_index                           ? Dtype::kInt64
                 : schema.role == TensorRole::kMask ? Dtype::kUint8
                                                    : dtype_;
    const int64_t size = DtypeSize(view.dtype);
    tensor->bytes.resize(static_cast<size_t>(view.elements * size));
    const double classes = static_cast<double>(lead.size() > 1 ? lead[1]
                                               : lead.empty()  ? 1
                                                               : lead[0]);
    for (int64_t i = 0; i < view.elements; ++i) {
      double value = Uniform(&generator_, -8, 8);
      if (is_index)
        value = static_cast<double>(
            static_cast<int64_t>(Uniform(&generator_, 0, classes)));
      if (schema.role == TensorRole::kMask)
        value = Uniform(&generator_, 0, 4) >= 1;
      if (schema.role == TensorRole::kTarget && !is_index)
        value = Uniform(&generator_, 0, 1);
      if (schema.role == TensorRole::kWeight)
        value = Uniform(&generator_, 0.25, 2);
      if (schema.maximum.has_value()) value = Uniform(&generator_, 0, 1);
      if (schema.role == TensorRole::kAuxiliary || schema_.metrics.size() > 0) {
        value = schema.role == TensorRole::kMask ? value : value / 8;
      }
      Store(value, view.dtype,
            reinterpret_cast<uint8_t*>(tensor->bytes.data()) + i * size);
    }
    view.data = reinterpret_cast<const uint8_t*>(tensor->bytes.data());
    case_.evaluation.arguments.tensors[slot] = view;
    if (schema.differentiable && IsFloating(view.dtype)) {
      case_.evaluation.wrt.emplace_back(schema.name);
    }
    case_.memory.push_back(std::move(tensor));
  }

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
      cases.push_back(Maker(loss, dtype, shape, seed++).Take());
    }
  }
  return cases;
}

}  // namespace lossd
