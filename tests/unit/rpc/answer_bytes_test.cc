// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/answer_bytes.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace lossd {
namespace {

OwnedTensor MakeTensor(int64_t elements) {
  OwnedTensor tensor = {
      Dtype::kFloat32, {elements}, AlignedBuffer(elements * 4)};
  for (int64_t i = 0; i < elements; ++i) {
    const float value = static_cast<float>(i) + 0.5f;
    std::memcpy(tensor.data.data() + i * 4, &value, 4);
  }
  return tensor;
}

v1::ComputeLossResponse Small() {
  v1::ComputeLossResponse response;
  response.mutable_execution()->set_instance("host-7");
  response.mutable_result()->set_loss(0.25);
  return response;
}

std::string Join(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(bytes.Dump(&slices).ok());
  std::string all;
  for (const grpc::Slice& slice : slices) {
    all.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return all;
}

TEST(AnswerBytesTest, WithoutLargeTensorsTheyAreTheMessage) {
  const v1::ComputeLossResponse response = Small();
  AnswerBytes bytes(response, {});
  const std::string wire = Join(bytes.Take());
  EXPECT_EQ(static_cast<int64_t>(wire.size()), bytes.size());
  EXPECT_EQ(wire, response.SerializeAsString());
}

TEST(AnswerBytesTest, LargeTensorsAreParsedWhereTheyBelong) {
  const v1::ComputeLossResponse response = Small();
  OwnedTensor loss = MakeTensor(3000);
  OwnedTensor first = MakeTensor(5000);
  OwnedTensor empty = MakeTensor(0);
  const std::string data(reinterpret_cast<const char*>(first.data.data()),
                         20000);
  const LargeTensor tensors[] = {
      {v1::Result::kLossTensorFieldNumber, "", &loss},
      {v1::Result::kGradientsFieldNumber, "input", &first},
      {v1::Result::kGradientsFieldNumber, "target", &empty}};
  AnswerBytes bytes(response, tensors);
  const std::string wire = Join(bytes.Take());
  EXPECT_EQ(static_cast<int64_t>(wire.size()), bytes.size());
  v1::ComputeGradientResponse parsed;
  ASSERT_TRUE(parsed.ParseFromString(wire));
  EXPECT_EQ(parsed.execution().instance(), "host-7");
  EXPECT_EQ(parsed.result().loss(), 0.25);
  EXPECT_EQ(parsed.result().loss_tensor().shape(0), 3000);
  ASSERT_EQ(parsed.result().gradients_size(), 2);
  EXPECT_EQ(parsed.result().gradients(0).wrt(), "input");
  EXPECT_EQ(parsed.result().gradients(0).value().dtype(), v1::DTYPE_FLOAT32);
  EXPECT_EQ(parsed.result().gradients(0).value().data(), data);
  EXPECT_EQ(parsed.result().gradients(1).wrt(), "target");
  EXPECT_TRUE(parsed.result().gradients(1).value().has_data());
}

TEST(AnswerBytesTest, TheMemoryOfALargeTensorIsHandedOver) {
  const v1::ComputeLossResponse response = Small();
  OwnedTensor loss = MakeTensor(3000);
  const uint8_t* const memory = loss.data.data();
  const LargeTensor tensors[] = {
      {v1::Result::kLossTensorFieldNumber, "", &loss}};
  const grpc::ByteBuffer bytes = AnswerBytes(response, tensors).Take();
  EXPECT_EQ(loss.data.data(), nullptr);
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(bytes.Dump(&slices).ok());
  EXPECT_EQ(slices.back().begin(), memory);
}

}  // namespace
}  // namespace lossd
