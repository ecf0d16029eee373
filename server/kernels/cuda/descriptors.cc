// SPDX-License-Identifier: Apache-2.0

#include "server/kernels/cuda/descriptors.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/broadcast.h"
#include "server/kernels/cuda/launch_shape.h"

namespace lossd::cuda {
namespace {

int TensorsOf(const Job& job) {
  return static_cast<int>(job.loss->schema.tensors.size());
}

TensorDescriptor TensorOf(const Job& job, const TensorView& tensor,
                          const Shape& view) {
  using Layout = TensorDescriptor::Layout;
  TensorDescriptor descriptor;
  if (!tensor.present()) return descriptor;
  const Geometry& geometry = *job.geometry;
  descriptor.elements = tensor.elements;
  descriptor.dtype = tensor.dtype;
  descriptor.dimensions = static_cast<int32_t>(tensor.shape.size());
  descriptor.last_size = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (geometry.row_loss || tensor.elements == 1) return descriptor;
  if (view == geometry.loss_shape) {
    descriptor.layout = Layout::kDense;
  } else {
    descriptor.layout = Layout::kBroadcast;
    const Shape steps = BroadcastStrides(view, geometry.loss_shape);
    std::copy(steps.begin(), steps.end(), descriptor.steps);
  }
  return descriptor;
}

// Whether an elementwise kernel can take 16 bytes of each tensor at a time.
bool IsDirect(const Job& job, const JobDescriptor& descriptor) {
  using Layout = TensorDescriptor::Layout;
  const Dtype dtype = descriptor.tensors[0].dtype;
  if (job.geometry->row_loss || job.probabilities.data ||
      job.log_probabilities.data || job.predicted_classes) {
    return false;
  }
  const auto fits = [&](const TensorDescriptor& tensor) {
    return tensor.dtype == Dtype::kUnspecified ||
           (tensor.dtype == dtype && tensor.layout != Layout::kBroadcast);
  };
  const auto takes = [&](const Destination& to) {
    return to.data == nullptr || to.dtype == dtype;
  };
  return std::all_of(std::begin(descriptor.tensors),
                     std::end(descriptor.tensors), fits) &&
         fits(descriptor.grad_output) &&
         std::all_of(job.gradients.begin(), job.gradients.end(), takes) &&
         takes(job.elementwise_losses);
}

int MaskOf(const Job& job) {
  int mask = -1;
  for (int slot = 0; slot < TensorsOf(job); ++slot) {
    if (job.loss->schema.tensors[slot].role == TensorRole::kMask &&
        job.arguments->has(slot)) {
      mask = slot;
    }
  }
  return mask;
}

void SetTensors(const Job& job, JobDescriptor* descriptor) {
  for (int slot = 0; slot < TensorsOf(job); ++slot) {
    const TensorView& tensor = job.arguments->tensor(slot);
    const auto& view = job.geometry->views[slot];
    TensorDescriptor& to = descriptor->tensors[slot];
    to = TensorOf(job, tensor, view ? *view : tensor.shape);
    const TensorSchema& schema = job.loss->schema.tensors[slot];
    to.bounded = schema.minimum.has_value() || schema.maximum.has_value();
    to.minimum = schema.minimum.value_or(-__builtin_inf());
    to.maximum = schema.maximum.value_or(__builtin_inf());
  }
  descriptor->grad_output =
      TensorOf(job, job.grad_output, job.grad_output.shape);
}

// The blocks of a cluster that hold a row in their registers: a power of 2.
int ClassCluster(int64_t row_length) {
  int cluster = 1;
  while (cluster * int64_t{kClassBlock} * kClassElements < row_length) {
    cluster *= 2;
  }
  return cluster;
}

// Whether a row fits into registers, in whole packets of 16 bytes, and nothing
// is wanted of it but the loss of its class and its gradient.
bool IsClassRow(const Job& job, const JobDescriptor& descriptor,
                int max_cluster) {
  const Geometry& geometry = *job.geometry;
  const Dtype dtype = descriptor.tensors[0].dtype;
  const Destination& gradient = job.gradients[0];
  return geometry.class_likelihood && job.float_lanes && geometry.inner == 1 &&
         geometry.row_length > 0 &&
         geometry.row_length * DtypeSize(dtype) % 16 == 0 &&
         ClassCluster(geometry.row_length) <= max_cluster &&
         (gradient.data == nullptr || gradient.dtype == dtype) &&
         !job.gradients[1].data && !job.gradients[2].data &&
         !job.probabilities.data && !job.log_probabilities.data &&
         !job.predicted_classes;
}

KernelChoice ClassKernel(const Job& job, const JobDescriptor& descriptor,
                         int64_t warp_row) {
  const absl::string_view dtype = DtypeName(descriptor.tensors[0].dtype);
  const std::string module(job.loss->schema.name);
  if (descriptor.row_length <= std::min(warp_row, kWarpRow)) {
    return {module, absl::StrCat("lossd_", module, "_class_warp_", dtype),
            false,  kWarpBlock,
            1,      0};
  }
  return {module,
          absl::StrCat("lossd_", module, "_class_team_", dtype),
          true,
          kClassBlock,
          ClassCluster(descriptor.row_length),
          0};
}

}  // namespace

JobDescriptor DescriptorOf(const Job& job) {
  const Geometry& geometry = *job.geometry;
  JobDescriptor descriptor;
  SetTensors(job, &descriptor);
  std::copy(geometry.parameters.begin(), geometry.parameters.end(),
            descriptor.parameters);
  descriptor.gradient_scale = job.gradient_scale;
  descriptor.units = job.units;
  descriptor.rows = geometry.rows;
  descriptor.row_length = geometry.row_length;
  descriptor.inner = geometry.inner;
  descriptor.steps = geometry.steps;
  descriptor.element_count = geometry.element_count;
  descriptor.first_element = job.first_element;
  descriptor.dimensions = static_cast<int32_t>(geometry.loss_shape.size());
  std::copy(geometry.loss_shape.begin(), geometry.loss_shape.end(),
            descriptor.sizes);
  descriptor.metrics = static_cast<int32_t>(job.loss->schema.metrics.size());
  descriptor.mask = MaskOf(job);
  descriptor.mean = job.mean;
  descriptor.loss_per_element = geometry.loss_per_element;
  descriptor.direct = IsDirect(job, descriptor);
  return descriptor;
}

Findings FindingsOf(const FindingsDescriptor& found) {
  using F = FindingsDescriptor;
  Findings findings;
  findings.input_nan = (found.flags & F::kInputNan) != 0;
  findings.input_infinity = (found.flags & F::kInputInfinity) != 0;
  findings.result_nan = (found.flags & F::kResultNan) != 0;
  findings.result_infinity = (found.flags & F::kResultInfinity) != 0;
  findings.outside_domain = found.outside_domain;
  findings.underflow = static_cast<int64_t>(found.underflow);
  return findings;
}

int64_t GradientElements(const Job& job) {
  const Geometry& geometry = *job.geometry;
  return geometry.row_loss ? job.arguments->tensor(0).elements
                           : geometry.element_count;
}

KernelChoice ChooseKernel(const Job& job, const JobDescriptor& descriptor,
                          int64_t warp_row, int max_cluster) {
  const Geometry& geometry = *job.geometry;
  const char* lanes = job.float_lanes ? "float" : "double";
  const int64_t lane = job.float_lanes ? 4 : 8;
  const std::string module(job.loss->schema.name);
  const auto name = [&](const char* shape) {
    return absl::StrCat("lossd_", module, "_", shape, "_", lanes);
  };
  if (!geometry.row_loss) {
    return {module, name("warp"), false, kWarpBlock, 1, 0};
  }
  if (geometry.over_sequences) {
    return {module,
            name("block"),
            true,
            kRowBlock,
            1,
            SequenceScratchBytes(geometry.row_length, geometry.steps,
                                 geometry.labels, kRowBlock)};
  }
  if (IsClassRow(job, descriptor, max_cluster)) {
    return ClassKernel(job, descriptor, warp_row);
  }
  const bool by_block = descriptor.row_length > warp_row;
  const int threads = by_block ? kRowBlock : kWarpThreadsOfHost;
  return {
      module,
      name(by_block ? "block" : "warp"),
      by_block,
      by_block ? kRowBlock : kWarpBlock,
      1,
      RowScratchBytes(TensorsOf(job), descriptor.row_length, threads, lane)};
}

}  // namespace lossd::cuda
