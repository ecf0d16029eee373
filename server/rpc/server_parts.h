// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_SERVER_PARTS_H_
#define LOSSD_SERVER_RPC_SERVER_PARTS_H_

#include "server/base/clock.h"
#include "server/config/settings.h"
#include "server/engine/engine.h"
#include "server/telemetry/log.h"
#include "server/telemetry/metrics.h"

namespace lossd {

// What a server is given. Borrowed: all of it outlives the server.
struct ServerParts {
  const Settings* settings = nullptr;
  const Engine* engine = nullptr;
  const Clock* clock = nullptr;
  MetricFactory* metrics = nullptr;
  Log* log = nullptr;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_SERVER_PARTS_H_
