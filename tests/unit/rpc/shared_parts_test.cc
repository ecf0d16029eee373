// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/shared_parts.h"

#include <cstring>
#include <limits>
#include <memory>
#include <string>

#include "gtest/gtest.h"

namespace lossd {
namespace {

constexpr int64_t kPage = 4096;

class SharedPartsTest : public testing::Test {
 protected:
  SharedPartsTest() : region_(regions_.Make(kPage).value()) {}

  std::string Token() const {
    return std::string(region_->token().begin(), region_->token().end());
  }
  // The view of a tensor at `offset`; absent if it is refused.
  TensorView Read(int64_t offset, int64_t elements,
                  Dtype dtype = Dtype::kFloat32,
                  DtypeRule rule = DtypeRule::kLeading) {
    TensorView view;
    view.dtype = dtype;
    view.shape = {elements};
    view.elements = elements;
    violations_ = Violations();
    const bool good =
        parts_->Read(access_, Token(), offset, rule, {"input", "input.shared"},
                     &view, &violations_);
    EXPECT_EQ(good, violations_.empty());
    return good ? view : TensorView();
  }
  Reason Why() const { return violations_.kept().front().reason; }

  SharedRegions regions_{16 * kPage};
  ByteBudget budget_{1000};
  std::shared_ptr<SharedRegion> region_;
  SharedAccess access_ = {
      .regions = &regions_, .unix_socket = true, .budget = &budget_};
  std::unique_ptr<SharedParts> parts_ = std::make_unique<SharedParts>();
  Violations violations_;
};

TEST_F(SharedPartsTest, FloatingTensorsStayWhereTheyAre) {
  EXPECT_EQ(Read(0, 1024).data, region_->data());
  EXPECT_EQ(Read(kPage - 4, 1).data, region_->data() + kPage - 4);
  EXPECT_TRUE(Read(kPage, 0).present());
  EXPECT_EQ(Read(8, 4, Dtype::kFloat64, DtypeRule::kSameAsLeading).data,
            region_->data() + 8);
  EXPECT_EQ(Read(8, 4, Dtype::kFloat16, DtypeRule::kClassIndexOrAsLeading).data,
            region_->data() + 8);
  EXPECT_EQ(budget_.taken(), 0);
}

TEST_F(SharedPartsTest, EveryBoundIsKept) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  struct Case {
    int64_t offset;
    int64_t elements;
  };
  for (const Case& c :
       {Case{0, 1025}, Case{4, 1024}, Case{kPage - 4, 2}, Case{kPage, 1},
        Case{kPage + 4, 0}, Case{-4, 1}, Case{-4, 0}, Case{kMost - 3, 1},
        Case{kMost - 3, 0}, Case{std::numeric_limits<int64_t>::min(), 1},
        Case{0, kMost / 8}, Case{4, kMost / 8}, Case{2, 1}, Case{1, 0}}) {
    EXPECT_FALSE(Read(c.offset, c.elements).present())
        << c.offset << " " << c.elements;
    EXPECT_EQ(Why(), Reason::kSharedMemoryInvalid);
  }
}

TEST_F(SharedPartsTest, WhatIsNotThereIsUnavailable) {
  access_.unix_socket = false;
  EXPECT_FALSE(Read(0, 1).present());
  EXPECT_EQ(Why(), Reason::kSharedMemoryUnavailable);
  access_ = {};
  EXPECT_FALSE(Read(0, 1).present());
  EXPECT_EQ(Why(), Reason::kSharedMemoryUnavailable);
  access_ = {.regions = &regions_, .unix_socket = true};
  regions_.Forget(*region_);
  EXPECT_FALSE(Read(0, 1).present());
  EXPECT_EQ(Why(), Reason::kSharedMemoryUnavailable);
}

TEST_F(SharedPartsTest, IndicesAndMasksAreCopiedBeforeAnybodyLooks) {
  struct Case {
    Dtype dtype;
    DtypeRule rule;
  };
  for (const Case& c : {Case{Dtype::kInt64, DtypeRule::kClassIndex},
                        Case{Dtype::kInt32, DtypeRule::kClassIndex},
                        Case{Dtype::kUint8, DtypeRule::kClassIndexOrAsLeading},
                        Case{Dtype::kBool, DtypeRule::kAny},
                        Case{Dtype::kFloat32, DtypeRule::kAny},
                        Case{Dtype::kFloat32, DtypeRule::kClassIndex},
                        Case{Dtype::kInt64, DtypeRule::kLeading}}) {
    region_->data()[0] = 1;
    const TensorView view = Read(0, 4, c.dtype, c.rule);
    ASSERT_TRUE(view.present());
    region_->data()[0] = 2;
    EXPECT_EQ(view.data[0], 1) << static_cast<int>(c.dtype);
  }
}

TEST_F(SharedPartsTest, WhatIsCopiedIsTakenFromTheBudgetAndReturned) {
  EXPECT_TRUE(Read(0, 100, Dtype::kInt64, DtypeRule::kClassIndex).present());
  EXPECT_EQ(budget_.taken(), 800);
  EXPECT_FALSE(Read(0, 100, Dtype::kInt64, DtypeRule::kClassIndex).present());
  EXPECT_EQ(Why(), Reason::kQueueFull);
  EXPECT_TRUE(Read(0, 100, Dtype::kBool, DtypeRule::kAny).present());
  EXPECT_EQ(budget_.taken(), 900);
  parts_ = nullptr;
  EXPECT_EQ(budget_.taken(), 0);
}

TEST_F(SharedPartsTest, ARegionStaysForTheCallsThatUseIt) {
  const TensorView view = Read(0, 4);
  region_->data()[0] = 9;
  regions_.Forget(*region_);
  region_ = nullptr;
  EXPECT_EQ(regions_.used_bytes(), kPage);
  EXPECT_EQ(view.data[0], 9);
  parts_ = nullptr;
  EXPECT_EQ(regions_.used_bytes(), 0);
}

TEST_F(SharedPartsTest, GradientsBeginAtMultiplesOf64) {
  Violations violations;
  for (int64_t offset : {int64_t{4}, int64_t{32}, int64_t{-64}, kPage + 64}) {
    violations = Violations();
    EXPECT_FALSE(parts_->AddGradient(access_, Token(), offset, &violations));
    EXPECT_EQ(violations.kept()[0].reason, Reason::kSharedMemoryInvalid);
  }
  EXPECT_TRUE(parts_->AddGradient(access_, Token(), kPage - 64, &violations));
  EXPECT_EQ(parts_->gradients().size(), 1u);
}

}  // namespace
}  // namespace lossd
