// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CPP_OPEN_STREAM_H_
#define LOSSD_CLIENT_CPP_OPEN_STREAM_H_

#include <cstdint>
#include <memory>

#include "lossd/client.h"
#include "lossd/evaluation_stream.h"
#include "lossd/v1/loss_service.grpc.pb.h"

namespace lossd {

// Start the calls StreamLoss and StreamGradient. `stub` stays alive with the
// stream.
std::unique_ptr<LossStream> OpenLossStream(
    std::shared_ptr<v1::LossService::Stub> stub, int64_t max_message_bytes,
    const CallOptions& options);
std::unique_ptr<GradientStream> OpenGradientStream(
    std::shared_ptr<v1::LossService::Stub> stub, int64_t max_message_bytes,
    const CallOptions& options);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_OPEN_STREAM_H_
