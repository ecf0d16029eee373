// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_DESCRIBE_H_
#define LOSSD_CLIENT_CLI_DESCRIBE_H_

#include <string>

#include "absl/strings/string_view.h"
#include "lossd/v1/loss_service.pb.h"

// Pages about losses and servers. Pure.

namespace lossd::cli {

// One line for each loss.
std::string LossTable(const v1::ListLossesResponse& losses);

// All that a server says of a loss.
std::string LossPage(const v1::LossDescriptor& loss);

// The tensors and parameters of a loss as flags, with defaults.
std::string FlagsPage(const v1::LossDescriptor& loss);

// The descriptor of a loss as far as its message tells, for when no server
// answers: the names of its tensors, and the names and types of its parameters.
// `name` must be a loss.
v1::LossDescriptor DescriptorFromMessage(absl::string_view name);

// Version, devices, limits and batching of a server.
std::string InfoPage(const v1::GetServerInfoResponse& info);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_DESCRIBE_H_
