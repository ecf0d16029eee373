// SPDX-License-Identifier: Apache-2.0
//
// The element types of tensors.

#ifndef LOSSD_SERVER_BASE_DTYPE_H_
#define LOSSD_SERVER_BASE_DTYPE_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace lossd {

// The numbers are those of lossd.v1.Dtype.
enum class Dtype : uint8_t {
  kUnspecified = 0,
  kFloat16 = 1,
  kBfloat16 = 2,
  kFloat32 = 3,
  kFloat64 = 4,
  kInt32 = 5,
  kInt64 = 6,
  kUint8 = 7,
  kBool = 8,
};

inline constexpr int kDtypeCount = 9;

// Bytes of one element; 0 for kUnspecified.
int64_t DtypeSize(Dtype dtype);

// PyTorch's name, such as "float32"; "unspecified" for kUnspecified.
absl::string_view DtypeName(Dtype dtype);

constexpr bool IsFloating(Dtype dtype) {
  return dtype >= Dtype::kFloat16 && dtype <= Dtype::kFloat64;
}

constexpr bool IsClassIndex(Dtype dtype) {
  return dtype >= Dtype::kInt32 && dtype <= Dtype::kUint8;
}

// Raw bits of the half types; see half.h for their values.
struct Float16 {
  uint16_t bits;
};
struct Bfloat16 {
  uint16_t bits;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_BASE_DTYPE_H_
