// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/request_decoder.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"

namespace lossd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using WireType = WireFormatLite::WireType;

constexpr WireType kVarint = WireFormatLite::WIRETYPE_VARINT;
constexpr WireType kFixed64 = WireFormatLite::WIRETYPE_FIXED64;
constexpr WireType kBytes = WireFormatLite::WIRETYPE_LENGTH_DELIMITED;

constexpr int64_t kAlignment = 64;

constexpr uint32_t Tag(int field, WireType type) {
  return static_cast<uint32_t>(field) << 3 | static_cast<uint32_t>(type);
}

// Reads a length and then as many bytes with `read`.
template <typename Read>
bool ReadNested(CodedInputStream& in, const Read& read) {
  uint32_t length = 0;
  if (!in.ReadVarint32(&length) || length > INT_MAX) return false;
  const int left = in.BytesUntilLimit();  // -1 where there is no limit
  if (left >= 0 && static_cast<int>(length) > left) return false;
  const auto limit = in.PushLimit(static_cast<int>(length));
  const bool good = read() && in.BytesUntilLimit() == 0;
  in.PopLimit(limit);
  return good;
}

bool IsPlain(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return absl::ascii_isprint(c); });
}

}  // namespace

// One decoding. Each Read... is false if the request is not ordinary.
class RequestDecoder::Pass {
 public:
  // Reads from `in`, up to its limit or its end, at most `bytes`.
  Pass(const RequestDecoder& decoder, CodedInputStream* in, int64_t bytes,
       const SharedAccess& access, BufferPool& pool, DecodedRequest* decoded)
      : binding_(decoder.binding_),
        access_(access),
        max_dimensions_(decoder.max_dimensions_),
        decoded_(*decoded),
        evaluation_(decoded->evaluation),
        in_(*in),
        // Every tensor of every slot fits, each from an aligned place.
        memory_(pool.Allocate(bytes + (kMaxTensors + 1) * kAlignment)) {}

  bool ReadRequest(bool gradient) {
    evaluation_.gradient = gradient;
    bool found = false;
    while (const uint32_t tag = in_.ReadTag()) {
      if (tag ==
          Tag(v1::ComputeGradientRequest::kEvaluationFieldNumber, kBytes)) {
        if (found || !ReadNested(in_, [this] { return ReadEvaluation(); })) {
          return false;
        }
        found = true;
      } else if (!gradient || !ReadGradientOption(tag)) {
        return false;
      }
    }
    if (!found || !in_.ConsumedEntireMessage()) return false;
    decoded_.memory = std::move(memory_);
    return true;
  }

 private:
  bool ReadPlainText(std::string* text) {
    uint32_t length = 0;
    return in_.ReadVarint32(&length) && length <= kMaxTextBytes &&
           in_.ReadString(text, static_cast<int>(length)) && IsPlain(*text);
  }

  // An enum's number. One that is unknown, or too large for an int, is not
  // ordinary.
  template <typename IsValid>
  bool ReadEnum(const IsValid& is_valid, int* number) {
    uint64_t value = 0;
    if (!in_.ReadVarint64(&value) || value > INT_MAX) return false;
    *number = static_cast<int>(value);
    return is_valid(*number);
  }

  bool ReadDouble(double* value) {
    uint64_t bits = 0;
    if (!in_.ReadLittleEndian64(&bits)) return false;
    std::memcpy(value, &bits, sizeof(bits));
    return true;
  }

