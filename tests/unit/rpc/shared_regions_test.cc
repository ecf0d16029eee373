// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/shared_regions.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "server/rpc/region_protocol.h"

namespace lossd {
namespace {

constexpr int64_t kPage = 4096;

std::string TokenOf(const SharedRegion& region) {
  return std::string(region.token().begin(), region.token().end());
}

TEST(SharedRegionsTest, ARegionIsWholePagesOfZerosThatNobodyCanResize) {
  SharedRegions regions(8 * kPage);
  const auto region = regions.Make(kPage + 1);
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ((*region)->size(), 2 * kPage);
  for (int64_t i = 0; i < 2 * kPage; ++i) ASSERT_EQ((*region)->data()[i], 0);
  const int fd = (*region)->descriptor();
  EXPECT_NE(ftruncate(fd, kPage), 0);
  EXPECT_NE(ftruncate(fd, 3 * kPage), 0);
  EXPECT_NE(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  EXPECT_EQ(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(SharedRegionsTest, TheQuotaCountsWhatAnybodyHolds) {
  SharedRegions regions(4 * kPage);
  auto first = regions.Make(3 * kPage);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(regions.used_bytes(), 3 * kPage);
  EXPECT_EQ(regions.Make(kPage + 1).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(regions.Make(kPage).ok());
  regions.Forget(**first);
  // A call may still hold it.
  EXPECT_GE(regions.used_bytes(), 3 * kPage);
  *first = nullptr;
  auto again = regions.Make(2 * kPage);
  EXPECT_TRUE(again.ok());
  for (int64_t bytes : {int64_t{0}, int64_t{-1}, 5 * kPage, INT64_MAX}) {
    EXPECT_FALSE(regions.Make(bytes).ok()) << bytes;
  }
}

TEST(SharedRegionsTest, ATokenFindsItsRegionUntilItIsForgotten) {
  SharedRegions regions(8 * kPage);
  const auto a = regions.Make(kPage).value();
  const auto b = regions.Make(kPage).value();
  EXPECT_NE(a->token(), b->token());
  EXPECT_EQ(regions.Find(TokenOf(*a)), a);
  EXPECT_EQ(regions.Find(TokenOf(*b)), b);
  EXPECT_EQ(regions.Find(TokenOf(*a).substr(1)), nullptr);
  EXPECT_EQ(regions.Find(""), nullptr);
  regions.Forget(*a);
  EXPECT_EQ(regions.Find(TokenOf(*a)), nullptr);
  EXPECT_EQ(regions.Find(TokenOf(*b)), b);
}

TEST(SharedRegionsTest, TheMemoryGoesThoughTheClientKeepsItsMapping) {
  SharedRegions regions(8 * kPage);
  auto region = regions.Make(kPage).value();
  void* mapped = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED,
                      region->descriptor(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  std::memset(mapped, 7, kPage);
  EXPECT_EQ(region->data()[kPage - 1], 7);
  regions.Forget(*region);
  region = nullptr;
  EXPECT_EQ(static_cast<uint8_t*>(mapped)[0], 0);
  munmap(mapped, kPage);
}

// A good request for `bytes`.
RegionRequestBytes Request(uint64_t bytes) {
  RegionRequestBytes wire = {'l', 'o', 's', 's', 'd', 's', 'h', 'm', 1};
  for (int i = 0; i < 8; ++i) {
    wire[16 + i] = static_cast<uint8_t>(bytes >> (8 * i));
  }
  return wire;
}

TEST(RegionProtocolTest, ARequestIsReadInLittleEndian) {
  const RegionRequest request = ParseRegionRequest(Request(0x0102030405));
  EXPECT_EQ(request.status, RegionStatus::kOk);
  EXPECT_EQ(request.bytes, 0x0102030405);
}

TEST(RegionProtocolTest, EveryWrongByteOfTheHeadIsNoticed) {
  for (size_t i = 0; i < 16; ++i) {
    RegionRequestBytes wire = Request(4096);
    wire[i] ^= 0x40;
    EXPECT_EQ(ParseRegionRequest(wire).status,
              i >= 8 && i < 12 ? RegionStatus::kUnsupportedVersion
                               : RegionStatus::kMalformed)
        << i;
  }
}

TEST(RegionProtocolTest, SizesThatCannotBeAreOutOfRange) {
  for (uint64_t bytes : {uint64_t{0}, uint64_t{1} << 63, ~uint64_t{0},
                         (uint64_t{1} << 63) + 1}) {
    EXPECT_EQ(ParseRegionRequest(Request(bytes)).status,
              RegionStatus::kOutOfRange)
        << bytes;
  }
  EXPECT_EQ(ParseRegionRequest(Request(INT64_MAX)).bytes, INT64_MAX);
}

TEST(RegionProtocolTest, AnAnswerSaysSizeAndToken) {
  SharedRegions regions(kPage * 300);
  const auto region = regions.Make(kPage * 257).value();
  const RegionAnswerBytes wire = WriteRegionAnswer(*region);
  const std::string text(wire.begin(), wire.end());
  EXPECT_EQ(text.substr(0, 16), std::string("lossdshm\1\0\0\0\0\0\0\0", 16));
  EXPECT_EQ(text.substr(16, 8), std::string("\0\x10\x10\0\0\0\0\0", 8));
  EXPECT_EQ(text.substr(24), TokenOf(*region));
}

TEST(RegionProtocolTest, ARefusalHasAStatusAndNoToken) {
  const RegionAnswerBytes wire =
      WriteRegionRefusal(RegionStatus::kQuotaExhausted, 259);
  const std::string text(wire.begin(), wire.end());
  EXPECT_EQ(text, std::string("lossdshm\1\0\0\0\4\0\0\0\3\1\0\0\0\0\0\0", 24) +
                      std::string(16, '\0'));
}

}  // namespace
}  // namespace lossd
