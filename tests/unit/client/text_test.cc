// SPDX-License-Identifier: Apache-2.0
#include "client/cli/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "client/cli/explain.h"
#include "client/cli/json.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> Numbers(int count) {
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) texts.push_back(absl::StrCat(i));
  return texts;
}

TEST(TextTest, NestedListsHaveAlignedColumns) {
  EXPECT_EQ(FormatNested({{"1", "-2.5", "3", "40"}}, {2, 2}, false),
            "[[   1, -2.5],\n [   3,   40]]");
  EXPECT_EQ(FormatNested({{"7"}}, {}, false), "7");
  EXPECT_EQ(FormatNested({}, {0}, false), "[]");
  EXPECT_EQ(FormatNested({}, {2, 0}, false), "[[],\n []]");
}

TEST(TextTest, LongTensorsAreElidedUnlessFull) {
  const std::vector<std::string> numbers = Numbers(1001);
  EXPECT_EQ(FormatNested(numbers, {1001}, false),
            "[   0,    1,    2, ...,  998,  999, 1000]");
  EXPECT_THAT(FormatNested(numbers, {1001}, true), HasSubstr("500"));
  EXPECT_THAT(FormatNested(numbers, {1001}, true), Not(HasSubstr("...")));
  EXPECT_THAT(FormatNested(Numbers(1000), {1000}, false),
              Not(HasSubstr("...")));
  const std::string matrix = FormatNested(Numbers(10'000), {100, 100}, false);
  EXPECT_THAT(matrix, HasSubstr("[[   0,    1,    2, ...,   97,   98,   99],"));
  EXPECT_THAT(matrix, HasSubstr("],\n ...,\n ["));
}

TEST(TextTest, LongRowsAreWrapped) {
  const std::string text = FormatNested(Numbers(100), {100}, false);
  size_t start = 0;
  while (start < text.size()) {
    const size_t end = std::min(text.find('\n', start), text.size());
    EXPECT_LE(end - start, 79u);
    start = end + 1;
  }
  EXPECT_THAT(text, HasSubstr("99]"));
}

TEST(TextTest, AResultShowsWhatItHas) {
  v1::Result result;
  result.set_loss(0.5);
  *result.mutable_loss_tensor() = MakeTensor<float>({0.1f}, {});
  result.set_mean_numerator(1);
  result.set_mean_denominator(3);
  result.set_element_count(3);
  result.set_ignored_count(1);
  result.mutable_non_finite()->set_input_nan(true);
  auto* metric = result.add_metrics();
  metric->set_name("clip_fraction");
  metric->set_numerator(1);
  metric->set_denominator(4);
  auto* gradient = result.add_gradients();
  gradient->set_wrt("input");
  *gradient->mutable_value() = MakeTensor<float>({0.1f, -2}, {2});
  const std::string text = *FormatResult("mse_loss", result, false);
  EXPECT_THAT(text, HasSubstr("loss          0.1  (float32)\n"));
  EXPECT_THAT(text, HasSubstr("natural mean  1 / 3\n"));
  EXPECT_THAT(text, HasSubstr("elements      3, of which ignored: 1\n"));
  EXPECT_THAT(text, HasSubstr("non-finite    NaN in the input\n"));
  EXPECT_THAT(text, HasSubstr("clip_fraction 0.25 = 1 / 4\n"));
  EXPECT_THAT(text, HasSubstr("gradient of input, float32 [2]\n[0.1,  -2]\n"));
  gradient->mutable_value()->set_shape(0, 3);
  EXPECT_FALSE(FormatResult("mse_loss", result, false).ok());
}

TEST(JsonTest, ATensorIsNestedLists) {
  EXPECT_EQ(*JsonTensor(MakeTensor<float>({0.1f, 2, 3, 4}, {2, 2})),
            "[[0.1, 2], [3, 4]]");
  EXPECT_EQ(*JsonTensor(MakeTensor<double>({0.1}, {})), "0.1");
  EXPECT_EQ(*JsonTensor(MakeTensor<float>({}, {2, 0})), "[[], []]");
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(*JsonTensor(MakeTensor<float>({infinity, -infinity, NAN}, {3})),
            R"(["Infinity", "-Infinity", "NaN"])");
}

TEST(JsonTest, AResultLeavesOutWhatItHasNot) {
  EXPECT_EQ(*JsonResult({}, {}), R"({"execution": {}})");
  v1::Result result;
  result.set_loss(0.1f);
  *result.mutable_loss_tensor() = MakeTensor<float>({0.1f}, {});
  result.set_mean_denominator(2);
  result.set_ignored_count(0);
  *result.mutable_predicted_classes() = MakeTensor<int64_t>({1, 0}, {2});
  auto* metric = result.add_metrics();
  metric->set_name("kl");
  metric->set_numerator(0.5);
  auto* gradient = result.add_gradients();
  gradient->set_wrt("input");
  *gradient->mutable_value() = MakeTensor<float>({1}, {1});
  v1::Execution execution;
  execution.set_device("cpu:0");
  execution.set_batch_rows(3);
  execution.mutable_queued()->set_nanos(500'000'000);
  EXPECT_EQ(*JsonResult(result, execution),
            R"({"loss": 0.1, "gradients": {"input": [1]}, )"
            R"("metrics": {"kl": {"numerator": 0.5, "denominator": 0}}, )"
            R"("mean_denominator": 2, "ignored_count": 0, )"
            R"("predicted_classes": [1, 0], "execution": )"
            R"({"device": "cpu:0", "batch_rows": 3, "queued": 0.5}})");
}

TEST(JsonTest, StringsAreEscapedAndMadeUtf8) {
  EXPECT_EQ(JsonString("a\"b\n"), R"("a\"b\n")");
  EXPECT_EQ(JsonString("\xff"), "\"\xef\xbf\xbd\"");
}

TEST(ExplainTest, TensorsAreSharedOutAmongRows) {
  // Scalars and tensors of the rows' shape.
  EXPECT_EQ(MapRows({}, {3}, true)->outer_stride, 0);
  EXPECT_EQ(MapRows({3}, {3}, true)->length, 0);
  // Classes are dimension 1 of [N, C, D], also where C = D.
  EXPECT_EQ(MapRows({2, 5, 4}, {2, 4}, true)->length, 5);
  EXPECT_EQ(MapRows({2, 4, 4}, {2, 4}, true)->stride, 4);
  EXPECT_EQ(MapRows({2, 4, 4}, {2, 4}, false)->stride, 1);
  // Features of a [D] and an [N, D].
  EXPECT_EQ(MapRows({7}, {}, false)->length, 7);
  EXPECT_EQ(MapRows({3, 7}, {3}, false)->length, 7);
  // One number for each sequence of [B, T].
  EXPECT_EQ(MapRows({2}, {2, 3}, false)->inner, 3);
  // What does not fit.
  EXPECT_FALSE(MapRows({4}, {3}, true).has_value());
  EXPECT_FALSE(MapRows({3, 4, 5}, {3}, true).has_value());
}

}  // namespace
}  // namespace lossd::cli
