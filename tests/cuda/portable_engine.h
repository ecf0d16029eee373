// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_CUDA_PORTABLE_ENGINE_H_
#define LOSSD_TESTS_CUDA_PORTABLE_ENGINE_H_

#include <memory>

#include "server/engine/engine.h"

namespace lossd {

// What CUDA's answers are compared with: an engine on the CPU's portable
// kernels.
std::unique_ptr<Engine> PortableEngine();

// The evaluation's task, after it has run; null where it is refused.
std::unique_ptr<Task> RunOn(const Engine& engine, const Evaluation& evaluation);

}  // namespace lossd

#endif  // LOSSD_TESTS_CUDA_PORTABLE_ENGINE_H_
