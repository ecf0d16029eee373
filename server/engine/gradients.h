// SPDX-License-Identifier: Apache-2.0
//
// What the engine does for gradients around the kernels: where they go, what
// they are multiplied by, and the sums of those of tensors that broadcast.

#ifndef LOSSD_SERVER_ENGINE_GRADIENTS_H_
#define LOSSD_SERVER_ENGINE_GRADIENTS_H_

#include <cstdint>

#include "server/engine/engine.h"

namespace lossd {

// The mean is asked for: of the loss's own denominator, of the batch's size, or
// of the normalizer.
bool IsMean(const Evaluation& evaluation);

// What divides the mean without a normalizer; the one with it.
double NaturalDenominator(const Evaluation& evaluation,
                          const Geometry& geometry);
double DenominatorOf(const Evaluation& evaluation, const Geometry& geometry);

// Bytes of the gradients that a kernel writes in full because their tensors
// broadcast.
double WideGradientBytes(const Evaluation& evaluation,
                         const Geometry& geometry);

// A gradient is wanted with respect to what the mean is divided by, so that the
// mean itself must be known first.
bool GradientNeedsMean(const Evaluation& evaluation, const Geometry& geometry);

// What multiplies the gradient of each elementwise loss, besides a grad_output
// that is not a scalar.
double GradientScale(const Evaluation& evaluation, const Geometry& geometry);

// Allocates the gradients that are wanted, and sets their scale.
void SetUpGradients(Task* task);

// After the kernels: sums the gradients of tensors that broadcast.
void FinishGradients(Task* task);

}  // namespace lossd

#endif  // LOSSD_SERVER_ENGINE_GRADIENTS_H_
