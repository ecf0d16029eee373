// SPDX-License-Identifier: Apache-2.0
#include "client/cli/describe.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/number.h"
#include "client/cli/schema.h"
#include "client/cli/text.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

using google::protobuf::FieldDescriptor;

template <typename Enum, typename Values>
std::string JoinEnums(const Values& values) {
  std::vector<std::string> names;
  for (const int value : values) {
    names.push_back(absl::AsciiStrToLower(ShortName(static_cast<Enum>(value))));
  }
  return absl::StrJoin(names, ", ");
}

// "float16, bfloat16, float32, float64, int64".
std::string Dtypes(const v1::TensorDescriptor& tensor) {
  return JoinEnums<v1::Dtype>(tensor.dtypes());
}

std::string Traits(const v1::TensorDescriptor& tensor) {
  std::vector<std::string> traits = {tensor.required() ? "required"
                                                       : "optional"};
  if (tensor.role() != v1::TensorDescriptor::ROLE_UNSPECIFIED) {
    traits.push_back(absl::AsciiStrToLower(ShortName(tensor.role())));
  }
  if (tensor.differentiable()) {
    traits.push_back(tensor.default_wrt() ? "gradient by default"
                                          : "gradient on request");
  }
  if (tensor.has_minimum() || tensor.has_maximum()) {
    traits.push_back(absl::StrCat(
        "in [",
        tensor.has_minimum() ? FormatNumber(tensor.minimum()) : "-Infinity",
        ", ",
        tensor.has_maximum() ? FormatNumber(tensor.maximum()) : "Infinity",
        "]"));
  }
  return absl::StrJoin(traits, ", ");
}

std::string ValueOf(const v1::ParameterDescriptor& parameter) {
  if (parameter.choices_size() > 0) {
    return absl::StrJoin(parameter.choices(), "|");
  }
  return absl::AsciiStrToLower(ShortName(parameter.type()));
}

// What follows a parameter: its range and default.
std::string Details(const v1::ParameterDescriptor& parameter) {
  std::vector<std::string> details;
  if (!parameter.range().empty()) {
    details.push_back(absl::StrCat("in ", parameter.range()));
  }
  details.push_back(parameter.default_value().empty()
                        ? "off by default"
                        : absl::StrCat("default ", parameter.default_value()));
  return absl::StrJoin(details, ", ");
}

void AppendLine(std::string& text, absl::string_view name,
                absl::string_view value) {
  if (value.empty()) return;
  absl::StrAppend(&text, name,
                  std::string(name.size() < 13 ? 13 - name.size() : 1, ' '),
                  value, "\n");
}

v1::ParameterDescriptor ParameterFromField(const FieldDescriptor& field) {
  v1::ParameterDescriptor parameter;
  parameter.set_name(field.name());
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE:
      parameter.set_type(v1::ParameterDescriptor::TYPE_DOUBLE);
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      parameter.set_type(v1::ParameterDescriptor::TYPE_INT64);
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      parameter.set_type(v1::ParameterDescriptor::TYPE_BOOL);
      break;
    default:
      parameter.set_type(v1::ParameterDescriptor::TYPE_ENUM);
  }
  if (field.enum_type() != nullptr) {
    for (int i = 1; i < field.enum_type()->value_count(); ++i) {
      parameter.add_choices(ShortName(*field.enum_type()->value(i)));
    }
  }
  parameter.set_default_value("the server's");
  return parameter;
}

std::string Bytes(int64_t bytes) {
  for (const auto& [shift, unit] :
       {std::pair(30, "GiB"), std::pair(20, "MiB"), std::pair(10, "KiB")}) {
    if (bytes >= int64_t{1} << shift && bytes % (int64_t{1} << shift) == 0) {
      return absl::StrCat(bytes >> shift, " ", unit);
    }
  }
  return absl::StrCat(bytes, " bytes");
}

std::string DeviceText(const v1::DeviceInfo& device,
                       v1::Device default_device) {
  const bool cpu = device.device() == v1::DEVICE_CPU;
  return absl::StrCat(device.name(), ", ", device.model(),
                      device.model().empty() ? "" : ", ", device.target(), ", ",
                      device.parallelism(),
                      cpu ? " threads" : " multiprocessors",
                      device.device() == default_device ? " (default)" : "",
                      device.in_service() ? "" : ": out of service");
}

}  // namespace

std::string LossTable(const v1::ListLossesResponse& losses) {
  Table table;
  table.AddColumn("LOSS");
  table.AddColumn("TENSORS");
  table.AddColumn("PARAMETERS");
  table.AddColumn("SUMMARY");
  for (const v1::LossDescriptor& loss : losses.losses()) {
    std::vector<std::string> tensors;
    for (const v1::TensorDescriptor& tensor : loss.tensors()) {
      tensors.push_back(tensor.required()
                            ? tensor.name()
                            : absl::StrCat("[", tensor.name(), "]"));
    }
    std::vector<std::string> parameters;
    for (const v1::ParameterDescriptor& parameter : loss.parameters()) {
      parameters.push_back(parameter.name());
    }
    if (parameters.size() > 3) {
      parameters = {parameters[0], parameters[1],
                    absl::StrCat("and ", parameters.size() - 2, " more")};
    }
    table.AddRow({loss.name(), absl::StrJoin(tensors, " "),
                  absl::StrJoin(parameters, ", "), loss.summary()});
  }
  return table.ToString();
}

