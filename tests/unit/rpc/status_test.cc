// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/status.h"

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace lossd {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr ErrorContext kContext = {"cross_entropy", "0.1.0"};

// The details of an error.
struct Details {
  google::rpc::Status status;
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest bad_request;
  google::rpc::RetryInfo retry;
};

Details Unpack(const grpc::Status& status) {
  Details details;
  EXPECT_TRUE(details.status.ParseFromString(status.error_details()));
  EXPECT_EQ(details.status.code(), status.error_code());
  EXPECT_EQ(details.status.message(), status.error_message());
  for (const auto& any : details.status.details()) {
    EXPECT_TRUE(any.UnpackTo(&details.info) ||
                any.UnpackTo(&details.bad_request) ||
                any.UnpackTo(&details.retry));
  }
  return details;
}

// Bytes of the two trailers at most: each byte of the message takes three, and
// the details are base64.
size_t TrailerBytes(const grpc::Status& status) {
  size_t bytes = absl::Base64Escape(status.error_details()).size();
  for (char c : status.error_message()) bytes += c >= ' ' && c <= '~' ? 1 : 3;
  return bytes;
}

TEST(StatusTest, OneViolationIsTheMessage) {
  Violations violations;
  violations.AddMetadata("limit", "16");
  violations.Add(Reason::kTensorMissing, "evaluation.cross_entropy.target",
                 "target is missing: cross_entropy needs it.");
  const grpc::Status status = ViolationsStatus(violations, kContext);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(),
            "target is missing: cross_entropy needs it.");
  const Details details = Unpack(status);
  EXPECT_EQ(details.info.reason(), "TENSOR_MISSING");
  EXPECT_EQ(details.info.domain(), "lossd.dev");
  EXPECT_EQ(details.info.metadata().at("loss"), "cross_entropy");
  EXPECT_EQ(details.info.metadata().at("version"), "0.1.0");
  EXPECT_EQ(details.info.metadata().at("limit"), "16");
  EXPECT_EQ(details.info.metadata().count("violations"), 0);
  ASSERT_EQ(details.bad_request.field_violations_size(), 1);
  EXPECT_EQ(details.bad_request.field_violations(0).field(),
            "evaluation.cross_entropy.target");
  EXPECT_EQ(details.bad_request.field_violations(0).description(),
            "[TENSOR_MISSING] target is missing: cross_entropy needs it.");
}

TEST(StatusTest, MoreViolationsAreCounted) {
  Violations violations;
  violations.Add(Reason::kShapeMismatch, "a", "first");
  violations.Add(Reason::kDtypeMismatch, "b", "second");
  violations.Add(Reason::kDtypeMismatch, "c", "third");
  const grpc::Status status = ViolationsStatus(violations, kContext);
  EXPECT_EQ(status.error_message(), "first (and 2 more)");
  const Details details = Unpack(status);
  EXPECT_EQ(details.info.reason(), "SHAPE_MISMATCH");
  EXPECT_EQ(details.info.metadata().at("violations"), "3");
  EXPECT_EQ(details.bad_request.field_violations_size(), 3);
}

TEST(StatusTest, UnknownFieldsAndAbsentDevicesAreFailedPreconditions) {
  for (Reason reason : {Reason::kUnknownField, Reason::kDeviceUnavailable}) {
    Violations violations;
    violations.Add(reason, "", "no");
    EXPECT_EQ(ViolationsStatus(violations, kContext).error_code(),
              grpc::StatusCode::FAILED_PRECONDITION);
  }
}

TEST(StatusTest, TenThousandViolationsFitIntoTheTrailers) {
  Violations violations;
  for (int i = 0; i < 10000; ++i) {
    violations.Add(
        Reason::kTargetOutOfRange, "evaluation.cross_entropy.target",
        absl::StrCat("target[", i,
                     "] = 7 is outside [0, 5): input of shape "
                     "[10000, 5] has C = 5 classes. For binary labels with one "
                     "logit use binary_cross_entropy_with_logits, or send "
                     "logits of shape [10000, 2]."));
  }
  const grpc::Status status = ViolationsStatus(violations, kContext);
  EXPECT_LE(TrailerBytes(status), kMaxTrailerBytes);
  EXPECT_THAT(status.error_message(), StartsWith("target[0] = 7 is outside"));
  EXPECT_THAT(status.error_message(), EndsWith(" (and 9999 more)"));
  const Details details = Unpack(status);
  EXPECT_EQ(details.info.metadata().at("violations"), "10000");
  EXPECT_GE(details.bad_request.field_violations_size(), 8);
}

TEST(StatusTest, HugeTextsAreCutAtACharacter) {
  for (int length : {100, 1000, 5000, 100000}) {
    Violations violations;
    std::string text;
    while (text.size() < static_cast<size_t>(length)) text += "\u00e9";
    for (int i = 0; i < 16; ++i) {
      violations.Add(Reason::kOptionInvalid, text, text);
      violations.AddMetadata(absl::StrCat("key", i % 2), text);
    }
    const grpc::Status status = ViolationsStatus(violations, kContext);
    EXPECT_LE(TrailerBytes(status), kMaxTrailerBytes) << length;
    const Details details = Unpack(status);
    EXPECT_GE(details.bad_request.field_violations_size(), 1) << length;
    for (const auto& violation : details.bad_request.field_violations()) {
      EXPECT_THAT(violation.description(), StartsWith("[OPTION_INVALID] "));
    }
  }
}

TEST(StatusTest, RetriesAreToldTheirDelay) {
  const grpc::Status status =
      ReasonStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, Reason::kQueueFull,
                   "the queue is full", absl::Milliseconds(1500), kContext);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  const Details details = Unpack(status);
  EXPECT_EQ(details.info.reason(), "QUEUE_FULL");
  EXPECT_EQ(details.retry.retry_delay().seconds(), 1);
  EXPECT_EQ(details.retry.retry_delay().nanos(), 500000000);
}

TEST(StatusTest, WithoutADelayThereIsNoRetryInfo) {
  const grpc::Status status = ReasonStatus(
      grpc::StatusCode::DEADLINE_EXCEEDED, Reason::kDeadlineExceeded,
      "too late", absl::ZeroDuration(), {"", "0.1.0"});
  const Details details = Unpack(status);
  EXPECT_EQ(details.status.details_size(), 1);
  EXPECT_EQ(details.info.metadata().count("loss"), 0);
}

TEST(StatusTest, EveryReasonHasAName) {
  for (int number = 1; number <= static_cast<int>(kLastReason); ++number) {
    EXPECT_FALSE(ReasonName(static_cast<Reason>(number)).empty()) << number;
  }
  EXPECT_EQ(ReasonName(Reason::kInternal), "INTERNAL");
}

}  // namespace
}  // namespace lossd
