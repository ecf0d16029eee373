// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_UNKNOWN_FIELDS_H_
#define LOSSD_SERVER_RPC_UNKNOWN_FIELDS_H_

#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "server/losses/violations.h"

namespace lossd {

// Adds a violation for each unknown field of a request and of every message in
// it, except in lossd.v1.CallHints. `version` is the server's. After
// Violations::kKept of them it looks no further.
void FindUnknownFields(const google::protobuf::Message& request,
                       absl::string_view version, Violations* violations);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_UNKNOWN_FIELDS_H_
