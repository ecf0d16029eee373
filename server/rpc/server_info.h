// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_SERVER_INFO_H_
#define LOSSD_SERVER_RPC_SERVER_INFO_H_

#include "lossd/v1/loss_service.pb.h"
#include "server/config/settings.h"
#include "server/engine/engine.h"
#include "server/rpc/answer_writer.h"

namespace lossd {

// What GetServerInfo answers.
v1::GetServerInfoResponse DescribeServer(const Settings& settings,
                                         const Engine& engine,
                                         const ServerIdentity& identity);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_SERVER_INFO_H_