  bool ReadGradientOption(uint32_t tag) {
    using Request = v1::ComputeGradientRequest;
    switch (tag) {
      case Tag(Request::kWrtFieldNumber, kBytes):
        evaluation_.wrt.emplace_back();
        return ReadPlainText(&evaluation_.wrt.back());
      case Tag(Request::kGradientDtypeFieldNumber, kVarint): {
        int dtype = 0;
        if (!ReadEnum(v1::Dtype_IsValid, &dtype)) return false;
        evaluation_.gradient_dtype = static_cast<Dtype>(dtype);
        return true;
      }
      case Tag(Request::kGradOutputFieldNumber, kBytes):
        return !evaluation_.grad_output.present() && ReadNested(in_, [this] {
          return ReadTensor(DtypeRule::kSameAsLeading, "grad_output",
                            &evaluation_.grad_output);
        });
      case Tag(Request::kGradientMemoryFieldNumber, kBytes):
        evaluation_.gradients_elsewhere = true;
        return ReadNested(in_, [this] {
          int64_t offset = 0;
          return ReadShared(&offset) &&
                 decoded_.shared.AddGradient(access_, token_, offset, &unsaid_);
        });
      default:
        return false;
    }
  }

  bool ReadEvaluation() {
    while (const uint32_t tag = in_.ReadTag()) {
      if (!ReadEvaluationField(tag)) return false;
    }
    return loss_ != nullptr && in_.ConsumedEntireMessage();
  }

  bool ReadEvaluationField(uint32_t tag) {
    int number = 0;
    switch (tag) {
      case Tag(v1::Evaluation::kHintsFieldNumber, kBytes):
        return ReadNested(in_, [this] { return ReadHints(); });
      case Tag(v1::Evaluation::kReductionFieldNumber, kVarint):
        if (!ReadEnum(v1::Reduction_IsValid, &number)) return false;
        evaluation_.reduction = static_cast<Reduction>(number);
        return true;
      case Tag(v1::Evaluation::kNormalizerFieldNumber, kFixed64):
        return ReadDouble(&evaluation_.normalizer.emplace());
      case Tag(v1::Evaluation::kDeviceFieldNumber, kVarint):
        if (!ReadEnum(v1::Device_IsValid, &number)) return false;
        evaluation_.device = static_cast<DeviceClass>(number);
        return true;
      case Tag(v1::Evaluation::kOutputsFieldNumber, kVarint):
        return ReadOutput();
      case Tag(v1::Evaluation::kOutputsFieldNumber, kBytes):
        return ReadNested(in_, [this] {
          while (in_.BytesUntilLimit() > 0) {
            if (!ReadOutput()) return false;
          }
          return true;
        });
      default:
        break;
    }
    // One loss, and by far the most bytes: the last field of an ordinary
    // evaluation.
    if ((tag & 7) != kBytes || loss_ != nullptr) return false;
    loss_ = binding_.Find(static_cast<int>(tag >> 3));
    return loss_ != nullptr && ReadNested(in_, [this] { return ReadLoss(); });
  }

  bool ReadOutput() {
    int output = 0;
    if (!ReadEnum(v1::Output_IsValid, &output) || output == 0) return false;
    evaluation_.outputs.Add(static_cast<Output>(output));
    return true;
  }

  bool ReadHints() {
    while (const uint32_t tag = in_.ReadTag()) {
      int priority = 0;
      if (tag == Tag(v1::CallHints::kRequestIdFieldNumber, kBytes)) {
        if (!ReadPlainText(&decoded_.request_id)) return false;
      } else if (tag == Tag(v1::CallHints::kPriorityFieldNumber, kVarint)) {
        if (!ReadEnum(v1::Priority_IsValid, &priority)) return false;
        decoded_.low_priority = priority == v1::PRIORITY_LOW;
      } else {
        return false;
      }
    }
    return in_.ConsumedEntireMessage();
  }

  bool ReadLoss() {
    const LossSchema& schema = loss_->schema();
    Arguments& arguments = evaluation_.arguments;
    evaluation_.loss = loss_->definition;
    arguments.parameters.resize(schema.parameters.size());
    while (const uint32_t tag = in_.ReadTag()) {
      const BoundLoss::Slot slot = loss_->SlotOf(static_cast<int>(tag >> 3));
      const auto type = static_cast<WireType>(tag & 7);
      if (slot.kind == BoundLoss::Slot::Kind::kTensor) {
        TensorView* tensor = &arguments.tensors[slot.index];
        if (type != kBytes || tensor->present() || !ReadNested(in_, [&] {
              const TensorSchema& named = schema.tensors[slot.index];
              return ReadTensor(named.dtypes, named.name, tensor);
            })) {
          return false;
        }
      } else if (slot.kind == BoundLoss::Slot::Kind::kNone ||
                 !ReadParameter(slot.index, type,
                                &arguments.parameters[slot.index])) {
        return false;
      }
    }
    if (!in_.ConsumedEntireMessage()) return false;
    for (size_t slot = 0; slot < schema.tensors.size(); ++slot) {
      if (schema.tensors[slot].required && !arguments.has(slot)) return false;
    }
    return true;
  }

