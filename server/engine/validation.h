// SPDX-License-Identifier: Apache-2.0
//
// The checks of an evaluation that need no floating value. Each adds to
// `violations` everything that it finds wrong.

#ifndef LOSSD_SERVER_ENGINE_VALIDATION_H_
#define LOSSD_SERVER_ENGINE_VALIDATION_H_

#include "absl/container/inlined_vector.h"

#include "server/engine/engine.h"

namespace lossd {

// Presence, dtypes and sizes of the tensors.
void CheckTensors(const Evaluation& evaluation, const EngineLimits& limits,
                  Violations* violations);

// The ranges of the parameters.
void CheckParameters(const Evaluation& evaluation, Violations* violations);

// reduction, normalizer, outputs, wrt and gradient_dtype, and the dtype of
// grad_output.
void CheckOptions(const Evaluation& evaluation, Violations* violations);

// The shape of grad_output, which follows from the loss's.
void CheckGradOutput(const Evaluation& evaluation, const Geometry& geometry,
                     Violations* violations);

// Elementwise losses and rows against the limit of elements: tensors that
// broadcast can have far more of the former than any of them has elements, and
// where rows are empty there can be more of them than an int64_t of bytes
// counts.
void CheckElements(int64_t elements, int64_t units, const EngineLimits& limits,
                   Violations* violations);

// Operations, answer and scratch against the limits.
void CheckCost(const Cost& cost, int64_t response_bytes,
               const EngineLimits& limits, Violations* violations);

// Slots of tensors.
using SlotList = absl::InlinedVector<int, kMaxTensors>;

// The slots that the gradients are asked for, in their order. Names that are
// not slots are left out.
SlotList GradientSlots(const Evaluation& evaluation);

// The slots of the gradients that the answer has, in their order: none if the
// outputs do not ask for them.
SlotList WantedGradients(const Evaluation& evaluation);

// Bytes of the gradient of the tensor in `slot`.
int64_t GradientBytes(const Evaluation& evaluation, int slot);

// Whether the tensor in `slot`, as it was sent, has a gradient.
bool IsDifferentiable(const Evaluation& evaluation, int slot);

// Scans the tensors whose slots are in `outside_domain` for what a kernel
// found: the first value outside its tensor's domain, and how many there are.
void DescribeDomainViolations(const Evaluation& evaluation,
                              uint32_t outside_domain, Violations* violations);

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_VALIDATION_H_
