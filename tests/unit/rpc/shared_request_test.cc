// SPDX-License-Identifier: Apache-2.0
//
// Requests with tensors in shared memory, by way of the decoder and by way of
// the reader.

#include <cstring>
#include <string>

#include "gtest/gtest.h"
#include "server/losses/loss.h"
#include "server/rpc/request_decoder.h"
#include "server/rpc/request_reader.h"

namespace lossd {
namespace {

MessageBytes BytesOf(const google::protobuf::Message& message) {
  MessageBuilder builder;
  builder.Append(message.SerializeAsString());
  return builder.Build();
}

class SharedRequestTest : public testing::Test {
 protected:
  SharedRequestTest()
      : binding_(WireBinding::Create(AllLosses(), *v1::Evaluation::descriptor())
                     .value()),
        decoder_(&binding_, 16),
        reader_(&binding_, 16, "0.1.0"),
        region_(regions_.Make(8192).value()) {
    // The labels 0, 1, 2 at 1024.
    const int64_t labels[] = {0, 1, 2};
    std::memcpy(region_->data() + 1024, labels, sizeof(labels));
    auto& loss = *request_.mutable_evaluation()->mutable_cross_entropy();
    *loss.mutable_input() = At(0, v1::DTYPE_FLOAT32, {3, 4});
    *loss.mutable_target() = At(1024, v1::DTYPE_INT64, {3});
    *request_.add_gradient_memory() = Place(2048);
  }

  v1::SharedMemory Place(int64_t offset) const {
    v1::SharedMemory place;
    place.set_token(region_->token().data(), region_->token().size());
    place.set_offset(offset);
    return place;
  }
  v1::Tensor At(int64_t offset, v1::Dtype dtype,
                std::initializer_list<int64_t> shape) const {
    v1::Tensor tensor;
    tensor.set_dtype(dtype);
    for (int64_t size : shape) tensor.add_shape(size);
    *tensor.mutable_shared() = Place(offset);
    return tensor;
  }
  bool Decode(DecodedRequest* decoded) {
    return decoder_.Decode(BytesOf(request_), true, access_, pool_, decoded);
  }
  // What both must make of the request.
  void ExpectRead(const DecodedRequest& decoded) {
    const TensorView& input = decoded.evaluation.arguments.tensor(0);
    EXPECT_EQ(input.data, region_->data());
    EXPECT_EQ(input.shape, (Shape{3, 4}));
    EXPECT_EQ(input.elements, 12);
    const TensorView& target = decoded.evaluation.arguments.tensor(1);
    EXPECT_NE(target.data, region_->data() + 1024);
    EXPECT_EQ(target.IndexAt(2), 2);
    ASSERT_EQ(decoded.shared.gradients().size(), 1u);
    EXPECT_EQ(decoded.shared.gradients()[0].region, region_);
    EXPECT_EQ(decoded.shared.gradients()[0].offset, 2048);
    EXPECT_TRUE(decoded.evaluation.gradients_elsewhere);
  }

  const WireBinding binding_;
  const RequestDecoder decoder_;
  const RequestReader reader_;
  BufferPool pool_{0};
  SharedRegions regions_{1 << 20};
  const std::shared_ptr<SharedRegion> region_;
  ByteBudget budget_{1 << 20};
  SharedAccess access_ = {
      .regions = &regions_, .unix_socket = true, .budget = &budget_};
  v1::ComputeGradientRequest request_;
};

TEST_F(SharedRequestTest, DecoderAndReaderTakeItAlike) {
  DecodedRequest decoded;
  ASSERT_TRUE(Decode(&decoded));
  ExpectRead(decoded);
  DecodedRequest read;
  Violations violations;
  reader_.Read(request_, access_, &read, &violations);
  ASSERT_TRUE(violations.empty());
  ExpectRead(read);
}

TEST_F(SharedRequestTest, WhatTheDecoderLeavesTheReaderExplains) {
  v1::CrossEntropy& loss =
      *request_.mutable_evaluation()->mutable_cross_entropy();
  const v1::ComputeGradientRequest good = request_;
  const auto refused = [&](Reason reason, const std::string& field) {
    DecodedRequest ignored;
    EXPECT_FALSE(Decode(&ignored)) << field;
    DecodedRequest read;
    Violations violations;
    reader_.Read(request_, access_, &read, &violations);
    ASSERT_EQ(violations.count(), 1) << field;
    EXPECT_EQ(violations.kept()[0].reason, reason);
    EXPECT_EQ(violations.kept()[0].field, field);
    request_ = good;
  };
  loss.mutable_input()->mutable_shared()->set_offset(8192 - 44);
  refused(Reason::kSharedMemoryInvalid,
          "evaluation.cross_entropy.input.shared");
  loss.mutable_target()->mutable_shared()->set_offset(1025);
  refused(Reason::kSharedMemoryInvalid,
          "evaluation.cross_entropy.target.shared");
  loss.mutable_input()->mutable_shared()->set_token("short");
  refused(Reason::kSharedMemoryUnavailable,
          "evaluation.cross_entropy.input.shared");
  request_.mutable_gradient_memory(0)->set_offset(8);
  refused(Reason::kSharedMemoryInvalid, "gradient_memory[0]");
  loss.mutable_input()->clear_dtype();
  refused(Reason::kDtypeMismatch, "evaluation.cross_entropy.input");
}

TEST_F(SharedRequestTest, EveryTruncationAndEveryByteIsSurvived) {
  const std::string bytes = request_.SerializeAsString();
  for (size_t i = 0; i < bytes.size(); ++i) {
    MessageBuilder cut;
    cut.Append(bytes.substr(0, i));
    DecodedRequest ignored;
    decoder_.Decode(cut.Build(), true, access_, pool_, &ignored);
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = bytes;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      MessageBuilder builder;
      builder.Append(flipped);
      DecodedRequest decoded;
      if (!decoder_.Decode(builder.Build(), true, access_, pool_, &decoded)) {
        continue;
      }
      const TensorView& input = decoded.evaluation.arguments.tensor(0);
      // What no kernel takes is copied.
      if (!IsFloating(input.dtype)) continue;
      EXPECT_GE(input.data, region_->data());
      EXPECT_LE(input.data + input.elements * DtypeSize(input.dtype),
                region_->data() + region_->size());
    }
  }
}

}  // namespace
}  // namespace lossd
