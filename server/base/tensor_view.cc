// SPDX-License-Identifier: Apache-2.0

#include "server/base/tensor_view.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/half.h"

namespace lossd {

std::optional<int64_t> ElementCount(absl::Span<const int64_t> shape) {
  int64_t count = 1;
  bool overflow = false;
  bool empty = false;
  for (int64_t size : shape) {
    if (size < 0) return std::nullopt;
    if (size == 0) {
      empty = true;
    } else {
      overflow |= __builtin_mul_overflow(count, size, &count);
    }
  }
  if (overflow) return std::nullopt;
  return empty ? 0 : count;
}

std::string ShapeName(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

std::string IndexName(int64_t index, absl::Span<const int64_t> shape) {
  Shape subscripts(shape.size());
  for (size_t i = shape.size(); i-- > 0;) {
    subscripts[i] = index % shape[i];
    index /= shape[i];
  }
  return shape.empty() ? "" : ShapeName(subscripts);
}

double TensorView::ValueAt(int64_t i) const {
  switch (dtype) {
    case Dtype::kFloat16:
      return ToFloat(Load<Float16>(i));
    case Dtype::kBfloat16:
      return ToFloat(Load<Bfloat16>(i));
    case Dtype::kFloat32:
      return Load<float>(i);
    case Dtype::kFloat64:
      return Load<double>(i);
    default:
      return static_cast<double>(IndexAt(i));
  }
}

}  // namespace lossd