std::string FlagsPage(const v1::LossDescriptor& loss) {
  std::string text = "Tensors:\n";
  Table tensors;
  tensors.AddColumn("  FLAG");
  tensors.AddColumn("SHAPE");
  tensors.AddColumn("DTYPES");
  tensors.AddColumn("WHAT");
  for (const v1::TensorDescriptor& tensor : loss.tensors()) {
    tensors.AddRow(
        {absl::StrCat("  --", tensor.name()), tensor.shape_rule(),
         Dtypes(tensor),
         absl::StrCat(Traits(tensor), tensor.description().empty() ? "" : ". ",
                      tensor.description())});
  }
  absl::StrAppend(&text, tensors.ToString());
  if (loss.parameters_size() == 0) return text;
  Table parameters;
  parameters.AddColumn("  FLAG");
  parameters.AddColumn("VALUE");
  parameters.AddColumn("WHAT");
  for (const v1::ParameterDescriptor& parameter : loss.parameters()) {
    parameters.AddRow({absl::StrCat("  --", parameter.name()),
                       ValueOf(parameter),
                       absl::StrCat(Details(parameter),
                                    parameter.description().empty() ? "" : ". ",
                                    parameter.description())});
  }
  absl::StrAppend(&text, "\nParameters:\n", parameters.ToString());
  return text;
}

std::string LossPage(const v1::LossDescriptor& loss) {
  std::string text = absl::StrCat(loss.name(), ": ", loss.summary(), "\n\n");
  AppendLine(text, "formula", loss.formula());
  AppendLine(text, "denominator", loss.denominator());
  AppendLine(
      text, "reductions",
      absl::StrCat(JoinEnums<v1::Reduction>(loss.reductions()), " (default ",
                   absl::AsciiStrToLower(ShortName(loss.default_reduction())),
                   ")"));
  AppendLine(text, "outputs", JoinEnums<v1::Output>(loss.outputs()));
  AppendLine(text, "devices", JoinEnums<v1::Device>(loss.devices()));
  AppendLine(text, "cost", loss.cost_rule());
  AppendLine(text, "source", loss.source());
  absl::StrAppend(&text, "\n", FlagsPage(loss));
  if (loss.metrics_size() > 0) {
    absl::StrAppend(&text, "\nMetrics:\n");
    for (const v1::MetricDescriptor& metric : loss.metrics()) {
      absl::StrAppend(&text, "  ", metric.name(), ": ", metric.description(),
                      "\n");
    }
  }
  if (loss.differences_size() > 0) {
    absl::StrAppend(&text, "\nDifferences from PyTorch:\n");
    for (const std::string& difference : loss.differences()) {
      absl::StrAppend(&text, "  ", difference, "\n");
    }
  }
  return text;
}

v1::LossDescriptor DescriptorFromMessage(absl::string_view name) {
  v1::LossDescriptor loss;
  loss.set_name(std::string(name));
  const google::protobuf::Descriptor& message =
      *(*FindLoss(name))->message_type();
  for (int i = 0; i < message.field_count(); ++i) {
    if (!IsTensor(*message.field(i))) {
      *loss.add_parameters() = ParameterFromField(*message.field(i));
    }
  }
  for (int i = message.field_count(); i-- > 0;) {
    if (IsTensor(*message.field(i))) {
      loss.add_tensors()->set_name(message.field(i)->name());
    }
  }
  return loss;
}

std::string InfoPage(const v1::GetServerInfoResponse& info) {
  std::string text;
  AppendLine(text, "lossd",
             absl::StrCat(info.version(), ", numerics version ",
                          info.numerics_version()));
  AppendLine(text, "instance", info.instance());
  for (const v1::DeviceInfo& device : info.devices()) {
    AppendLine(text, "device", DeviceText(device, info.default_device()));
  }
  const v1::Limits& limits = info.limits();
  absl::StrAppend(&text, "\nLimits:\n");
  Table table;
  table.AddColumn("  LIMIT");
  table.AddColumn("VALUE", Table::Align::kRight);
  table.AddRow({"  message", Bytes(limits.max_message_bytes())});
  table.AddRow({"  answer", Bytes(limits.max_response_bytes())});
  table.AddRow({"  scratch", Bytes(limits.max_scratch_bytes())});
  table.AddRow({"  elements of a tensor", absl::StrCat(limits.max_elements())});
  table.AddRow({"  dimensions", absl::StrCat(limits.max_dimensions())});
  table.AddRow({"  operations", FormatNumber(limits.max_operations())});
  table.AddRow(
      {"  deadline", absl::StrCat(limits.max_deadline().seconds(), " s")});
  table.AddRow(
      {"  queue, requests", absl::StrCat(limits.max_queue_requests())});
  table.AddRow({"  queue, bytes", Bytes(limits.max_queue_bytes())});
  table.AddRow(
      {"  queue, operations", FormatNumber(limits.max_queue_operations())});
  absl::StrAppend(&text, table.ToString(),
                  "\nBatching: ", info.batching().workers(),
                  " workers, at most ", info.batching().max_batch_requests(),
                  " requests, ", info.batching().max_batch_rows(), " rows and ",
                  Bytes(info.batching().max_batch_bytes()), " a batch\n");
  return text;
}

}  // namespace lossd::cli
