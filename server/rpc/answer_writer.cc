// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/answer_writer.h"

#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "server/rpc/field_writer.h"
#include "server/rpc/tensor_wire.h"

namespace lossd {
namespace {

using Fields = v1::Result;

// Where the small part of most answers fits.
constexpr size_t kSmallBytes = 512;
// Where the text of a RunRecord fits, and the prefixes of an answer's fields.
constexpr size_t kRunBytes = 64;

absl::string_view TextOf(const AlignedBuffer& data) {
  return {reinterpret_cast<const char*>(data.data()),
          static_cast<size_t>(data.size())};
}

// A lossd.v1.Tensor up to its content.
std::string TensorHead(const OwnedTensor& tensor) {
  std::string head;
  FieldWriter writer(&head);
  writer.Varint(v1::Tensor::kDtypeFieldNumber, static_cast<int>(tensor.dtype));
  if (!tensor.shape.empty()) {
    int64_t bytes = 0;
    for (int64_t size : tensor.shape) bytes += FieldWriter::ElementBytes(size);
    writer.Length(v1::Tensor::kShapeFieldNumber, bytes);
    for (int64_t size : tensor.shape) writer.Element(size);
  }
  return head;
}

// A lossd.v1.Tensor up to its data.
std::string DataTensorHead(const OwnedTensor& tensor) {
  std::string head = TensorHead(tensor);
  FieldWriter(&head).Length(v1::Tensor::kDataFieldNumber, tensor.data.size());
  return head;
}

// A lossd.v1.Tensor that is in shared memory.
std::string SharedTensor(const OwnedTensor& tensor, const SharedPlace& place) {
  std::string shared;
  FieldWriter writer(&shared);
  const RegionToken& token = place.region->token();
  writer.Bytes(v1::SharedMemory::kTokenFieldNumber,
               {reinterpret_cast<const char*>(token.data()), token.size()});
  if (place.offset != 0) {
    writer.Varint(v1::SharedMemory::kOffsetFieldNumber, place.offset);
  }
  std::string text = TensorHead(tensor);
  FieldWriter(&text).Bytes(v1::Tensor::kSharedFieldNumber, shared);
  return text;
}

void AppendDuration(int field, absl::Duration duration, FieldWriter* writer) {
  using Wire = google::protobuf::Duration;
  absl::Duration rest;
  const int64_t seconds = absl::IDivDuration(duration, absl::Seconds(1), &rest);
  const int64_t nanos = absl::ToInt64Nanoseconds(rest);
  // What is 0 is left out.
  const auto bytes = [](int number, int64_t value) {
    return value == 0 ? 0 : FieldWriter::LengthBytes(number, value);
  };
  writer->Length(field, bytes(Wire::kSecondsFieldNumber, seconds) +
                            bytes(Wire::kNanosFieldNumber, nanos));
  if (seconds != 0) writer->Varint(Wire::kSecondsFieldNumber, seconds);
  if (nanos != 0) writer->Varint(Wire::kNanosFieldNumber, nanos);
}

void AppendRun(const RunRecord& run, absl::Duration copying,
               std::string* execution) {
  FieldWriter writer(execution);
  if (run.batch_requests != 0) {
    writer.Varint(v1::Execution::kBatchRequestsFieldNumber, run.batch_requests);
  }
  if (run.batch_rows != 0) {
    writer.Varint(v1::Execution::kBatchRowsFieldNumber, run.batch_rows);
  }
  AppendDuration(v1::Execution::kQueuedFieldNumber, run.queued, &writer);
  AppendDuration(v1::Execution::kComputingFieldNumber, run.computing, &writer);
  if (copying > absl::ZeroDuration()) {
    AppendDuration(v1::Execution::kCopyingFieldNumber, copying, &writer);
  }
}

// Writes a lossd.v1.Result: text, and the large tensors that belong into it.
class ResultWriter {
 public:
  ResultWriter(bool as_values, absl::Span<const SharedPlace> places,
               std::string* text)
      : as_values_(as_values), places_(places), text_(*text), writer_(text) {}

