// SPDX-License-Identifier: Apache-2.0
//
// A batch of evaluations as kernels on a device see it: plain data, whose
// pointers are the device's. BatchPlan writes it, kernels read it.

#ifndef LOSSD_SERVER_KERNELS_CUDA_BATCH_H_
#define LOSSD_SERVER_KERNELS_CUDA_BATCH_H_

#include <cstdint>

#include "server/base/dtype.h"
#include "server/losses/schema.h"

namespace lossd::cuda {

// The most dimensions of a loss's shape, once those that no tensor tells apart
// are one.
inline constexpr int kMaxDimensions = 16;

struct TensorDescriptor {
  const uint8_t* data = nullptr;  // aligned to its elements
  int64_t elements = 0;
  int64_t last_size = 0;  // of the last dimension
  int32_t dimensions = 0;
  Dtype dtype = Dtype::kUnspecified;  // kUnspecified: the tensor is absent

  // Of an elementwise loss: one value for all, element by element, or by the
  // steps below.
  enum class Layout : uint8_t { kOne, kDense, kBroadcast };
  Layout layout = Layout::kOne;
  // The domain of its values; NaN is outside any.
  bool bounded = false;
  double minimum = 0;
  double maximum = 0;
  int64_t steps[kMaxDimensions] = {};  // in elements, by dimension
};

struct OutputDescriptor {
  uint8_t* data = nullptr;  // null: not wanted
  Dtype dtype = Dtype::kUnspecified;
};

// Findings, as threads gather them with atomic operations on integers.
struct FindingsDescriptor {
  static constexpr uint32_t kInputNan = 1, kInputInfinity = 2;
  static constexpr uint32_t kResultNan = 4, kResultInfinity = 8;
  uint32_t flags = 0;
  uint32_t outside_domain = 0;
  uint64_t underflow = 0;
};

// A Job.
struct JobDescriptor {
  TensorDescriptor tensors[kMaxTensors];
  TensorDescriptor grad_output;
  OutputDescriptor gradients[kMaxTensors];
  OutputDescriptor losses, probabilities, log_probabilities;
  int64_t* predicted_classes = nullptr;
  double* unit_sums = nullptr;  // [sums][units], or null
  FindingsDescriptor* findings = nullptr;

  double parameters[kMaxParameters] = {};
  double gradient_scale = 1;
  int64_t units = 0;
  int64_t rows = 0;
  int64_t row_length = 0;
  int64_t inner = 1;
  int64_t steps = 1;
  int64_t element_count = 0;
  int64_t first_element = 0;
  // The shape that elements are broadcast to.
  int64_t sizes[kMaxDimensions] = {};
  int32_t dimensions = 0;
  int32_t metrics = 0;
  int32_t mask = -1;  // the slot of a mask
  bool mean = false;
  bool loss_per_element = false;
  // Every tensor and output is of slot 0's dtype, element by element or one
  // value for all, and aligned to 16 bytes; and no activation is wanted.
  bool direct = false;
};

// What a launch computes: the jobs of one loss, in lanes of one type. The
// groups of threads of the grid take the units in turn.
struct Batch {
  const JobDescriptor* jobs = nullptr;
  // Job j has the units [first_units[j], first_units[j + 1]) of the batch.
  const int64_t* first_units = nullptr;
  int64_t job_count = 0;
  // Memory of each group, not initialised.
  uint8_t* scratch = nullptr;
  int64_t scratch_bytes = 0;  // of one group
};

}  // namespace lossd::cuda

#endif  // LOSSD_SERVER_KERNELS_CUDA_BATCH_H_
