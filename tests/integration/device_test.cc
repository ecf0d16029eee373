// SPDX-License-Identifier: Apache-2.0
//
// A server with GPUs, which are fakes that fail or wait when they are told to.

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lossd/v1/error_reason.pb.h"
#include "server/engine/cpu_backend.h"
#include "server/engine/cuda_backend.h"
#include "tests/integration/http_get.h"
#include "tests/integration/raw_call.h"
#include "tests/integration/test_server.h"
#include "tests/unit/engine/fake_device.h"

namespace lossd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr int kStatusField = 1;
constexpr char kServing[] = "1";
constexpr char kNotServing[] = "2";

class DeviceTest : public testing::Test {
 protected:
  void Start(int gpus, std::vector<std::string> flags) {
    std::vector<std::unique_ptr<cuda::Device>> fakes;
    for (int i = 0; i < gpus; ++i) {
      states_.push_back(std::make_shared<FakeDeviceState>());
      fakes.push_back(MakeFakeDevice(absl::StrCat("cuda:", i), states_[i]));
    }
    server_ = std::make_unique<TestServer>(
        std::move(flags), MakeCpuBackend(1, "").value(),
        MakeCudaBackend(std::move(fakes), CudaOptions()));
    stub_ = server_->NewStub();
  }

  grpc::Status Compute(v1::Device device) {
    auto request = FromJson<v1::ComputeLossRequest>(kSmallRequest);
    request.mutable_evaluation()->set_device(device);
    grpc::ClientContext context;
    return stub_->ComputeLoss(&context, request, &answer_);
  }
  std::string Health() {
    std::string response;
    const grpc::Status status = RawCall(
        server_->NewChannel(), "/grpc.health.v1.Health/Check", "", &response);
    return status.ok() ? FieldsOf(response, kStatusField)[0]
                       : status.error_message();
  }
  // The status line and the body of an answer of the admin port.
  std::string Probe(const std::string& path) {
    return HttpGet(server_->server().AddressOf("admin"), path);
  }
  v1::GetServerInfoResponse Info() {
    grpc::ClientContext context;
    v1::GetServerInfoResponse info;
    EXPECT_TRUE(stub_->GetServerInfo(&context, {}, &info).ok());
    return info;
  }

  std::vector<std::shared_ptr<FakeDeviceState>> states_;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<v1::LossService::Stub> stub_;
  v1::ComputeLossResponse answer_;
};

TEST_F(DeviceTest, EachDeviceIsToldAndSoIsTheOneThatComputed) {
  Start(2, {});
  const v1::GetServerInfoResponse info = Info();
  ASSERT_EQ(info.devices_size(), 3);
  EXPECT_EQ(info.devices(0).name(), "cpu:0");
  EXPECT_EQ(info.devices(0).max_evaluation_bytes(), 0);
  EXPECT_EQ(info.devices(2).name(), "cuda:1");
  EXPECT_EQ(info.devices(2).device(), v1::DEVICE_CUDA);
  EXPECT_EQ(info.devices(2).target(), "sm_90");
  EXPECT_EQ(info.devices(2).model(), "fake");
  EXPECT_EQ(info.devices(2).max_evaluation_bytes(), int64_t{2} << 30);
  EXPECT_TRUE(info.devices(2).in_service());
  ASSERT_TRUE(Compute(v1::DEVICE_CUDA).ok());
  EXPECT_EQ(answer_.execution().backend(), "cuda");
  EXPECT_EQ(answer_.execution().device(), "cuda:0");
  EXPECT_EQ(answer_.execution().target(), "sm_90");
  // Two copies of a millisecond each.
  EXPECT_EQ(answer_.execution().copying().nanos(), 2000000);
  ASSERT_TRUE(Compute(v1::DEVICE_UNSPECIFIED).ok());
  EXPECT_EQ(answer_.execution().device(), "cpu:0");
  EXPECT_FALSE(answer_.execution().has_copying());
}