  bool ReadParameter(int slot, WireType type, std::optional<double>* value) {
    const ParameterSchema& schema = loss_->schema().parameters[slot];
    double number = 0;
    if (schema.type == ParameterType::kDouble) {
      if (type != kFixed64 || !ReadDouble(&number)) return false;
    } else {
      uint64_t raw = 0;
      if (type != kVarint || !in_.ReadVarint64(&raw)) return false;
      const auto integer = static_cast<int64_t>(raw);
      if (!IsOrdinary(schema, integer)) return false;
      number = static_cast<double>(integer);
    }
    // Without explicit presence zero is as good as unset.
    const bool unset = number == 0 && !std::signbit(number) &&
                       !loss_->parameters[slot]->has_presence();
    *value = unset ? std::nullopt : std::optional(number);
    return true;
  }

  static bool IsOrdinary(const ParameterSchema& schema, int64_t value) {
    switch (schema.type) {
      case ParameterType::kBool:
        return value == 0 || value == 1;
      case ParameterType::kEnum:
        return value >= 1 &&
               value <= static_cast<int64_t>(schema.choices.size());
      default:
        return value >= -kMaxExactInteger && value <= kMaxExactInteger;
    }
  }

  // A tensor with dtype, shape and, last, as much content as these need.
  bool ReadTensor(DtypeRule rule, absl::string_view name, TensorView* view) {
    while (const uint32_t tag = in_.ReadTag()) {
      switch (tag) {
        case Tag(v1::Tensor::kDtypeFieldNumber, kVarint): {
          int dtype = 0;
          if (!ReadEnum(v1::Dtype_IsValid, &dtype)) return false;
          view->dtype = static_cast<Dtype>(dtype);
          break;
        }
        case Tag(v1::Tensor::kShapeFieldNumber, kVarint):
          if (!ReadSize(&view->shape)) return false;
          break;
        case Tag(v1::Tensor::kShapeFieldNumber, kBytes):
          if (!ReadNested(in_, [=, this] {
                while (in_.BytesUntilLimit() > 0) {
                  if (!ReadSize(&view->shape)) return false;
                }
                return true;
              })) {
            return false;
          }
          break;
        case Tag(v1::Tensor::kDataFieldNumber, kBytes):
          return ReadData(view);
        case Tag(v1::Tensor::kSharedFieldNumber, kBytes):
          return ReadSharedTensor(rule, name, view);
        default:
          return false;
      }
    }
    return false;
  }

  bool ReadSize(Shape* shape) {
    uint64_t size = 0;
    if (!in_.ReadVarint64(&size) || size > INT64_MAX) return false;
    shape->push_back(static_cast<int64_t>(size));
    return shape->size() <= static_cast<size_t>(max_dimensions_);
  }

  bool ReadData(TensorView* view) {
    if (!view->present()) return false;
    const std::optional<int64_t> elements = ElementCount(view->shape);
    const int64_t size = DtypeSize(view->dtype);
    uint32_t length = 0;
    if (!elements.has_value() || *elements > INT_MAX / size ||
        !in_.ReadVarint32(&length) || length != *elements * size ||
        // The last field, within the message.
        in_.BytesUntilLimit() != static_cast<int>(length)) {
      return false;
    }
    view->elements = *elements;
    uint8_t* to = memory_.data() + used_;
    view->data = to;
    used_ += (static_cast<int64_t>(length) + kAlignment - 1) / kAlignment *
             kAlignment;
    return in_.ReadRaw(to, static_cast<int>(length));
  }

