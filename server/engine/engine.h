// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_ENGINE_ENGINE_H_
#define LOSSD_SERVER_ENGINE_ENGINE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "server/base/buffer_pool.h"
#include "server/base/clock.h"
#include "server/engine/backend.h"
#include "server/engine/backend_chooser.h"
#include "server/engine/evaluation.h"
#include "server/losses/violations.h"

namespace lossd {

// The most that one evaluation may be.
struct EngineLimits {
  int64_t max_elements = int64_t{1} << 30;  // of one tensor
  int max_dimensions = 16;
  double max_operations = 1e12;
  int64_t max_response_bytes = int64_t{64} << 20;
  int64_t max_scratch_bytes = int64_t{256} << 20;
};

// An evaluation that was found good, on its way to its answer. Used by one
// thread at a time.
struct Task {
  Evaluation evaluation;
  Geometry geometry;
  Cost cost;
  int64_t units = 0;  // rows, or leaves of elements
  int64_t input_bytes = 0;
  int64_t response_bytes = 0;  // of the answer's tensors
  size_t loss_index = 0;       // in AllLosses()
  Backend* backend = nullptr;
  BackendChooser::Load load;   // of the backend
  BufferPool* pool = nullptr;  // of what follows

  // Where the gradients shall be written, in their order, each aligned to 64
  // bytes and of the gradient's length; empty: in memory of the pool.
  std::vector<AlignedBuffer> gradient_memory;

  // After Engine::Run: the answer, or what the kernel found wrong with the
  // values.
  Result result;
  Violations violations;
  size_t device = 0;       // that computed it, of the backend's
  absl::Duration copying;  // to and from the device; 0: nothing was

  // What the kernels read and write.
  Job job;
  // The gradients of each element of the loss, in double, with respect to
  // tensors that broadcast: of which slot, and where in result.gradients.
  struct WideGradient {
    int slot;
    size_t position;
    OwnedTensor value;
  };
  std::vector<WideGradient> wide_gradients;
  AlignedBuffer unit_sums;  // of doubles
};

// Checks evaluations, gives them to a backend, and makes their answers. A
// result depends on the evaluation, the device class and kNumericsVersion, and
// on nothing else. Thread-safe.
class Engine {
 public:
  static constexpr int64_t kMaxIdleBytes = int64_t{512} << 20;

  // `default_device` is that of an evaluation that names none. Memory of
  // results is kept for the next ones, up to `max_idle_bytes`. `clock` is
  // borrowed.
  Engine(const EngineLimits& limits,
         std::vector<std::unique_ptr<Backend>> backends,
         DeviceClass default_device, int64_t max_idle_bytes = kMaxIdleBytes,
         const Clock* clock = Clock::Real());

  // Checks everything but the ranges of floating values: dtypes, shapes,
  // limits, parameters, options, and whatever is used as an index. Returns a
  // task, or null after adding to `violations` what is wrong, all of it.
  // Allocates nothing that the request could make large. Cost: reads targets
  // and masks once.
  std::unique_ptr<Task> Prepare(Evaluation evaluation,
                                Violations* violations) const;
  // The same within other limits.
  std::unique_ptr<Task> Prepare(Evaluation evaluation,
                                const EngineLimits& limits,
                                Violations* violations) const;

  // Fills in what is known of a task before it is computed: how many elements
  // there are and, where its tensors have the data for it, what the mean is
  // divided by and how many are ignored.
  void Describe(Task* task) const;

  // Computes the tasks, none of them validate_only, which share a backend, and
  // fills in result or violations of each, and device and copying. No task
  // shows in another's result. They stay until Run returns.
  // `done` is called once for each task, with its position, as soon as it is
  // ready: on any thread, and for several tasks at a time.
  void Run(
      absl::Span<Task* const> tasks,
      absl::FunctionRef<void(size_t)> done = [](size_t) {}) const;

  absl::Span<const std::unique_ptr<Backend>> backends() const {
    return backends_;
  }
  // The position there of one of them.
  size_t IndexOf(const Backend* backend) const;
  DeviceClass default_device() const { return default_device_; }
  // Whether evaluations that name no device can be computed: false once every
  // device of the class has failed.
  bool ServesDefault() const;
  const EngineLimits& limits() const { return limits_; }
  // The memory of results; callers can put tensors there, too.
  BufferPool& pool() const { return *pool_; }

 private:
  // The first backend of the evaluation's device class.
  Backend* FindBackend(const Evaluation& evaluation,
                       Violations* violations) const;
  DeviceClass DeviceOf(const Evaluation& evaluation) const;
  // That of the default device class, or one that serves if it does not.
  Backend* BackendOfDefault() const;
  // Decides on a backend where that is open.
  void AssignBackend(Task* task) const;
  // The tasks were computed in that time.
  void RecordPace(absl::Span<Task* const> tasks, absl::Duration elapsed) const;

  EngineLimits limits_;
  std::vector<std::unique_ptr<Backend>> backends_;
  DeviceClass default_device_;
  const Clock* clock_;
  // Null where there is nothing to choose.
  std::unique_ptr<BackendChooser> chooser_;
  std::unique_ptr<BufferPool> pool_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_ENGINE_H_
