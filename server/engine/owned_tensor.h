// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_ENGINE_OWNED_TENSOR_H_
#define LOSSD_SERVER_ENGINE_OWNED_TENSOR_H_

#include <cstdint>

#include "server/base/aligned_buffer.h"
#include "server/base/buffer_pool.h"
#include "server/base/tensor_view.h"

namespace lossd {

// A dense row-major tensor with its memory.
struct OwnedTensor {
  Dtype dtype = Dtype::kUnspecified;
  Shape shape;
  AlignedBuffer data;  // exactly the elements

  bool present() const { return dtype != Dtype::kUnspecified; }
};

// A tensor whose elements are not written yet. `shape` has an element count.
OwnedTensor Allocate(BufferPool& pool, Dtype dtype, const Shape& shape);

// Its elements, which stay its own.
TensorView ViewOf(const OwnedTensor& tensor);

// Stores a double as an element of the floating `dtype`, rounded once; gives
// back what was stored.
double StoreRounded(double value, Dtype dtype, uint8_t* to);

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_OWNED_TENSOR_H_
