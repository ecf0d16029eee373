// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_BASE_TENSOR_SUM_H_
#define LOSSD_SERVER_BASE_TENSOR_SUM_H_

#include "server/base/ordered_sum.h"
#include "server/base/tensor_view.h"

namespace lossd {

// The sum of a tensor's elements in the order of the contract.
inline double SumOfTensor(const TensorView& tensor) {
  OrderedSum sum;
  for (int64_t i = 0; i < tensor.elements; ++i) sum.Add(tensor.ValueAt(i));
  return sum.Total();
}

}  // namespace lossd

#endif  // LOSSD_SERVER_BASE_TENSOR_SUM_H_