  void Write(Task& task) {
    WriteNumbers(task.result);
    if (task.evaluation.validate_only) return;
    Result& result = task.result;
    WriteFindings(result);
    WriteField(Fields::kLossTensorFieldNumber, result.loss_tensor);
    WriteField(Fields::kPredictedClassesFieldNumber, result.predicted_classes);
    WriteField(Fields::kElementwiseLossesFieldNumber,
               result.elementwise_losses);
    WriteField(Fields::kProbabilitiesFieldNumber, result.probabilities);
    WriteField(Fields::kLogProbabilitiesFieldNumber, result.log_probabilities);
    for (size_t i = 0; i < result.gradients.size(); ++i) {
      WriteGradient(result.gradients[i],
                    places_.empty() ? nullptr : &places_[i]);
    }
  }

  const LargeTensors& large() const { return large_; }

 private:
  void WriteNumbers(const Result& result) {
    if (result.loss.has_value()) {
      writer_.Double(Fields::kLossFieldNumber, *result.loss);
    }
    if (result.mean_numerator.has_value()) {
      writer_.Double(Fields::kMeanNumeratorFieldNumber, *result.mean_numerator);
    }
    if (result.counted) {
      writer_.Double(Fields::kMeanDenominatorFieldNumber,
                     result.mean_denominator);
    }
    writer_.Varint(Fields::kElementCountFieldNumber, result.element_count);
    if (result.counted) {
      writer_.Varint(Fields::kIgnoredCountFieldNumber, result.ignored_count);
    }
  }

  void WriteFindings(const Result& result) {
    if (result.gradient_underflow_count.has_value()) {
      writer_.Varint(Fields::kGradientUnderflowCountFieldNumber,
                     *result.gradient_underflow_count);
    }
    WriteNonFinite(result.non_finite);
    for (const MetricValue& metric : result.metrics) {
      v1::Metric out;
      out.set_name(std::string(metric.name));
      out.set_numerator(metric.numerator);
      out.set_denominator(metric.denominator);
      writer_.Bytes(Fields::kMetricsFieldNumber, out.SerializeAsString());
    }
  }

  void WriteNonFinite(const NonFinite& found) {
    using Wire = v1::NonFinite;
    const std::pair<int, bool> flags[] = {
        {Wire::kInputNanFieldNumber, found.input_nan},
        {Wire::kInputInfinityFieldNumber, found.input_infinity},
        {Wire::kResultNanFieldNumber, found.result_nan},
        {Wire::kResultInfinityFieldNumber, found.result_infinity}};
    int64_t bytes = 0;
    for (const auto& [field, set] : flags) {
      if (set) bytes += FieldWriter::LengthBytes(field, 1);
    }
    writer_.Length(Fields::kNonFiniteFieldNumber, bytes);
    for (const auto& [field, set] : flags) {
      if (set) writer_.Varint(field, 1);
    }
  }

  // At `place`, if it is not null.
  void WriteGradient(GradientValue& gradient, const SharedPlace* place) {
    std::string before;
    FieldWriter(&before).Bytes(v1::Gradient::kWrtFieldNumber, gradient.wrt);
    const auto prefix = [&](int64_t tensor) {
      const int64_t inside =
          static_cast<int64_t>(before.size()) + tensor +
          FieldWriter::LengthBytes(v1::Gradient::kValueFieldNumber, tensor);
      writer_.Length(Fields::kGradientsFieldNumber, inside);
      text_ += before;
      writer_.Length(v1::Gradient::kValueFieldNumber, tensor);
    };
    if (place == nullptr) {
      WriteTensor(gradient.value, prefix);
      return;
    }
    const std::string tensor = SharedTensor(gradient.value, *place);
    prefix(static_cast<int64_t>(tensor.size()));
    text_ += tensor;
  }

