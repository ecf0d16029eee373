// SPDX-License-Identifier: Apache-2.0
//
// From jobs in the host's memory to launches on a device, and back.

#ifndef LOSSD_SERVER_KERNELS_CUDA_BATCH_PLAN_H_
#define LOSSD_SERVER_KERNELS_CUDA_BATCH_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "server/kernels/cuda/batch.h"
#include "server/kernels/cuda/device.h"
#include "server/kernels/cuda/launch_shape.h"
#include "server/kernels/job.h"

namespace lossd::cuda {

struct PlanOptions {
  int multiprocessors = 1;
  int max_cluster = 1;
  int64_t max_scratch_bytes = int64_t{256} << 20;
  int64_t warp_row = kWarpRow;  // the longest row that a warp takes
  // Tensors of so many bytes or more are copied from and to where they are.
  int64_t direct_bytes = BufferPool::kMappedBytes;
};

// Bytes that lie in memory of the device and of the host.
struct HostCopy {
  uint8_t* device;
  uint8_t* host;
  int64_t bytes;
};

// One stretch of device memory for a batch of jobs:
//
//   descriptors, tensors, findings, outputs, large tensors and outputs, scratch
//   |--------- upload ---------|
//                        |--- download ---|
//
// Upload and download have images in memory of the host, so that many small
// tensors are one copy. The jobs must stay until the batch is done. Not
// thread-safe.
class BatchPlan {
 public:
  // Jobs without units are left out.
  BatchPlan(absl::Span<Job* const> jobs, const PlanOptions& options);

  // Whether there is nothing to compute.
  bool empty() const { return jobs_.empty(); }

  // Of the images, and of all.
  int64_t upload_bytes() const { return upload_bytes_; }
  int64_t download_bytes() const { return download_end_ - download_begin_; }
  int64_t device_bytes() const { return device_bytes_; }

  // Writes the image of the upload, for memory of the device that begins at
  // `base`. `upload` has upload_bytes(). May be called again.
  void Write(uint8_t* base, uint8_t* upload) const;
  // What is copied to the device then, the kernels to run, and what is copied
  // from it, in any order.
  std::vector<HostCopy> Uploads(uint8_t* base, uint8_t* upload) const;
  std::vector<Launch> Launches(uint8_t* base) const;
  std::vector<HostCopy> Downloads(uint8_t* base, uint8_t* download) const;
  // Writes findings, and the outputs and unit sums that are in it, from the
  // image of the download.
  void Read(const uint8_t* download) const;

 private:
  // Elements of a job's tensor or output, and where they lie on the device.
  struct Place {
    uint8_t* host;
    int64_t offset;
    int64_t bytes;
  };
  struct JobPlan {
    Job* job;
    JobDescriptor descriptor;  // pointers are offsets, and 0 is null
    std::vector<Place> inputs;
    std::vector<Place> outputs;
  };
  // Jobs that one kernel computes together.
  struct LaunchPlan {
    std::string module;
    std::string kernel;
    bool by_block = false;  // a block takes a unit, else a warp
    int threads = 1;
    int cluster = 1;
    std::vector<size_t> jobs;  // in jobs_
    int64_t units = 0;
    int64_t group_scratch = 0;
    int64_t blocks = 0;
    int64_t jobs_offset = 0;
    int64_t units_offset = 0;
    int64_t scratch_offset = 0;
  };

  // Those that are copied directly, or the others.
  void AddInputs(bool direct, JobPlan* plan);
  void AddOutputs(bool direct, JobPlan* plan);
  void AddInput(const TensorView& tensor, bool direct,
                TensorDescriptor* descriptor, JobPlan* plan);
  void AddOutput(const Destination& to, int64_t elements, bool direct,
                 OutputDescriptor* descriptor, JobPlan* plan);
  bool IsDirect(int64_t bytes) const { return bytes >= options_.direct_bytes; }
  void Assign(size_t job);
  void LayOut();
  int64_t Take(int64_t bytes);

  const PlanOptions options_;
  std::vector<JobPlan> jobs_;
  std::vector<LaunchPlan> launches_;
  int64_t end_ = 256;  // of what has been laid out; nothing lies at 0
  int64_t upload_bytes_ = 0;
  int64_t download_begin_ = 0;
  int64_t download_end_ = 0;
  int64_t device_bytes_ = 0;
};

}  // namespace lossd::cuda

#endif  // LOSSD_SERVER_KERNELS_CUDA_BATCH_PLAN_H_
