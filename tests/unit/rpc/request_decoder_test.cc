// SPDX-License-Identifier: Apache-2.0
//
// What the decoder takes means what the parser and the reader take it for, and
// whatever they would refuse it leaves to them.

#include "server/rpc/request_decoder.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/losses/loss.h"

namespace lossd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::string Floats(int count) {
  std::string bytes(static_cast<size_t>(count) * 4, '\0');
  for (int i = 0; i < count; ++i) {
    const float value = static_cast<float>(i) * 0.25f;
    std::memcpy(bytes.data() + i * 4, &value, 4);
  }
  return bytes;
}

v1::Tensor MakeTensor(const std::vector<int64_t>& shape) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DTYPE_FLOAT32);
  int64_t count = 1;
  for (int64_t size : shape) {
    tensor.add_shape(size);
    count *= size;
  }
  tensor.set_data(Floats(static_cast<int>(count)));
  return tensor;
}

// A request that sets everything a request has.
v1::ComputeGradientRequest FullRequest(const BoundLoss& loss) {
  v1::ComputeGradientRequest request;
  request.add_wrt("input");
  request.add_wrt("target");
  request.set_gradient_dtype(v1::DTYPE_FLOAT64);
  *request.mutable_grad_output() = MakeTensor({});
  v1::Evaluation& evaluation = *request.mutable_evaluation();
  evaluation.set_reduction(v1::REDUCTION_SUM);
  evaluation.set_normalizer(2.5);
  evaluation.set_device(v1::DEVICE_CPU);
  evaluation.add_outputs(v1::OUTPUT_LOSS);
  evaluation.add_outputs(v1::OUTPUT_GRADIENTS);
  evaluation.mutable_hints()->set_request_id("abc-7");
  evaluation.mutable_hints()->set_priority(v1::PRIORITY_LOW);
  Message* message =
      evaluation.GetReflection()->MutableMessage(&evaluation, loss.field);
  for (const FieldDescriptor* field : loss.tensors) {
    *static_cast<v1::Tensor*>(message->GetReflection()->MutableMessage(
        message, field)) = MakeTensor({2, 3});
  }
  for (const FieldDescriptor* field : loss.parameters) {
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_DOUBLE:
        message->GetReflection()->SetDouble(message, field, 0.75);
        break;
      case FieldDescriptor::CPPTYPE_INT64:
        message->GetReflection()->SetInt64(message, field, -100);
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        message->GetReflection()->SetBool(message, field, true);
        break;
      default:
        message->GetReflection()->SetEnumValue(message, field, 1);
    }
  }
  return request;
}

// The bytes in slices of at most `piece`.
MessageBytes Slice(const std::string& bytes, size_t piece) {
  MessageBuilder builder;
  for (size_t i = 0; i < bytes.size(); i += piece) {
    builder.Append(absl::string_view(bytes).substr(i, piece));
  }
  return builder.Build();
}

void ExpectSame(const TensorView& a, const TensorView& b) {
  ASSERT_EQ(a.dtype, b.dtype);
  ASSERT_EQ(a.shape, b.shape);
  ASSERT_EQ(a.elements, b.elements);
  if (!a.present() || a.elements == 0) return;
  ASSERT_NE(a.data, nullptr);
  EXPECT_EQ(std::memcmp(a.data, b.data,
                        static_cast<size_t>(a.elements * DtypeSize(a.dtype))),
            0);
}

void ExpectSame(const DecodedRequest& a, const DecodedRequest& b) {
  const Evaluation& x = a.evaluation;
  const Evaluation& y = b.evaluation;
  EXPECT_EQ(x.loss, y.loss);
  EXPECT_EQ(x.reduction, y.reduction);
  EXPECT_EQ(x.normalizer.has_value(), y.normalizer.has_value());
  if (x.normalizer.has_value() && y.normalizer.has_value()) {
    EXPECT_EQ(std::memcmp(&*x.normalizer, &*y.normalizer, 8), 0);
  }
  EXPECT_EQ(x.device, y.device);
  for (int output = 1; output <= 6; ++output) {
    EXPECT_EQ(x.outputs.Has(static_cast<Output>(output)),
              y.outputs.Has(static_cast<Output>(output)));
  }
  EXPECT_EQ(x.validate_only, y.validate_only);
  EXPECT_EQ(x.gradient, y.gradient);
  EXPECT_EQ(x.wrt, y.wrt);
  EXPECT_EQ(x.gradient_dtype, y.gradient_dtype);
  ExpectSame(x.grad_output, y.grad_output);
  for (int slot = 0; slot < kMaxTensors; ++slot) {
    ExpectSame(x.arguments.tensors[slot], y.arguments.tensors[slot]);
  }
  ASSERT_EQ(x.arguments.parameters.size(), y.arguments.parameters.size());
  for (size_t i = 0; i < x.arguments.parameters.size(); ++i) {
    ASSERT_EQ(x.arguments.parameters[i].has_value(),
              y.arguments.parameters[i].has_value());
    if (!x.arguments.parameters[i].has_value()) continue;
    EXPECT_EQ(std::memcmp(&*x.arguments.parameters[i],
                          &*y.arguments.parameters[i], 8),
              0);
  }
  EXPECT_EQ(a.answer_in_values, b.answer_in_values);
  EXPECT_EQ(a.request_id, b.request_id);
  EXPECT_EQ(a.low_priority, b.low_priority);
}

