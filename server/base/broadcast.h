// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_BASE_BROADCAST_H_
#define LOSSD_SERVER_BASE_BROADCAST_H_

#include <cstdint>

#include "server/base/tensor_view.h"

namespace lossd {

// How far apart, in elements of a dense tensor of shape `from`, neighbours in
// each dimension of `to` are; 0 where `from` broadcasts to it. The dimensions
// are aligned at the last.
inline Shape BroadcastStrides(const Shape& from, const Shape& to) {
  Shape strides(to.size(), 0);
  int64_t stride = 1;
  for (size_t i = 1; i <= from.size(); ++i) {
    const int64_t size = from[from.size() - i];
    strides[to.size() - i] = size == 1 ? 0 : stride;
    stride *= size;
  }
  return strides;
}

}  // namespace lossd

#endif  // LOSSD_SERVER_BASE_BROADCAST_H_
