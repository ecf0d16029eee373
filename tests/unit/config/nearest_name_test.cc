// SPDX-License-Identifier: Apache-2.0

#include "server/config/nearest_name.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lossd {
namespace {

const std::vector<std::string>& Names() {
  static const auto* names =
      new std::vector<std::string>{"listen", "admin-listen", "threads"};
  return *names;
}

TEST(NearestName, FindsTheFewestEdits) {
  EXPECT_EQ(NearestName("lisen", Names()), "listen");
  EXPECT_EQ(NearestName("lisetn", Names()), "listen");
  EXPECT_EQ(NearestName("admin_listen", Names()), "admin-listen");
  EXPECT_EQ(NearestName("thread", Names()), "threads");
}

TEST(NearestName, IsEmptyWhenNothingIsNear) {
  EXPECT_EQ(NearestName("", Names()), "");
  EXPECT_EQ(NearestName("verbosity", Names()), "");
  EXPECT_EQ(NearestName(std::string(1000, 'l'), Names()), "");
  EXPECT_EQ(NearestName("listen", {}), "");
}

TEST(NearestName, TheQuestionIsEmptyWithoutAnAnswer) {
  EXPECT_EQ(DidYouMean("lisen", Names()), "; did you mean listen?");
  EXPECT_EQ(DidYouMean("verbosity", Names()), "");
}

}  // namespace
}  // namespace lossd