using Request = v1::ComputeGradientRequest;

// What makes a request unusual, and how.
struct Change {
  const char* name;
  std::function<void(Request*)> make;
};

v1::Tensor& InputOf(Request* request) {
  return *request->mutable_evaluation()
              ->mutable_cross_entropy()
              ->mutable_input();
}

std::vector<Change> UnusualTensors() {
  return {
      {"numbers",
       [](Request* r) { InputOf(r).mutable_values()->set_number_value(1); }},
      {"validation",
       [](Request* r) { r->mutable_evaluation()->set_validate_only(true); }},
      {"no loss", [](Request* r) { r->mutable_evaluation()->clear_loss(); }},
      {"no evaluation", [](Request* r) { r->clear_evaluation(); }},
      {"a tensor is missing",
       [](Request* r) {
         r->mutable_evaluation()->mutable_cross_entropy()->clear_target();
       }},
      {"no dtype", [](Request* r) { InputOf(r).clear_dtype(); }},
      {"no data", [](Request* r) { InputOf(r).clear_data(); }},
      {"too little data",
       [](Request* r) { InputOf(r).mutable_data()->pop_back(); }},
      {"a negative size", [](Request* r) { InputOf(r).set_shape(0, -2); }},
      {"an overflow",
       [](Request* r) {
         v1::Tensor* input = &InputOf(r);
         input->set_shape(0, int64_t{1} << 62);
         input->set_shape(1, 4);
         input->clear_data();
         input->set_data("");
       }},
      {"too many dimensions",
       [](Request* r) {
         for (int i = 0; i < 3; ++i) {
           InputOf(r).add_shape(1);
         }
       }},
  };
}

std::vector<Change> UnusualOptions() {
  return {
      {"an unknown dtype",
       [](Request* r) { r->set_gradient_dtype(static_cast<v1::Dtype>(99)); }},
      {"an unknown output",
       [](Request* r) {
         r->mutable_evaluation()->add_outputs(static_cast<v1::Output>(99));
       }},
      {"no output",
       [](Request* r) {
         r->mutable_evaluation()->add_outputs(v1::OUTPUT_UNSPECIFIED);
       }},
      {"an unknown reduction",
       [](Request* r) {
         r->mutable_evaluation()->set_reduction(static_cast<v1::Reduction>(99));
       }},
      {"a long request id",
       [](Request* r) {
         r->mutable_evaluation()->mutable_hints()->set_request_id(
             std::string(129, 'x'));
       }},
      {"an unprintable request id",
       [](Request* r) {
         r->mutable_evaluation()->mutable_hints()->set_request_id("a\n");
       }},
      {"an integer that no double holds",
       [](Request* r) {
         r->mutable_evaluation()->mutable_cross_entropy()->set_ignore_index(
             (int64_t{1} << 53) + 1);
       }},
  };
}

class RequestDecoderTest : public testing::Test {
 protected:
  RequestDecoderTest()
      : binding_(WireBinding::Create(AllLosses(), *v1::Evaluation::descriptor())
                     .value()),
        reader_(&binding_, kMaxDimensions, "0.1.0"),
        decoder_(&binding_, kMaxDimensions),
        pool_(1 << 20) {}

  const BoundLoss& Loss(absl::string_view name) {
    for (const BoundLoss& loss : binding_.losses()) {
      if (loss.schema().name == name) return loss;
    }
    ADD_FAILURE() << name;
    return binding_.losses()[0];
  }

  // Decodes, and compares with the reading of the message if that succeeds.
  bool Decode(const std::string& bytes, size_t piece = 1 << 20) {
    DecodedRequest decoded;
    if (!decoder_.Decode(Slice(bytes, piece), true, {}, pool_, &decoded)) {
      return false;
    }
    v1::ComputeGradientRequest request;
    DecodedRequest read;
    Violations violations;
    EXPECT_TRUE(request.ParseFromString(bytes));
    reader_.Read(request, {}, &read, &violations);
    EXPECT_EQ(violations.count(), 0) << violations.kept()[0].description << "\n"
                                     << request.DebugString();
    ExpectSame(decoded, read);
    return true;
  }

  bool DecodeChanged(
      const std::function<void(v1::ComputeGradientRequest*)>& f) {
    v1::ComputeGradientRequest request = FullRequest(Loss("cross_entropy"));
    f(&request);
    return Decode(request.SerializeAsString());
  }

  static constexpr int kMaxDimensions = 4;

