// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/region_protocol.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/string_view.h"

namespace lossd {
namespace {

constexpr absl::string_view kMagic = "lossdshm";

template <typename Number>
Number Get(const uint8_t* from) {
  Number value = 0;
  for (size_t i = 0; i < sizeof(Number); ++i) {
    value |= static_cast<Number>(from[i]) << (8 * i);
  }
  return value;
}

template <typename Number>
void Put(Number value, uint8_t* to) {
  for (size_t i = 0; i < sizeof(Number); ++i) {
    to[i] = static_cast<uint8_t>(value >> (8 * i));
  }
}

}  // namespace

RegionRequest ParseRegionRequest(const RegionRequestBytes& wire) {
  const auto version = Get<uint32_t>(&wire[8]);
  const auto reserved = Get<uint32_t>(&wire[12]);
  const auto bytes = Get<uint64_t>(&wire[16]);
  if (!std::equal(kMagic.begin(), kMagic.end(), wire.begin())) {
    return {.status = RegionStatus::kMalformed};
  }
  if (version != kRegionProtocolVersion) {
    return {.status = RegionStatus::kUnsupportedVersion};
  }
  if (reserved != 0) return {.status = RegionStatus::kMalformed};
  if (bytes == 0 || bytes > static_cast<uint64_t>(INT64_MAX)) {
    return {.status = RegionStatus::kOutOfRange};
  }
  return {.bytes = static_cast<int64_t>(bytes)};
}

RegionAnswerBytes WriteRegionAnswer(const SharedRegion& region) {
  RegionAnswerBytes wire = WriteRegionRefusal(RegionStatus::kOk, region.size());
  std::copy(region.token().begin(), region.token().end(), &wire[24]);
  return wire;
}

RegionAnswerBytes WriteRegionRefusal(RegionStatus status, int64_t bytes) {
  RegionAnswerBytes wire = {};
  std::copy(kMagic.begin(), kMagic.end(), wire.begin());
  Put(kRegionProtocolVersion, &wire[8]);
  Put(static_cast<uint32_t>(status), &wire[12]);
  Put(static_cast<uint64_t>(bytes), &wire[16]);
  return wire;
}

}  // namespace lossd