  bool ReadSharedTensor(DtypeRule rule, absl::string_view name,
                        TensorView* view) {
    if (!view->present()) return false;
    const std::optional<int64_t> elements = ElementCount(view->shape);
    if (!elements.has_value() || *elements > INT64_MAX / 8) return false;
    view->elements = *elements;
    int64_t offset = 0;
    // The last field of the tensor.
    return ReadNested(in_, [&] { return ReadShared(&offset); }) &&
           in_.BytesUntilLimit() == 0 &&
           decoded_.shared.Read(access_, token_, offset, rule, {name, ""}, view,
                                &unsaid_);
  }

  // A place in shared memory, its token in token_.
  bool ReadShared(int64_t* offset) {
    token_.clear();
    while (const uint32_t tag = in_.ReadTag()) {
      uint64_t value = 0;
      if (tag == Tag(v1::SharedMemory::kTokenFieldNumber, kBytes)) {
        uint32_t length = 0;
        if (!in_.ReadVarint32(&length) || length > kMaxTextBytes ||
            !in_.ReadString(&token_, static_cast<int>(length))) {
          return false;
        }
      } else if (tag == Tag(v1::SharedMemory::kOffsetFieldNumber, kVarint)) {
        if (!in_.ReadVarint64(&value)) return false;
        *offset = static_cast<int64_t>(value);
      } else {
        return false;
      }
    }
    return in_.ConsumedEntireMessage();
  }

  static constexpr uint32_t kMaxTextBytes = 128;
  // A parameter is a double, which holds integers up to here.
  static constexpr int64_t kMaxExactInteger = int64_t{1} << 53;

  const WireBinding& binding_;
  const SharedAccess& access_;
  const int max_dimensions_;
  DecodedRequest& decoded_;
  Evaluation& evaluation_;
  CodedInputStream& in_;
  AlignedBuffer memory_;
  int64_t used_ = 0;
  const BoundLoss* loss_ = nullptr;
  std::string token_;
  // What is wrong with shared memory: RequestReader says it.
  Violations unsaid_;
};

bool RequestDecoder::Decode(const MessageBytes& bytes, bool gradient,
                            const SharedAccess& access, BufferPool& pool,
                            DecodedRequest* decoded) const {
  SliceInputStream stream(bytes.slices());
  CodedInputStream in(&stream);
  return bytes.present() &&
         Pass(*this, &in, bytes.size(), access, pool, decoded)
             .ReadRequest(gradient);
}

bool RequestDecoder::DecodeStreamed(
    const MessageBytes& bytes, bool gradient, const SharedAccess& access,
    BufferPool& pool,
    absl::FunctionRef<DecodedRequest*(int64_t bytes)> next) const {
  // Both kinds of messages are laid out alike.
  using Streamed = v1::StreamedGradient;
  SliceInputStream stream(bytes.slices());
  CodedInputStream in(&stream);
  const auto read_streamed = [&] {
    const int size = in.BytesUntilLimit();
    DecodedRequest* decoded = next(size);
    bool found = false;
    while (const uint32_t tag = in.ReadTag()) {
      if (tag == Tag(Streamed::kIdFieldNumber, kVarint)) {
        uint64_t id = 0;
        if (!in.ReadVarint64(&id)) return false;
        decoded->id = static_cast<int64_t>(id);
      } else if (found || tag != Tag(Streamed::kRequestFieldNumber, kBytes) ||
                 !ReadNested(in, [&] {
                   return Pass(*this, &in, size, access, pool, decoded)
                       .ReadRequest(gradient);
                 })) {
        return false;
      } else {
        found = true;
      }
    }
    return found && in.ConsumedEntireMessage();
  };
  while (const uint32_t tag = in.ReadTag()) {
    if (tag !=
            Tag(v1::StreamGradientRequest::kEvaluationsFieldNumber, kBytes) ||
        !ReadNested(in, read_streamed)) {
      return false;
    }
  }
  return in.ConsumedEntireMessage();
}

}  // namespace lossd