TEST_F(DeviceTest, AfterOneOfTwoFailsTheOtherServes) {
  Start(2, {"--default-device=cuda"});
  states_[0]->Fail("Synchronize");
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Compute(v1::DEVICE_UNSPECIFIED).ok());
    EXPECT_EQ(answer_.execution().device(), "cuda:1");
  }
  EXPECT_EQ(Health(), kServing);
  EXPECT_THAT(Probe("/readyz"),
              AllOf(HasSubstr(" 200 "), EndsWith("\nready\n")));
  const std::string metrics = server_->Metrics();
  EXPECT_THAT(metrics,
              HasSubstr("lossd_device_in_service{device=\"cuda:0\"} 0\n"));
  EXPECT_THAT(metrics,
              HasSubstr("lossd_device_in_service{device=\"cuda:1\"} 1\n"));
  EXPECT_FALSE(Info().devices(1).in_service());
  EXPECT_TRUE(Info().devices(2).in_service());
}

TEST_F(DeviceTest, WithoutADeviceOfItsClassTheServerAsksToBeReplaced) {
  Start(1, {"--default-device=cuda"});
  RawStream watch(server_->NewChannel(), "/grpc.health.v1.Health/Watch");
  ASSERT_TRUE(watch.Write(""));
  std::string told;
  ASSERT_TRUE(watch.Read(&told));
  EXPECT_THAT(FieldsOf(told, kStatusField), ElementsAre(kServing));
  states_[0]->Fail("Synchronize");
  const grpc::Status status = Compute(v1::DEVICE_UNSPECIFIED);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(DetailsOf(status).info.reason(), "DEVICE_FAILED");
  ASSERT_TRUE(watch.Read(&told));
  EXPECT_THAT(FieldsOf(told, kStatusField), ElementsAre(kNotServing));
  EXPECT_EQ(Health(), kNotServing);
  EXPECT_THAT(Probe("/readyz"),
              AllOf(HasSubstr(" 503 "), EndsWith("\ndevice lost\n")));
  EXPECT_THAT(Probe("/livez"),
              AllOf(HasSubstr(" 503 "), EndsWith("\ndevice lost\n")));
  // What it can still do it does.
  EXPECT_TRUE(Compute(v1::DEVICE_CPU).ok());
  EXPECT_TRUE(Compute(v1::DEVICE_ANY).ok());
  EXPECT_EQ(answer_.execution().device(), "cpu:0");
}

TEST_F(DeviceTest, AServerOfTheOtherClassStaysWhatItWas) {
  Start(1, {});
  states_[0]->Fail("Synchronize");
  EXPECT_EQ(Compute(v1::DEVICE_CUDA).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Health(), kServing);
  EXPECT_THAT(Probe("/readyz"),
              AllOf(HasSubstr(" 200 "), EndsWith("\nready\n")));
  EXPECT_THAT(Probe("/livez"), AllOf(HasSubstr(" 200 "), EndsWith("\nok\n")));
  EXPECT_TRUE(Compute(v1::DEVICE_UNSPECIFIED).ok());
}

TEST_F(DeviceTest, CallsOfOneClassDoNotWaitForAnother) {
  Start(1, {"--batch-workers=1", "--io-threads=1"});
  states_[0]->Hold(true);
  std::vector<std::thread> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back([this] {
      auto request = FromJson<v1::ComputeLossRequest>(kSmallRequest);
      request.mutable_evaluation()->set_device(v1::DEVICE_CUDA);
      grpc::ClientContext context;
      v1::ComputeLossResponse answer;
      EXPECT_TRUE(stub_->ComputeLoss(&context, request, &answer).ok());
    });
  }
  states_[0]->AwaitInFlight(2);
  EXPECT_TRUE(Compute(v1::DEVICE_CPU).ok());
  states_[0]->Hold(false);
  for (std::thread& each : waiting) each.join();
}

}  // namespace
}  // namespace lossd
