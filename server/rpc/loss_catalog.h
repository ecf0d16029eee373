// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_LOSS_CATALOG_H_
#define LOSSD_SERVER_RPC_LOSS_CATALOG_H_

#include "absl/types/span.h"
#include "lossd/v1/loss_service.pb.h"
#include "server/engine/evaluation.h"
#include "server/rpc/wire_binding.h"

namespace lossd {

// What ListLosses answers: every loss as its schema describes it, all of them
// on each of `devices`.
v1::ListLossesResponse DescribeLosses(const WireBinding& binding,
                                      absl::Span<const DeviceClass> devices);

// The dtypes that a rule allows.
absl::Span<const v1::Dtype> AllowedDtypes(DtypeRule rule);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_LOSS_CATALOG_H_
