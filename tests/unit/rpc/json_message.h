// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_UNIT_RPC_JSON_MESSAGE_H_
#define LOSSD_TESTS_UNIT_RPC_JSON_MESSAGE_H_

#include <string>

#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"

namespace lossd {

// The message that JSON stands for; a test fails if it is none.
template <typename Message>
Message FromJson(const std::string& json) {
  Message message;
  const auto status =
      google::protobuf::util::JsonStringToMessage(json, &message);
  EXPECT_TRUE(status.ok()) << status.ToString() << " in " << json;
  return message;
}

}  // namespace lossd

#endif  // LOSSD_TESTS_UNIT_RPC_JSON_MESSAGE_H_
