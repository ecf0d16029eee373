// SPDX-License-Identifier: Apache-2.0
#include "lossd/error.h"

#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include "tests/unit/client/fake_loss_service.h"

namespace lossd {
namespace {

TEST(ErrorTest, OkStaysOk) {
  EXPECT_TRUE(ToAbslStatus(grpc::Status::OK).ok());
  EXPECT_TRUE(GetErrorDetails(absl::OkStatus()).reason.empty());
}

TEST(ErrorTest, EveryCodeKeepsItsMeaning) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status status = ToAbslStatus(
        grpc::Status(static_cast<grpc::StatusCode>(code), "message"));
    EXPECT_EQ(static_cast<int>(status.code()), code);
    EXPECT_EQ(status.message(), "message");
  }
}

TEST(ErrorTest, AnErrorWithoutDetailsHasNone) {
  const ErrorDetails details =
      GetErrorDetails(absl::UnavailableError("no connection"));
  EXPECT_TRUE(details.reason.empty());
  EXPECT_TRUE(details.violations.empty());
  EXPECT_FALSE(details.retry_delay.has_value());
}

TEST(ErrorTest, DetailsThatCannotBeParsedAreLeftOut) {
  for (const char* garbage : {"\xff\xff\xff", "\x1a\x05zzzzz", "plain text"}) {
    const ErrorDetails details = GetErrorDetails(
        ToAbslStatus(grpc::Status(grpc::INTERNAL, "message", garbage)));
    EXPECT_TRUE(details.reason.empty());
    EXPECT_TRUE(details.violations.empty());
  }
}

TEST(ErrorTest, TruncatedDetailsNeverCrash) {
  const std::string whole =
      DetailedStatus(grpc::INVALID_ARGUMENT, "m", "REASON",
                     {{"field", "description"}, {"other", "wrong"}},
                     {{"limit", "1"}}, 20)
          .error_details();
  for (size_t size = 0; size <= whole.size(); ++size) {
    const ErrorDetails details = GetErrorDetails(ToAbslStatus(
        grpc::Status(grpc::INVALID_ARGUMENT, "m", whole.substr(0, size))));
    if (size == whole.size()) {
      EXPECT_EQ(details.reason, "REASON");
    }
  }
}

}  // namespace
}  // namespace lossd
