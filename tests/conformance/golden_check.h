// SPDX-License-Identifier: Apache-2.0
//
// Whether a backend answers as PyTorch does.

#ifndef LOSSD_TESTS_CONFORMANCE_GOLDEN_CHECK_H_
#define LOSSD_TESTS_CONFORMANCE_GOLDEN_CHECK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/engine/engine.h"

namespace lossd {

// Every loss, as names of test parameters.
std::vector<std::string> LossNames();

// Fails the test where a golden vector of the loss, through the engine and its
// default device, is not within assert_close's tolerance. Records how many
// there are as the properties `cases` and `passed`.
void CheckGoldenCases(const std::string& loss, const Engine& engine);

// Fails the test where two backends' answers to one evaluation differ by more
// than assert_close's tolerance, or in what they noticed; the counts of
// gradients that vanished by more than `underflow`.
void ExpectSameAnswer(const Result& actual, const Result& expected,
                      int64_t underflow = 0);

}  // namespace lossd

#endif  // LOSSD_TESTS_CONFORMANCE_GOLDEN_CHECK_H_