  WireBinding binding_;
  RequestReader reader_;
  RequestDecoder decoder_;
  BufferPool pool_;
};

TEST_F(RequestDecoderTest, TakesAFullRequestOfEveryLoss) {
  for (const BoundLoss& loss : binding_.losses()) {
    EXPECT_TRUE(Decode(FullRequest(loss).SerializeAsString()))
        << loss.schema().name;
  }
}

TEST_F(RequestDecoderTest, TakesALossRequest) {
  v1::ComputeLossRequest request;
  *request.mutable_evaluation() = FullRequest(Loss("mse_loss")).evaluation();
  DecodedRequest decoded;
  EXPECT_TRUE(decoder_.Decode(Slice(request.SerializeAsString(), 100), false,
                              {}, pool_, &decoded));
  EXPECT_FALSE(decoded.evaluation.gradient);
  EXPECT_EQ(decoded.evaluation.arguments.tensor(0).elements, 6);
}

TEST_F(RequestDecoderTest, AGradientRequestIsNoLossRequest) {
  DecodedRequest decoded;
  EXPECT_FALSE(decoder_.Decode(
      Slice(FullRequest(Loss("mse_loss")).SerializeAsString(), 100), false, {},
      pool_, &decoded));
}

TEST_F(RequestDecoderTest, SlicesCanEndAnywhere) {
  const std::string bytes =
      FullRequest(Loss("cross_entropy")).SerializeAsString();
  for (size_t piece = 1; piece < 40; ++piece) {
    EXPECT_TRUE(Decode(bytes, piece)) << piece;
  }
}

TEST_F(RequestDecoderTest, TensorsAreAligned) {
  DecodedRequest decoded;
  ASSERT_TRUE(decoder_.Decode(
      Slice(FullRequest(Loss("cross_entropy")).SerializeAsString(), 7), true,
      {}, pool_, &decoded));
  for (const TensorView& tensor : decoded.evaluation.arguments.tensors) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data) % 64, 0u);
  }
}

TEST_F(RequestDecoderTest, ZeroOfAParameterWithoutPresenceIsUnset) {
  EXPECT_TRUE(DecodeChanged([](auto* request) {
    request->mutable_evaluation()->mutable_cross_entropy()->set_label_smoothing(
        0);
  }));
}

TEST_F(RequestDecoderTest, LeavesTheUnusualToTheParser) {
  for (const auto& changes : {UnusualTensors(), UnusualOptions()}) {
    for (const Change& change : changes) {
      EXPECT_FALSE(DecodeChanged(change.make)) << change.name;
    }
  }
}

TEST_F(RequestDecoderTest, LeavesUnknownFieldsToTheParser) {
  const v1::ComputeGradientRequest full = FullRequest(Loss("mse_loss"));
  v1::ComputeGradientRequest outside = full;
  outside.GetReflection()->MutableUnknownFields(&outside)->AddVarint(900, 1);
  EXPECT_FALSE(Decode(outside.SerializeAsString()));
  v1::ComputeGradientRequest inside = full;
  Message* evaluation = inside.mutable_evaluation();
  evaluation->GetReflection()
      ->MutableUnknownFields(evaluation)
      ->AddVarint(900, 1);
  EXPECT_FALSE(Decode(inside.SerializeAsString()));
}

TEST_F(RequestDecoderTest, LeavesWhatIsCutShortToTheParser) {
  const std::string bytes =
      FullRequest(Loss("cross_entropy")).SerializeAsString();
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(Decode(bytes.substr(0, length))) << length;
  }
  EXPECT_FALSE(Decode(bytes + bytes));
  EXPECT_FALSE(Decode(bytes + std::string(1, '\0')));
}

TEST_F(RequestDecoderTest, NoMessageIsNotOrdinary) {
  DecodedRequest decoded;
  EXPECT_FALSE(decoder_.Decode(MessageBytes(), true, {}, pool_, &decoded));
}

// Whatever a mutation leaves good means the same to both.
TEST_F(RequestDecoderTest, AgreesWithTheParserOnDamagedBytes) {
  const auto seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&random](size_t n) {
    return std::uniform_int_distribution<size_t>(0, n - 1)(random);
  };
  int taken = 0;
  for (int i = 0; i < 20000; ++i) {
    const auto losses = binding_.losses();
    std::string bytes =
        FullRequest(losses[below(losses.size())]).SerializeAsString();
    const size_t changes = 1 + below(3);
    for (size_t k = 0; k < changes; ++k) {
      const size_t at = below(bytes.size());
      switch (below(4)) {
        case 0:
          bytes[at] = static_cast<char>(below(256));
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
          break;
        case 2:
          bytes.erase(at, 1 + below(4));
          break;
        default:
          bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(at),
                       static_cast<char>(below(256)));
      }
      if (bytes.empty()) bytes.assign(1, 'x');
    }
    taken += Decode(bytes, 1 + below(200));
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(taken, 100);
}

}  // namespace
}  // namespace lossd
