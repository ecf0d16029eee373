// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_ENGINE_BACKEND_H_
#define LOSSD_SERVER_ENGINE_BACKEND_H_

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "server/base/buffer_pool.h"
#include "server/engine/evaluation.h"
#include "server/kernels/job.h"

namespace lossd {

// One device of a backend, which does not change.
struct DeviceDescription {
  std::string name;     // such as "cpu:0"
  std::string model;    // such as "NVIDIA H100 80GB HBM3"; empty: unknown
  std::string target;   // instruction set or architecture, such as "AVX3"
  int parallelism = 1;  // threads or multiprocessors
  // The most memory of the device that one evaluation may take; 0: it has no
  // memory of its own.
  int64_t max_evaluation_bytes = 0;
};

// That a job is done.
struct Completion {
  size_t job = 0;     // its position
  size_t device = 0;  // that computed it, in the backend's devices()
  // How long bytes were copied to and from the device for the jobs that it was
  // computed with.
  absl::Duration copying = absl::ZeroDuration();
};

// Devices of one class with kernels. Thread-safe.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual DeviceClass device_class() const = 0;
  virtual std::string name() const = 0;  // such as "cpu"
  // At least one, always the same.
  virtual absl::Span<const DeviceDescription> devices() const = 0;
  // Whether the device computes; one that is out of service stays so.
  virtual bool InService(size_t device) const = 0;
  // How many Runs can proceed at a time; further ones wait or share.
  virtual int max_runs() const = 0;
  // Where the backend wants to know of the memory that tensors lie in; null: it
  // does not.
  virtual std::shared_ptr<MappingObserver> mapping_observer() = 0;

  // Runs every unit of every job and returns when all are done. `done` is
  // called once for each job, as soon as its outputs, unit sums and findings
  // are written, or its failure: on any thread, and for several jobs at a time.
  // The jobs may be of different losses.
  virtual void Run(absl::Span<Job* const> jobs,
                   absl::FunctionRef<void(const Completion&)> done) = 0;
};

// Whether any of its devices is in service.
inline bool Serves(const Backend& backend) {
  for (size_t i = 0; i < backend.devices().size(); ++i) {
    if (backend.InService(i)) return true;
  }
  return false;
}

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_BACKEND_H_
