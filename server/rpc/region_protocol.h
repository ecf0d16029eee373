// SPDX-License-Identifier: Apache-2.0
//
// What a client and the server say on the connection that hands out a region of
// shared memory: docs/shared_memory.md has it in full. Pure functions.

#ifndef LOSSD_SERVER_RPC_REGION_PROTOCOL_H_
#define LOSSD_SERVER_RPC_REGION_PROTOCOL_H_

#include <array>
#include <cstdint>

#include "server/rpc/shared_regions.h"

namespace lossd {

inline constexpr uint32_t kRegionProtocolVersion = 1;

using RegionRequestBytes = std::array<uint8_t, 24>;
using RegionAnswerBytes = std::array<uint8_t, 40>;

// The numbers are those of the wire.
enum class RegionStatus : uint32_t {
  kOk = 0,
  kMalformed = 1,           // the request is none
  kUnsupportedVersion = 2,  // the answer says which version the server has
  kOutOfRange = 3,          // the size is 0, or more than there can ever be
  kQuotaExhausted = 4,      // not now: others have the memory
  kNotAllowed = 5,          // not for this user
  kTooManyConnections = 6,
  kInternal = 7,
};

struct RegionRequest {
  RegionStatus status = RegionStatus::kOk;  // what is wrong with it
  int64_t bytes = 0;
};

RegionRequest ParseRegionRequest(const RegionRequestBytes& wire);

// The answer that hands out `region`, whose descriptor goes with it.
RegionAnswerBytes WriteRegionAnswer(const SharedRegion& region);

// The answer that says no; `bytes` is what could be asked for, if that is
// known.
RegionAnswerBytes WriteRegionRefusal(RegionStatus status, int64_t bytes);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_REGION_PROTOCOL_H_
