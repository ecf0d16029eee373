// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/version.h"

namespace lossd {

absl::string_view ServerVersion() { return LOSSD_VERSION; }

}  // namespace lossd
