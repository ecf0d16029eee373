// SPDX-License-Identifier: Apache-2.0
//
// Evaluations with random tensors, made from a loss's schema.

#ifndef LOSSD_TESTS_CONFORMANCE_RANDOM_CASE_H_
#define LOSSD_TESTS_CONFORMANCE_RANDOM_CASE_H_

#include <vector>

#include "server/losses/loss.h"
#include "tests/conformance/golden_case.h"

namespace lossd {

// Evaluations of a loss in every floating dtype and in sizes on and beside the
// edges of lanes and leaves, with every tensor the loss has, every output, and
// the gradient of every tensor that has one. The same on every machine: they
// are made of integers and exact operations alone.
std::vector<GoldenCase> RandomCases(const LossDefinition& loss);

}  // namespace lossd

#endif  // LOSSD_TESTS_CONFORMANCE_RANDOM_CASE_H_
