// SPDX-License-Identifier: Apache-2.0
//
// lossd.v1.Tensor on its way in and out.

#ifndef LOSSD_SERVER_RPC_TENSOR_WIRE_H_
#define LOSSD_SERVER_RPC_TENSOR_WIRE_H_

#include <deque>

#include "lossd/v1/tensor.pb.h"
#include "server/base/aligned_buffer.h"
#include "server/base/tensor_view.h"
#include "server/losses/schema.h"
#include "server/losses/violations.h"
#include "server/rpc/number_list.h"
#include "server/rpc/shared_parts.h"

namespace lossd {

// Reads the tensors of one evaluation. The leading tensor is read first: the
// others take their dtype from it where they state none.
class TensorReader {
 public:
  // With `shapes_suffice` a tensor may be without content: its view then has no
  // data. All is borrowed.
  TensorReader(int max_dimensions, bool shapes_suffice,
               const SharedAccess& access, SharedParts* shared,
               std::deque<AlignedBuffer>* numbers, Violations* violations)
      : max_dimensions_(max_dimensions),
        shapes_suffice_(shapes_suffice),
        access_(access),
        shared_(shared),
        numbers_(numbers),
        violations_(violations) {}

  // The tensor, whose `data` the view points into, whose `values` it points to
  // in `numbers`, or which is in `shared`. What is wrong with its dtype, shape,
  // length or numbers is a violation; the view is then absent.
  TensorView Read(const v1::Tensor& tensor, DtypeRule rule,
                  const TensorName& name);

  // Whether every tensor so far was written as numbers.
  bool only_values() const { return only_values_; }

 private:
  // The dtype stated, or kUnspecified; false after a violation.
  bool ReadDtype(const v1::Tensor& tensor, const TensorName& name,
                 Dtype* dtype);
  // The shape stated and its elements; false after a violation.
  bool ReadShape(const v1::Tensor& tensor, const TensorName& name,
                 TensorView* view);
  void ReadData(const v1::Tensor& tensor, const TensorName& name,
                TensorView* view);
  void ReadShared(const v1::Tensor& tensor, DtypeRule rule,
                  const TensorName& name, TensorView* view);
  void ReadValues(const v1::Tensor& tensor, DtypeRule rule,
                  const TensorName& name, TensorView* view);
  // The dtype of numbers whose tensor states none.
  Dtype InferDtype(const NumberList& list, const Shape& shape,
                   DtypeRule rule) const;

  const int max_dimensions_;
  const bool shapes_suffice_;
  const SharedAccess& access_;
  SharedParts* const shared_;
  std::deque<AlignedBuffer>* const numbers_;
  Violations* const violations_;
  TensorView leading_;
  bool only_values_ = true;
};

// Writes a tensor, as nested lists of numbers or as its bytes.
void WriteTensor(const TensorView& tensor, bool as_values, v1::Tensor* wire);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_TENSOR_WIRE_H_
