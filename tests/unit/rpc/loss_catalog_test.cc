// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/loss_catalog.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;

v1::ListLossesResponse Describe() {
  const auto binding =
      WireBinding::Create(AllLosses(), *v1::Evaluation::descriptor());
  EXPECT_TRUE(binding.ok()) << binding.status();
  const DeviceClass devices[] = {DeviceClass::kCpu};
  return DescribeLosses(*binding, devices);
}

v1::LossDescriptor Find(const std::string& name) {
  const v1::ListLossesResponse response = Describe();
  for (const v1::LossDescriptor& loss : response.losses()) {
    if (loss.name() == name) return loss;
  }
  ADD_FAILURE() << name << " is not listed";
  return {};
}

TEST(LossCatalogTest, LossesAreSortedByName) {
  std::vector<std::string> names;
  const v1::ListLossesResponse response = Describe();
  for (const auto& loss : response.losses()) names.push_back(loss.name());
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(names.size(), AllLosses().size());
}

TEST(LossCatalogTest, EveryLossIsDescribedInFull) {
  const v1::ListLossesResponse response = Describe();
  for (const v1::LossDescriptor& loss : response.losses()) {
    SCOPED_TRACE(loss.name());
    EXPECT_NE(loss.summary(), "");
    EXPECT_NE(loss.formula(), "");
    EXPECT_NE(loss.denominator(), "");
    EXPECT_NE(loss.source(), "");
    EXPECT_NE(loss.cost_rule(), "");
    EXPECT_THAT(loss.devices(), ElementsAre(v1::DEVICE_CPU));
    EXPECT_EQ(loss.default_reduction(), v1::REDUCTION_MEAN);
    ASSERT_GE(loss.tensors_size(), 2);
    EXPECT_TRUE(loss.tensors(0).required());
    for (const auto& tensor : loss.tensors()) {
      EXPECT_NE(tensor.role(), v1::TensorDescriptor::ROLE_UNSPECIFIED);
      EXPECT_NE(tensor.shape_rule(), "") << tensor.name();
      EXPECT_NE(tensor.description(), "") << tensor.name();
      EXPECT_GT(tensor.dtypes_size(), 0) << tensor.name();
    }
    for (const auto& parameter : loss.parameters()) {
      EXPECT_NE(parameter.range(), "") << parameter.name();
      EXPECT_NE(parameter.description(), "") << parameter.name();
    }
  }
}

TEST(LossCatalogTest, DefaultsAreText) {
  const v1::LossDescriptor cross_entropy = Find("cross_entropy");
  ASSERT_EQ(cross_entropy.parameters_size(), 2);
  EXPECT_EQ(cross_entropy.parameters(0).name(), "ignore_index");
  EXPECT_EQ(cross_entropy.parameters(0).type(),
            v1::ParameterDescriptor::TYPE_INT64);
  EXPECT_EQ(cross_entropy.parameters(0).default_value(), "-100");
  EXPECT_EQ(cross_entropy.parameters(1).default_value(), "0");
  const v1::LossDescriptor policy = Find("clipped_policy_loss");
  for (const auto& parameter : policy.parameters()) {
    if (parameter.name() == "dual_clip") {
      EXPECT_EQ(parameter.default_value(), "");
    }
    if (parameter.name() == "kl_estimator") {
      EXPECT_EQ(parameter.default_value(), "K3");
      EXPECT_THAT(parameter.choices(), ElementsAre("K1", "K2", "K3"));
    }
  }
}

TEST(LossCatalogTest, OnlyLossesWithActivationsHaveTheirOutputs) {
  EXPECT_THAT(Find("mse_loss").outputs(),
              ElementsAre(v1::OUTPUT_LOSS, v1::OUTPUT_ELEMENTWISE_LOSSES,
                          v1::OUTPUT_GRADIENTS));
  EXPECT_EQ(Find("cross_entropy").outputs_size(), 6);
}

TEST(LossCatalogTest, DtypesFollowTheRules) {
  EXPECT_EQ(AllowedDtypes(DtypeRule::kLeading),
            AllowedDtypes(DtypeRule::kSameAsLeading));
  EXPECT_THAT(AllowedDtypes(DtypeRule::kClassIndex),
              ElementsAre(v1::DTYPE_INT32, v1::DTYPE_INT64, v1::DTYPE_UINT8));
  EXPECT_EQ(AllowedDtypes(DtypeRule::kClassIndexOrAsLeading).size(), 7);
  EXPECT_EQ(AllowedDtypes(DtypeRule::kAny).size(), 8);
}

}  // namespace
}  // namespace lossd
