// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CPP_ROW_STREAM_H_
#define LOSSD_CLIENT_CPP_ROW_STREAM_H_

#include <grpcpp/client_context.h>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lossd/rows.h"
#include "lossd/v1/loss_service.grpc.pb.h"

namespace lossd {

// Makes the call StreamRows: writes the head and the rows of `tensors` on a
// thread of its own, and reads the gradients meanwhile. INVALID_ARGUMENT,
// before anything is sent, if the lengths do not fit the head.
absl::StatusOr<v1::ComputeGradientResponse> RunRowStream(
    v1::LossService::Stub& stub, grpc::ClientContext& context,
    v1::StreamRowsRequest head, absl::Span<const StreamedTensor> tensors,
    absl::Span<const StreamedGradient> gradients);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_ROW_STREAM_H_
