// SPDX-License-Identifier: Apache-2.0
//
// The steps of a task around its kernels, the same whether it runs in one piece
// or in parts.

#ifndef LOSSD_SERVER_ENGINE_TASK_STEPS_H_
#define LOSSD_SERVER_ENGINE_TASK_STEPS_H_

#include "absl/functional/function_ref.h"
#include "server/engine/engine.h"

namespace lossd {

// Whether the answer shall have that part.
bool Wants(const Evaluation& evaluation, Output output);

// Whether kernels compute in lanes of float.
bool UsesFloatLanes(const Evaluation& evaluation, const Geometry& geometry,
                    double gradient_scale);

// Copies what the geometry has counted into the result.
void SetCounts(Task* task);

// Adds why a device could not compute a job; whether it could not.
bool DescribeFailure(const Job& job, Violations* violations);

// After the kernels: makes the result of the findings, the gradients and the
// sums, or the violations of what the kernels found. `total_of` gives the total
// of a UnitSum over all units in the order of their index; it is called at most
// once for each.
void FinishTask(Task* task, absl::FunctionRef<double(int)> total_of);

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_TASK_STEPS_H_
