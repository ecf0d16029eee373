// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_CONFIG_ENVIRONMENT_H_
#define LOSSD_SERVER_CONFIG_ENVIRONMENT_H_

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "server/config/option_table.h"

namespace lossd {

// The settings among the variables of `environment`, which has the form of
// environ. A variable that begins with LOSSD_ and is no setting is a problem,
// unless IsServiceLink(); so are an alias and its option when they differ.
Given ReadEnvironment(const char* const* environment,
                      absl::Span<const OptionRow> rows);

// Whether this is a variable that Kubernetes puts into every container of a
// namespace for a Service whose name begins with "lossd", such as
// LOSSD_SERVICE_HOST, LOSSD_PORT=tcp://10.0.0.1:50051 or
// LOSSD_PORT_50051_TCP_ADDR.
bool IsServiceLink(absl::string_view name, absl::string_view value);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_ENVIRONMENT_H_
