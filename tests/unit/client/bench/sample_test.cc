// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench/sample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/cli/schema.h"
#include "lossd/tensor.h"
#include "tests/unit/client/fake_loss_service.h"

namespace lossd::cli {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Lt;

v1::LossDescriptor DescriptorOf(const std::string& name) {
  return *FindDescriptor(SomeLosses(), name);
}

TEST(SampleShape, IsSizesWithAnXBetween) {
  EXPECT_THAT(*ParseSampleShape("7"), ElementsAre(7));
  EXPECT_THAT(*ParseSampleShape("32x1000"), ElementsAre(32, 1000));
  for (const char* text : {"", "0", "4x", "4xa", "-1x2", "4,5"}) {
    EXPECT_THAT(std::string(ParseSampleShape(text).status().message()),
                HasSubstr("as in 32x1000"))
        << text;
  }
  EXPECT_THAT(std::string(ParseSampleShape("65536x65536").status().message()),
              HasSubstr("over 2147483648 elements"));
}

TEST(SampleShape, ClassesGoWhereTheLossHasThem) {
  const v1::LossDescriptor cross_entropy = DescriptorOf("cross_entropy");
  EXPECT_THAT(*WithClasses(cross_entropy, {32}, 10), ElementsAre(32, 10));
  EXPECT_THAT(*WithClasses(cross_entropy, {8, 5}, 10), ElementsAre(8, 10, 5));
  v1::LossDescriptor last = cross_entropy;
  last.mutable_tensors(0)->set_shape_rule("[C] or [*, C]");
  EXPECT_THAT(*WithClasses(last, {8, 5}, 10), ElementsAre(8, 5, 10));
  EXPECT_THAT(
      std::string(WithClasses(DescriptorOf("triplet_margin_loss"), {8}, 10)
                      .status()
                      .message()),
      AllOf(HasSubstr("triplet_margin_loss has no dimension of classes"),
            HasSubstr("leave --classes out")));
}

TEST(FillTensors, MakesTheRequiredTensorsInTheirDomain) {
  v1::LossDescriptor descriptor = DescriptorOf("cross_entropy");
  descriptor.mutable_tensors(1)->set_shape_rule(
      "input's without the class dimension");
  v1::Evaluation evaluation;
  ASSERT_TRUE(
      FillTensors(descriptor, {50, 7, 3}, v1::DTYPE_FLOAT64, 1, &evaluation)
          .ok());
  const v1::CrossEntropy& loss = evaluation.cross_entropy();
  EXPECT_THAT(loss.input().shape(), ElementsAre(50, 7, 3));
  EXPECT_THAT(*ViewTensor<double>(loss.input()), Each(AllOf(Ge(-8), Le(8))));
  EXPECT_THAT(loss.target().shape(), ElementsAre(50, 3));
  const auto target = *ViewTensor<int64_t>(loss.target());
  EXPECT_THAT(target, Each(AllOf(Ge(0), Lt(7))));
  EXPECT_EQ(std::set<int64_t>(target.begin(), target.end()).size(), 7u)
      << "150 targets of 7 classes meet each";
  EXPECT_FALSE(loss.has_weight());
}

TEST(FillTensors, FollowsFromTheSeedAlone) {
  const v1::LossDescriptor descriptor = DescriptorOf("triplet_margin_loss");
  v1::Evaluation first;
  v1::Evaluation again;
  v1::Evaluation other;
  ASSERT_TRUE(
      FillTensors(descriptor, {4, 5}, v1::DTYPE_FLOAT32, 7, &first).ok());
  ASSERT_TRUE(
      FillTensors(descriptor, {4, 5}, v1::DTYPE_FLOAT32, 7, &again).ok());
  ASSERT_TRUE(
      FillTensors(descriptor, {4, 5}, v1::DTYPE_FLOAT32, 8, &other).ok());
  EXPECT_EQ(first.SerializeAsString(), again.SerializeAsString());
  const auto& a = first.triplet_margin_loss();
  EXPECT_NE(a.anchor().data(), other.triplet_margin_loss().anchor().data());
  EXPECT_NE(a.anchor().data(), a.positive().data());
  EXPECT_NE(a.positive().data(), a.negative().data());
}

TEST(FillTensors, LeavesGivenTensorsAndTakesTheirShape) {
  const v1::LossDescriptor descriptor = DescriptorOf("triplet_margin_loss");
  v1::Evaluation evaluation;
  auto& loss = *evaluation.mutable_triplet_margin_loss();
  *loss.mutable_anchor() = MakeTensor<double>({1, 2, 3}, {3});
  ASSERT_TRUE(
      FillTensors(descriptor, {4, 5}, v1::DTYPE_FLOAT64, 1, &evaluation).ok());
  EXPECT_THAT(*ViewTensor<double>(loss.anchor()), ElementsAre(1, 2, 3));
  EXPECT_THAT(loss.positive().shape(), ElementsAre(3));
}

TEST(FillTensors, HasEachFloatingDtype) {
  for (const v1::Dtype dtype : {v1::DTYPE_FLOAT16, v1::DTYPE_BFLOAT16,
                                v1::DTYPE_FLOAT32, v1::DTYPE_FLOAT64}) {
    v1::Evaluation evaluation;
    ASSERT_TRUE(FillTensors(DescriptorOf("triplet_margin_loss"), {100}, dtype,
                            1, &evaluation)
                    .ok());
    const v1::Tensor& anchor = evaluation.triplet_margin_loss().anchor();
    EXPECT_EQ(anchor.dtype(), dtype);
    const auto values = *WidenTensor(anchor);
    ASSERT_EQ(values.size(), 100u);
    EXPECT_THAT(values, Each(AllOf(Ge(-8), Le(8))));
    EXPECT_LT(*std::min_element(values.begin(), values.end()), -6);
  }
}

TEST(FillTensors, RefusesAShapeOfTooFewDimensions) {
  v1::LossDescriptor descriptor = DescriptorOf("cross_entropy");
  descriptor.mutable_tensors(0)->set_shape_rule("[B, T]");
  v1::Evaluation evaluation;
  EXPECT_THAT(
      std::string(
          FillTensors(descriptor, {5}, v1::DTYPE_FLOAT32, 1, &evaluation)
              .message()),
      HasSubstr("5 has too few dimensions for cross_entropy, whose input is "
                "[B, T]"));
}

}  // namespace
}  // namespace lossd::cli
