// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_ENGINE_BACKEND_H_
#define LOSSD_SERVER_ENGINE_BACKEND_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/engine/evaluation.h"
#include "server/kernels/job.h"

namespace lossd {

// A device with kernels. Thread-safe.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual DeviceClass device_class() const = 0;
  virtual std::string name() const = 0;    // such as "cpu"
  virtual std::string device() const = 0;  // such as "cpu:0"
  virtual std::string target() const = 0;  // instruction set, such as "AVX3"
  virtual int parallelism() const = 0;     // threads or multiprocessors

  // Runs every unit of every job and returns when all are done. `done` is
  // called once for each job, with its position, as soon as its outputs, unit
  // sums and findings are written: on any thread, and for several jobs at a
  // time. The jobs may be of different losses.
  virtual void Run(absl::Span<Job* const> jobs,
                   absl::FunctionRef<void(size_t)> done) = 0;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_BACKEND_H_
