// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_INTEGRATION_GOLDEN_REQUEST_H_
#define LOSSD_TESTS_INTEGRATION_GOLDEN_REQUEST_H_

#include "lossd/v1/loss_service.pb.h"
#include "tests/conformance/golden_case.h"

namespace lossd {

// The request that stands for a golden case on the wire.
v1::ComputeGradientRequest RequestOf(const GoldenCase& golden);

}  // namespace lossd

#endif  // LOSSD_TESTS_INTEGRATION_GOLDEN_REQUEST_H_
