// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/portable_engine.h"

#include <utility>
#include <vector>

#include "server/engine/cpu_backend.h"

namespace lossd {

std::unique_ptr<Engine> PortableEngine() {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(MakeCpuBackend(1, "PORTABLE").value());
  return std::make_unique<Engine>(EngineLimits(), std::move(backends),
                                  DeviceClass::kCpu);
}

std::unique_ptr<Task> RunOn(const Engine& engine,
                            const Evaluation& evaluation) {
  Violations violations;
  std::unique_ptr<Task> task = engine.Prepare(evaluation, &violations);
  if (task == nullptr) return nullptr;
  Task* const tasks[] = {task.get()};
  engine.Run(tasks);
  return task;
}

}  // namespace lossd
