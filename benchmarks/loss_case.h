// SPDX-License-Identifier: Apache-2.0
//
// Evaluations to measure, made from a loss's schema: a loss that is in
// AllLosses() is measured.

#ifndef LOSSD_BENCHMARKS_LOSS_CASE_H_
#define LOSSD_BENCHMARKS_LOSS_CASE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/base/aligned_buffer.h"
#include "server/engine/evaluation.h"
#include "server/losses/loss.h"

namespace lossd {

// An evaluation and the memory that its tensors point to. Movable.
struct LossCase {
  Evaluation evaluation;
  std::vector<AlignedBuffer> memory;
};

// An evaluation in float32 whose leading tensor has this shape, with the
// tensors that the loss requires, class targets as int64, and the mean. The
// values are in the loss's domain, and the same on every machine.
LossCase MakeLossCase(const LossDefinition& loss, const Shape& shape);

// The shapes of the leading tensor that the kernels are measured with, the
// smallest first; one of each loss has 2^20 elements.
std::vector<Shape> MeasuredShapes(const LossDefinition& loss);

// As in "32x1000".
std::string ShapeText(const Shape& shape);
std::optional<Shape> ParseShape(absl::string_view text);

// What must move through memory at the least: each tensor read once and, with
// `gradient`, each default gradient written once.
int64_t LeastBytes(const Evaluation& evaluation, bool gradient);

}  // namespace lossd

#endif  // LOSSD_BENCHMARKS_LOSS_CASE_H_
