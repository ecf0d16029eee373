// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/class_case.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "server/base/half.h"

namespace lossd {
namespace {

template <class T>
void Append(T value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void AppendAs(Dtype dtype, float value, std::string* bytes) {
  switch (dtype) {
    case Dtype::kFloat16:
      return Append(ToFloat16(value), bytes);
    case Dtype::kBfloat16:
      return Append(ToBfloat16(value), bytes);
    default:
      return Append(value, bytes);
  }
}

TensorView ViewOf(Dtype dtype, Shape shape, const std::string& bytes) {
  TensorView view;
  view.dtype = dtype;
  view.elements = ElementCount(shape).value();
  view.shape = std::move(shape);
  view.data = reinterpret_cast<const uint8_t*>(bytes.data());
  return view;
}

// What a row has at its places 1 and 2.
std::pair<float, float> SpecialOf(int64_t row) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  switch (row % 6) {
    case 1:
      return {std::nanf(""), 0};
    case 2:
      return {kInfinity, 0};
    case 3:
      return {-kInfinity, 1};
    case 4:
      return {50, 50};
    default:
      return {-300, 0};
  }
}

}  // namespace

ClassCase::ClassCase(const Shape& shape) {
  std::mt19937 random(17);
  std::normal_distribution<float> normal;
  for (int64_t row = 0; row < shape.rows; ++row) {
    for (int64_t c = 0; c < shape.classes; ++c) {
      float value = normal(random) * shape.spread;
      if (shape.special && (c == 1 || c == 2)) {
        value = c == 1 ? SpecialOf(row).first : SpecialOf(row).second;
      }
      AppendAs(shape.dtype, value, &input_);
    }
    const bool ignored = shape.special && row % 6 == 5;
    Append<int64_t>(ignored ? -100 : row * 7919 % shape.classes, &target_);
    AppendAs(shape.dtype, static_cast<float>(shape.scale), &grad_output_);
  }
  for (int64_t c = 0; c < shape.classes; ++c) {
    const float weight = 0.5f + static_cast<float>(c % 5) / 4;
    AppendAs(shape.dtype, c == 3 ? shape.weight_of_3 : weight, &weight_);
  }
  evaluation_.loss = FindLoss(shape.loss);
  Arguments& arguments = evaluation_.arguments;
  arguments.parameters.resize(evaluation_.loss->schema.parameters.size());
  arguments.tensors[0] =
      ViewOf(shape.dtype, {shape.rows, shape.classes}, input_);
  arguments.tensors[1] = ViewOf(Dtype::kInt64, {shape.rows}, target_);
  if (shape.weighted) {
    arguments.tensors[2] = ViewOf(shape.dtype, {shape.classes}, weight_);
  }
  evaluation_.reduction = Reduction::kNone;
  evaluation_.gradient = shape.gradient;
  if (shape.gradient && shape.scale != 1) {
    evaluation_.grad_output = ViewOf(shape.dtype, {shape.rows}, grad_output_);
  }
}

}  // namespace lossd