  void WriteField(int field, OwnedTensor& tensor) {
    if (!tensor.present()) return;
    WriteTensor(tensor, [&](int64_t bytes) { writer_.Length(field, bytes); });
  }

  // Writes with `prefix` what precedes a tensor of so many bytes, and then it.
  template <typename Prefix>
  void WriteTensor(OwnedTensor& tensor, const Prefix& prefix) {
    if (as_values_) {
      v1::Tensor wire;
      lossd::WriteTensor(ViewOf(tensor), true, &wire);
      prefix(static_cast<int64_t>(wire.ByteSizeLong()));
      wire.AppendToString(&text_);
      return;
    }
    const std::string head = DataTensorHead(tensor);
    prefix(static_cast<int64_t>(head.size()) + tensor.data.size());
    text_ += head;
    if (tensor.data.size() < kLargeTensorBytes) {
      const absl::string_view data = TextOf(tensor.data);
      text_.append(data.data(), data.size());
    } else {
      large_.push_back({text_.size(), &tensor.data});
    }
  }

  const bool as_values_;
  const absl::Span<const SharedPlace> places_;
  std::string& text_;
  FieldWriter writer_;
  LargeTensors large_;
};

}  // namespace

AnswerWriter::AnswerWriter(const ServerIdentity& identity,
                           const Engine& engine) {
  for (const auto& backend : engine.backends()) {
    for (size_t i = 0; i < backend->devices().size(); ++i) {
      const DeviceDescription& device = backend->devices()[i];
      devices_.push_back({backend.get(), i, {}});
      for (const LossDefinition* loss : AllLosses()) {
        v1::Execution wire;
        wire.set_instance(std::string(identity.instance));
        wire.set_version(std::string(identity.version));
        wire.set_numerics_version(kNumericsVersion);
        wire.set_backend(backend->name());
        wire.set_device(device.name);
        wire.set_kernel(std::string(loss->schema.name));
        wire.set_target(device.target);
        devices_.back().by_loss.push_back(wire.SerializeAsString());
      }
    }
  }
}

AnswerBytes AnswerWriter::Write(Task& task, bool as_values,
                                absl::Span<const SharedPlace> places,
                                const RunRecord& run) const {
  std::string text;
  text.reserve(kSmallBytes);
  ResultWriter result(as_values, places, &text);
  result.Write(task);
  AnswerBytes answer;
  int64_t result_bytes = static_cast<int64_t>(text.size());
  for (const LargeTensor& large : result.large())
    result_bytes += large.data->size();

  absl::string_view execution;
  for (const DeviceText& each : devices_) {
    if (each.backend == task.backend && each.device == task.device) {
      execution = each.by_loss[task.loss_index];
    }
  }
  std::string run_text;
  run_text.reserve(kRunBytes);
  AppendRun(run, task.copying, &run_text);
  answer.text_.reserve(text.size() + execution.size() + 2 * kRunBytes);
  FieldWriter writer(&answer.text_);
  writer.Length(v1::ComputeLossResponse::kExecutionFieldNumber,
                static_cast<int64_t>(execution.size() + run_text.size()));
  absl::StrAppend(&answer.text_, execution, run_text);
  writer.Length(v1::ComputeLossResponse::kResultFieldNumber, result_bytes);
  for (const LargeTensor& large : result.large()) {
    answer.large_.push_back(
        {answer.text_.size() + large.text_before, large.data});
    answer.large_bytes_ += large.data->size();
  }
  answer.text_ += text;
  return answer;
}

void AnswerBytes::AppendTo(MessageBuilder* message) && {
  const absl::string_view all = text_;
  size_t begin = 0;
  for (const LargeTensor& large : large_) {
    message->Append(all.substr(begin, large.text_before - begin));
    message->Append(std::move(*large.data));
    begin = large.text_before;
  }
  message->Append(all.substr(begin));
}

void WriteDuration(absl::Duration duration, google::protobuf::Duration* wire) {
  absl::Duration rest;
  wire->set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  wire->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

}  // namespace lossd
