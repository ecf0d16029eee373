// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_VERSION_H_
#define LOSSD_SERVER_RPC_VERSION_H_

#include "absl/strings/string_view.h"

namespace lossd {

// The version of this build, such as "0.1.0".
absl::string_view ServerVersion();

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_VERSION_H_
