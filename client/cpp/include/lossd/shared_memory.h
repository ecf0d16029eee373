// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_SHARED_MEMORY_H_
#define LOSSD_SHARED_MEMORY_H_

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "lossd/tensor.h"
#include "lossd/v1/tensor.pb.h"

// Tensors in memory that this process shares with a lossd on the same machine:
// calls then carry places instead of bytes. The calls that name them go over
// the server's Unix socket.
//
//     lossd::Client client("unix:/run/lossd/lossd.sock");
//     auto memory = lossd::SharedMemory::Open("unix:/run/lossd/memory.sock",
//                                             int64_t{64} << 20);
//     auto logits = memory->Allocate<float>({32, 32000});
//     auto gradient = memory->Allocate<float>({32, 32000});
//     std::copy(..., logits->values().begin());
//     *loss.mutable_input() = logits->ToTensor();
//     *request.add_gradient_memory() = gradient->place();
//     client.ComputeGradient(request);
//     gradient->values()[0];
//
// A part that a call reads or writes must be left alone until the call has
// ended; otherwise the result is undefined, for that call alone.

namespace lossd {

class SharedMemory;

// A part of a region that holds a tensor. Copies mean the same part. Valid as
// long as its SharedMemory.
template <TensorElement T>
class SharedTensor {
 public:
  // The elements, in row-major order, and aligned to 64 bytes.
  absl::Span<T> values() const { return values_; }
  Shape shape() const { return shape_; }

  // The tensor for a request. Copies no element.
  v1::Tensor ToTensor() const {
    v1::Tensor tensor;
    tensor.set_dtype(kDtypeOf<T>);
    tensor.mutable_shape()->Add(shape_.begin(), shape_.end());
    *tensor.mutable_shared() = place_;
    return tensor;
  }
  // The place for ComputeGradientRequest.gradient_memory.
  const v1::SharedMemory& place() const { return place_; }

 private:
  friend class SharedMemory;
  absl::Span<T> values_;
  std::vector<int64_t> shape_;
  v1::SharedMemory place_;
};

// A region of memory that the server made for this process. The server keeps it
// as long as this object lives, and calls that use it until they end.
//
// Movable. Allocate() and Clear() may be called by one thread at a time; the
// memory itself may be used by any.
class SharedMemory {
 public:
  // Asks the server at the Unix socket `address`, its --shared-memory-listen,
  // such as "unix:/run/lossd/memory.sock", for at least `bytes`.
  //
  // Errors: UNAVAILABLE if there is no server; PERMISSION_DENIED if it does not
  // share memory with this user; RESOURCE_EXHAUSTED if all that it shares is in
  // use, INVALID_ARGUMENT if it never shares so much; FAILED_PRECONDITION if it
  // speaks another version of the protocol.
  static absl::StatusOr<SharedMemory> Open(absl::string_view address,
                                           int64_t bytes);

  SharedMemory(SharedMemory&& other) noexcept;
  SharedMemory& operator=(SharedMemory&& other) noexcept;
  ~SharedMemory();

  // All of it; at first zeros.
  absl::Span<uint8_t> bytes() const;

  // The next free part, for product(shape) elements. RESOURCE_EXHAUSTED if
  // there is not so much left, INVALID_ARGUMENT as ElementCount().
  template <TensorElement T>
  absl::StatusOr<SharedTensor<T>> Allocate(Shape shape) {
    absl::StatusOr<int64_t> offset = Take(kDtypeOf<T>, shape);
    if (!offset.ok()) return offset.status();
    SharedTensor<T> tensor;
    tensor.shape_.assign(shape.begin(), shape.end());
    tensor.values_ =
        absl::Span<T>(reinterpret_cast<T*>(bytes().data() + *offset),
                      static_cast<size_t>(*ElementCount(shape)));
    tensor.place_ = PlaceAt(*offset);
    return tensor;
  }
  template <TensorElement T>
  absl::StatusOr<SharedTensor<T>> Allocate(
      std::initializer_list<int64_t> shape) {
    return Allocate<T>(Shape(shape.begin(), shape.size()));
  }

  // The same for a dtype that is known at run time: the part's offset.
  absl::StatusOr<int64_t> Take(v1::Dtype dtype, Shape shape);
  // What names the part that begins at `offset` in a request.
  v1::SharedMemory PlaceAt(int64_t offset) const;

  // Frees every part: what was allocated so far means nothing from now on.
  void Clear();

 private:
  struct Region;
  explicit SharedMemory(std::unique_ptr<Region> region);
  std::unique_ptr<Region> region_;
};

}  // namespace lossd

#endif  // LOSSD_SHARED_MEMORY_H_
