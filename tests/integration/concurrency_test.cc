// SPDX-License-Identifier: Apache-2.0
//
// 32 clients with different losses and shapes at a time, against answers that a
// fresh single-threaded server gave to each request alone.

#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <sstream>
#include <thread>

#include "gtest/gtest.h"
#include "lossd/v1/loss_service.grpc.pb.h"
#include "tests/conformance/random_case.h"
#include "tests/integration/child_process.h"
#include "tests/integration/golden_request.h"
#include "tests/integration/http_get.h"

namespace lossd {
namespace {

constexpr int kClients = 32;
constexpr int kCalls = 20000;
constexpr int64_t kMostElements = 4096;

// Channels to one server would otherwise share a connection.
std::unique_ptr<v1::LossService::Stub> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return v1::LossService::NewStub(grpc::CreateCustomChannel(
      address, grpc::InsecureChannelCredentials(), arguments));
}

struct Answer {
  grpc::StatusCode code = grpc::StatusCode::UNKNOWN;
  std::string result;  // the Result's bytes

  bool operator==(const Answer& other) const = default;
};

Answer Call(v1::LossService::Stub* stub,
            const v1::ComputeGradientRequest& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::seconds(60));
  v1::ComputeGradientResponse response;
  const grpc::Status status =
      stub->ComputeGradient(&context, request, &response);
  return {status.error_code(), response.result().SerializeAsString()};
}

// The golden and the random cases that are small enough to be many.
std::vector<v1::ComputeGradientRequest> Requests() {
  std::vector<v1::ComputeGradientRequest> requests;
  const auto add = [&](const GoldenCase& golden) {
    if (golden.evaluation.arguments.tensor(0).elements > kMostElements) return;
    requests.push_back(RequestOf(golden));
  };
  for (const LossDefinition* loss : AllLosses()) {
    for (const GoldenCase& c :
         LoadGoldenCases(std::string(loss->schema.name))) {
      add(c);
    }
    for (const GoldenCase& c : RandomCases(*loss)) add(c);
  }
  return requests;
}

// The value of a metric such as "lossd_batch_requests_sum", over all its
// labels.
double MetricValue(const std::string& metrics, const std::string& name) {
  std::istringstream lines(metrics);
  double sum = 0;
  for (std::string line; std::getline(lines, line);) {
    const bool is_it =
        line.rfind(name + " ", 0) == 0 || line.rfind(name + "{", 0) == 0;
    if (is_it) sum += std::strtod(line.c_str() + line.rfind(' '), nullptr);
  }
  return sum;
}

TEST(ConcurrencyTest, EveryAnswerIsTheSolitaryOneBitForBit) {
  const std::vector<v1::ComputeGradientRequest> requests = Requests();
  ASSERT_GT(requests.size(), 500u);
  std::vector<Answer> alone;
  {
    const LossdProcess server({"--threads=1", "--max-batch-requests=1"});
    const auto stub = Connect(server.listen());
    for (const auto& request : requests)
      alone.push_back(Call(stub.get(), request));
  }
  int refused = 0;
  for (const Answer& answer : alone) {
    ASSERT_TRUE(answer.code == grpc::OK ||
                answer.code == grpc::INVALID_ARGUMENT);
    refused += answer.code != grpc::OK;
  }
  ASSERT_LT(refused, static_cast<int>(alone.size()) / 10);

  LossdProcess server;
  std::atomic<int> next{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> clients;
  for (int client = 0; client < kClients; ++client) {
    clients.emplace_back([&, client] {
      const auto stub = Connect(server.listen());
      std::mt19937 generator(static_cast<unsigned>(client));
      while (next.fetch_add(1) < kCalls) {
        const size_t i = generator() % requests.size();
        wrong += !(Call(stub.get(), requests[i]) == alone[i]);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);

  const std::string metrics = HttpGet(server.admin(), "/metrics");
  const double batches = MetricValue(metrics, "lossd_batch_requests_count");
  const double batched = MetricValue(metrics, "lossd_batch_requests_sum");
  EXPECT_GT(batched, kCalls * 0.9);
  EXPECT_GT(batched / batches, 1.0) << batches << " batches";
  RecordProperty("mean_batch_milli",
                 static_cast<int>(1000 * batched / batches));
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Await(absl::Seconds(30)), 0);
}

}  // namespace
}  // namespace lossd
