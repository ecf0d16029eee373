// SPDX-License-Identifier: Apache-2.0

#include "server/losses/violations.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace lossd {
namespace {

TEST(ViolationsTest, KeepsTheFirstSixteenAndCountsAll) {
  Violations violations;
  EXPECT_TRUE(violations.empty());
  for (int i = 0; i < 20; ++i) {
    violations.Add(Reason::kShapeMismatch, absl::StrCat("f", i), "bad");
    EXPECT_EQ(violations.count(), i + 1);
  }
  EXPECT_FALSE(violations.empty());
  ASSERT_EQ(violations.kept().size(), 16u);
  EXPECT_EQ(violations.kept()[0].field, "f0");
  EXPECT_EQ(violations.kept()[15].field, "f15");
}

TEST(ViolationsTest, FieldsAreRelativeToThePrefix) {
  Violations violations;
  violations.Add(Reason::kOptionInvalid, "wrt[0]", "a");
  violations.set_loss("mse_loss");
  violations.Add(Reason::kShapeMismatch, "target", "b");
  violations.Add(Reason::kShapeMismatch, "", "c");
  EXPECT_EQ(violations.kept()[0].field, "wrt[0]");
  EXPECT_EQ(violations.kept()[1].field, "evaluation.mse_loss.target");
  EXPECT_EQ(violations.kept()[2].field, "evaluation.mse_loss");
  EXPECT_EQ(violations.kept()[2].reason, Reason::kShapeMismatch);
  EXPECT_EQ(violations.kept()[2].description, "c");
}

TEST(ViolationsTest, ValuesAreNamedUnlessTheyAreWithheld) {
  const Violations open;
  EXPECT_EQ(open.ValueName(1.5), "1.5");
  EXPECT_EQ(open.ValueName(int64_t{-7}), "-7");
  const Violations closed(true);
  EXPECT_EQ(closed.ValueName(1.5), "(withheld)");
  EXPECT_EQ(closed.ValueName(int64_t{-7}), "(withheld)");
}

TEST(ViolationsTest, ANamedValueIsTheValueNotItsNeighbour) {
  const Violations violations;
  EXPECT_NE(violations.ValueName(static_cast<double>(1.0000001f)), "1");
  EXPECT_EQ(violations.ValueName(1234567.0), "1234567");
}

TEST(ViolationsTest, MetadataKeepsTheFirstOfAKey) {
  Violations violations;
  violations.AddMetadata("limit", "1");
  violations.AddMetadata("limit", "2");
  violations.AddMetadata("actual", "3");
  EXPECT_EQ(violations.metadata().at("limit"), "1");
  EXPECT_EQ(violations.metadata().at("actual"), "3");
}

}  // namespace
}  // namespace lossd
