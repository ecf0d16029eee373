// SPDX-License-Identifier: Apache-2.0

#include "server/base/dtype.h"

namespace lossd {

int64_t DtypeSize(Dtype dtype) {
  static constexpr int64_t kSizes[kDtypeCount] = {0, 2, 2, 4, 8, 4, 8, 1, 1};
  return kSizes[static_cast<int>(dtype)];
}

absl::string_view DtypeName(Dtype dtype) {
  static constexpr absl::string_view kNames[kDtypeCount] = {
      "unspecified", "float16", "bfloat16", "float32", "float64",
      "int32",       "int64",   "uint8",    "bool"};
  return kNames[static_cast<int>(dtype)];
}

}  // namespace lossd
