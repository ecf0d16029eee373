// SPDX-License-Identifier: Apache-2.0
//
// One evaluation as a kernel sees it.

#ifndef LOSSD_SERVER_KERNELS_JOB_H_
#define LOSSD_SERVER_KERNELS_JOB_H_

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "server/base/aligned_buffer.h"
#include "server/base/buffer_pool.h"
#include "server/base/tensor_view.h"
#include "server/losses/loss.h"

namespace lossd {

// Where a dense output goes; null data: it is not wanted.
struct Destination {
  Dtype dtype = Dtype::kUnspecified;
  uint8_t* data = nullptr;
};

// What a kernel noticed. The order of merging does not matter.
struct Findings {
  bool input_nan = false;
  bool input_infinity = false;
  bool result_nan = false;
  bool result_infinity = false;
  int64_t underflow = 0;        // gradient elements that their dtype lost
  uint32_t outside_domain = 0;  // a bit for each tensor slot

  void Merge(const Findings& other) {
    input_nan |= other.input_nan;
    input_infinity |= other.input_infinity;
    result_nan |= other.result_nan;
    result_infinity |= other.result_infinity;
    underflow += other.underflow;
    outside_domain |= other.outside_domain;
  }
};

// The sums that a kernel writes for each unit.
enum UnitSum {
  kNumeratorSum = 0,  // of the loss's default mean
  kTotalSum = 1,      // of the elementwise losses
  kMetricSums = 2,    // and one for each metric
};

// A unit is a row of a row loss, or a leaf of kLeaf elements of an elementwise
// one. Kernels of different units of a job may run at the same time.
struct Job {
  const LossDefinition* loss = nullptr;
  int loss_index = 0;  // in AllLosses()
  const Arguments* arguments = nullptr;
  const Geometry* geometry = nullptr;
  int64_t units = 0;
  // Where kernels take memory of their own from; null: from the heap.
  BufferPool* pool = nullptr;
  // Of an elementwise loss that is computed in parts: the linear index of the
  // part's first element in the loss's shape. A tensor of that shape starts
  // there; one that broadcasts is whole.
  int64_t first_element = 0;

  // Computed in lanes of float; else of double.
  bool float_lanes = false;
  // The mean, or what replaces it, is in force.
  bool mean = false;
  // What multiplies the gradient of each elementwise loss, in double.
  double gradient_scale = 1;
  // If present, of the loss's shape: multiplies besides, element by element.
  TensorView grad_output;

  Destination elementwise_losses;
  Destination probabilities;
  Destination log_probabilities;
  int64_t* predicted_classes = nullptr;
  std::array<Destination, kMaxTensors> gradients;

  // [sums][units], or null if no sum is wanted.
  double* unit_sums = nullptr;

  // Memory for a kernel.
  AlignedBuffer Scratch(int64_t bytes) const {
    return pool != nullptr ? pool->Allocate(bytes) : AlignedBuffer(bytes);
  }

  // After the backend's Run: the findings of all units; or why the device could
  // not compute the job, whose outputs are then undefined.
  Findings findings;
  absl::Status failure;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_KERNELS_JOB_H_
