// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_SHARED_REQUEST_H_
#define LOSSD_CLIENT_CLI_SHARED_REQUEST_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lossd/shared_memory.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd::cli {

// Moves every tensor of `request`, an evaluation of the loss that `descriptor`
// describes, into memory that the server shares at `address`, and asks for its
// gradients there. Errors as SharedMemory::Open().
absl::StatusOr<SharedMemory> ShareTensors(absl::string_view address,
                                          const v1::LossDescriptor& descriptor,
                                          v1::ComputeGradientRequest& request);

// The same without gradients.
absl::StatusOr<SharedMemory> ShareTensors(absl::string_view address,
                                          v1::ComputeLossRequest& request);

// Replaces the gradients that are in `memory` by their elements.
void FetchGradients(const SharedMemory& memory, v1::Result& result);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_SHARED_REQUEST_H_
