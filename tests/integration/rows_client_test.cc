// SPDX-License-Identifier: Apache-2.0
//
// The client library's ComputeRows against a lossd of its own process.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lossd/client.h"
#include "lossd/error.h"
#include "lossd/rows.h"
#include "tests/integration/child_process.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

std::vector<float> Ramp(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i * 37 % 1009) / 100.0f - 5.0f;
  }
  return values;
}

v1::RowsHead CrossEntropy(int64_t rows, int64_t classes,
                          const std::vector<int64_t>& targets) {
  v1::RowsHead head;
  auto* loss =
      head.mutable_gradient()->mutable_evaluation()->mutable_cross_entropy();
  *loss->mutable_target() = MakeTensor(targets, {rows});
  *loss->mutable_input() = DeclareTensor<float>({rows, classes});
  return head;
}

class RowsClientTest : public testing::Test {
 protected:
  LossdProcess lossd_;
  const Client client_{lossd_.listen()};
};

TEST_F(RowsClientTest, AnswersWithTheBitsOfTheUnaryCall) {
  // Several chunks, the last of which is shorter.
  constexpr int64_t kRows = 1003;
  constexpr int64_t kClasses = 1000;
  const std::vector<float> logits = Ramp(kRows * kClasses);
  const std::vector<int64_t> targets(kRows, 17);
  const v1::RowsHead head = CrossEntropy(kRows, kClasses, targets);
  std::vector<float> gradient(logits.size());
  const auto rows = client_.ComputeRows(
      head, {StreamFrom<float>("input", logits)},
      {StreamInto<float>("input", absl::MakeSpan(gradient))});
  ASSERT_TRUE(rows.ok()) << rows.status();

  v1::ComputeGradientRequest whole = head.gradient();
  *whole.mutable_evaluation()->mutable_cross_entropy()->mutable_input() =
      MakeTensor(logits, {kRows, kClasses});
  const auto unary = client_.ComputeGradient(whole);
  ASSERT_TRUE(unary.ok()) << unary.status();
  const auto expected =
      CopyTensor<float>(unary->result().gradients(0).value()).value();
  EXPECT_EQ(gradient, expected);
  v1::Result result = unary->result();
  result.clear_gradients();
  EXPECT_EQ(rows->result().SerializeAsString(), result.SerializeAsString());
}

TEST_F(RowsClientTest, TheServersErrorsComeWithTheirDetails) {
  const std::vector<float> logits = Ramp(int64_t{3000} * 1000);
  std::vector<int64_t> targets(3000, 17);
  targets[1] = 1000;
  const auto rows = client_.ComputeRows(CrossEntropy(3000, 1000, targets),
                                        {StreamFrom<float>("input", logits)});
  EXPECT_EQ(rows.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetErrorDetails(rows.status()).reason, "TARGET_OUT_OF_RANGE");
}

TEST_F(RowsClientTest, LengthsAreComparedWithTheHeadFirst) {
  const std::vector<float> logits = Ramp(29);
  const v1::RowsHead head = CrossEntropy(3, 10, {1, 2, 3});
  EXPECT_THAT(
      client_.ComputeRows(head, {StreamFrom<float>("input", logits)})
          .status()
          .message(),
      HasSubstr("input has 116 bytes, but its dtype and shape in the head need "
                "120"));
  EXPECT_THAT(client_.ComputeRows(head, {StreamFrom<float>("inputs", logits)})
                  .status()
                  .message(),
              HasSubstr("inputs is not in the head"));
  EXPECT_THAT(client_.ComputeRows(head, {}).status().message(),
              HasSubstr("nothing is streamed"));
}

TEST_F(RowsClientTest, MemoryOfAnotherLengthIsAnError) {
  const std::vector<float> logits = Ramp(30);
  for (size_t size : {29, 31}) {
    std::vector<float> gradient(size);
    const auto rows = client_.ComputeRows(
        CrossEntropy(3, 10, {1, 2, 3}), {StreamFrom<float>("input", logits)},
        {StreamInto<float>("input", absl::MakeSpan(gradient))});
    EXPECT_EQ(rows.status().code(), absl::StatusCode::kInvalidArgument) << size;
  }
}

TEST_F(RowsClientTest, TheServerHoldsFewChunksOfWhatIsStreamed) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need memory of their own";
  constexpr int64_t kRows = 4096;
  constexpr int64_t kClasses = 32768;
  const std::vector<float> logits = Ramp(kRows * kClasses);  // 512 MiB
  std::vector<float> gradient(logits.size());
  ASSERT_TRUE(client_.ListLosses().ok());
  const int64_t idle = lossd_.process().PeakResidentBytes();
  CallOptions options;
  options.timeout = absl::Seconds(50);
  const auto rows = client_.ComputeRows(
      CrossEntropy(kRows, kClasses, std::vector<int64_t>(kRows, 17)),
      {StreamFrom<float>("input", logits)},
      {StreamInto<float>("input", absl::MakeSpan(gradient))}, options);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_NE(gradient.back(), 0);
  const int64_t peak = lossd_.process().PeakResidentBytes();
  RecordProperty("above_idle_kib", static_cast<int>((peak - idle) >> 10));
  EXPECT_GT(idle, 0);
  EXPECT_LT(peak - idle, int64_t{64} << 20);
}

}  // namespace
}  // namespace lossd
