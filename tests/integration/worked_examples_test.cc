// SPDX-License-Identifier: Apache-2.0

#include <cmath>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "grpcpp/client_context.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/integration/test_server.h"

namespace lossd {
namespace {

using nlohmann::json;

json Examples() {
  std::ifstream file(LOSSD_WORKED_EXAMPLES);
  return json::parse(file)["examples"];
}

// A tensor of the examples as the contract's hand-written form has it.
json ToTensor(const json& tensor) {
  std::string dtype = tensor["dtype"];
  for (char& c : dtype) c = static_cast<char>(std::toupper(c));
  return {{"dtype", absl::StrCat("DTYPE_", dtype)},
          {"values", tensor["values"]}};
}

v1::ComputeGradientRequest ToRequest(const json& example) {
  json loss = example["parameters"];
  loss["input"] = ToTensor(example["input"]);
  loss["target"] = ToTensor(example["target"]);
  const json request = {
      {"evaluation",
       {{example["loss"].get<std::string>(), loss},
        {"outputs",
         {"OUTPUT_LOSS", "OUTPUT_ELEMENTWISE_LOSSES", "OUTPUT_GRADIENTS"}}}}};
  return FromJson<v1::ComputeGradientRequest>(request.dump());
}

// Every number of nested lists is near that of the others.
void ExpectNear(const google::protobuf::Value& found, const json& expected) {
  if (!expected.is_array()) {
    const double number = expected.get<double>();
    EXPECT_NEAR(found.number_value(), number, 1e-6 * std::abs(number) + 1e-8);
    return;
  }
  ASSERT_EQ(found.list_value().values_size(),
            static_cast<int>(expected.size()));
  for (size_t i = 0; i < expected.size(); ++i) {
    ExpectNear(found.list_value().values(static_cast<int>(i)), expected[i]);
  }
}

TEST(WorkedExamplesTest, EveryExampleIsAnsweredAsPyTorchAnswersIt) {
  TestServer server;
  const auto stub = server.NewStub();
  int count = 0;
  for (const json& example : Examples()) {
    SCOPED_TRACE(example["name"].get<std::string>());
    grpc::ClientContext context;
    v1::ComputeGradientResponse response;
    const grpc::Status status =
        stub->ComputeGradient(&context, ToRequest(example), &response);
    const json& expect = example["expect"];
    if (expect.contains("error")) {
      EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
      continue;
    }
    ASSERT_TRUE(status.ok()) << status.error_message();
    const double loss = expect["loss"];
    EXPECT_NEAR(response.result().loss(), loss, 1e-6 * std::abs(loss));
    ExpectNear(response.result().elementwise_losses().values(),
               expect["elementwise"]);
    ExpectNear(response.result().gradients(0).value().values(),
               expect["gradient"]);
    ++count;
  }
  EXPECT_GT(count, 10);
}

}  // namespace
}  // namespace lossd
