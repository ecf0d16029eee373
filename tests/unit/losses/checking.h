// SPDX-License-Identifier: Apache-2.0
//
// The checks of a loss as the engine calls them.

#ifndef LOSSD_TESTS_UNIT_LOSSES_CHECKING_H_
#define LOSSD_TESTS_UNIT_LOSSES_CHECKING_H_

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/losses/test_arguments.h"

namespace lossd {

// Everything that is wrong with the shapes or, if nothing is, with what is used
// as an index.
inline Violations Check(const TestArguments& test, bool withhold = false) {
  Violations violations(withhold);
  test.loss().check_shapes(test.arguments(), &violations);
  if (violations.empty()) test.loss().plan(test.arguments(), &violations);
  return violations;
}

// The only violation, which must be of `reason` and at `field`; its words.
inline std::string OnlyViolation(const TestArguments& test, Reason reason,
                                 const std::string& field,
                                 bool withhold = false) {
  const Violations violations = Check(test, withhold);
  if (violations.count() != 1) {
    return testing::PrintToString(violations.count()) + " violations";
  }
  EXPECT_EQ(violations.kept()[0].reason, reason);
  EXPECT_EQ(violations.kept()[0].field, field);
  return violations.kept()[0].description;
}

// The geometry of arguments that are good.
inline Geometry GeometryOf(const TestArguments& test) {
  Violations violations = Check(test);
  EXPECT_TRUE(violations.empty())
      << (violations.empty() ? "" : violations.kept()[0].description);
  if (!violations.empty()) return {};
  return test.loss().plan(test.arguments(), &violations);
}

}  // namespace lossd

#endif  // LOSSD_TESTS_UNIT_LOSSES_CHECKING_H_
