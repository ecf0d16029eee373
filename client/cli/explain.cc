// SPDX-License-Identifier: Apache-2.0
#include "client/cli/explain.h"

#include <google/protobuf/message.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/evaluation.h"
#include "client/cli/number.h"
#include "client/cli/schema.h"
#include "client/cli/text.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

constexpr int64_t kMaxRows = 40;
constexpr int64_t kEdgeRows = 10;
constexpr int64_t kMaxVector = 8;
constexpr int64_t kEdgeVector = 3;

// A column of the table: a tensor that maps to its rows.
struct Column {
  std::string header;
  RowMapping mapping;
  bool floating;
  std::vector<double> values;
};

std::string FormatCell(const Column& column, int64_t at) {
  const double value = column.values[at];
  return column.floating ? FormatBrief(value) : absl::StrCat(value);
}

std::string Cell(const Column& column, int64_t row, bool full) {
  const RowMapping& mapping = column.mapping;
  const int64_t first = row / mapping.inner * mapping.outer_stride +
                        row % mapping.inner / mapping.repeat;
  if (mapping.length == 0) return FormatCell(column, first);
  std::vector<std::string> texts;
  for (int64_t i = 0; i < mapping.length; ++i) {
    if (!full && mapping.length > kMaxVector && i == kEdgeVector) {
      texts.push_back("...");
      i = mapping.length - kEdgeVector;
    }
    texts.push_back(FormatCell(column, first + i * mapping.stride));
  }
  return absl::StrCat("[", absl::StrJoin(texts, ", "), "]");
}

// "3", or "[0, 3]" where rows have more than one index.
std::string RowName(int64_t row, absl::Span<const int64_t> shape) {
  if (shape.size() < 2) return absl::StrCat(row);
  std::vector<int64_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    index[d] = row % shape[d];
    row /= shape[d];
  }
  return absl::StrCat("[", absl::StrJoin(index, ", "), "]");
}

// Collects the columns; tensors that map to no row are kept apart.
class Builder {
 public:
  Builder(std::vector<int64_t> rows, bool classes_second)
      : rows_(std::move(rows)), classes_second_(classes_second) {}

  absl::Status Add(const std::string& header, const v1::Tensor& tensor,
                   bool only_of_equal_shape = false) {
    absl::StatusOr<std::vector<double>> values = WidenTensor(tensor);
    if (!values.ok()) return values.status();
    const std::vector<int64_t> shape(tensor.shape().begin(),
                                     tensor.shape().end());
    std::optional<RowMapping> mapping =
        only_of_equal_shape && shape != rows_
            ? std::nullopt
            : MapRows(shape, rows_, classes_second_);
    Column column = {.header = header,
                     .mapping = mapping.value_or(RowMapping()),
                     .floating = IsFloating(tensor.dtype()),
                     .values = *std::move(values)};
    if (mapping.has_value()) {
      columns_.push_back(std::move(column));
    } else {
      std::vector<std::string> texts;
      for (size_t i = 0; i < column.values.size(); ++i) {
        texts.push_back(FormatCell(column, static_cast<int64_t>(i)));
      }
      absl::StrAppend(&apart_, "\n", header, ", ", FormatType(tensor), "\n",
                      FormatNested(texts, tensor.shape(), false), "\n");
    }
    return absl::OkStatus();
  }

  std::string Format(bool full) const {
    Table table;
    table.AddColumn(rows_.size() < 2 ? "row" : "index", Table::Align::kRight);
    for (const Column& column : columns_) {
      table.AddColumn(column.header, Table::Align::kRight);
    }
    const int64_t count = *ElementCount(rows_);
    for (int64_t row = 0; row < count; ++row) {
      std::vector<std::string> cells = {RowName(row, rows_)};
      if (!full && count > kMaxRows && row == kEdgeRows) {
        cells.resize(columns_.size() + 1);
        cells[0] = "...";
        table.AddRow(std::move(cells));
        row = count - kEdgeRows;
        cells = {RowName(row, rows_)};
      }
      for (const Column& column : columns_) {
        cells.push_back(Cell(column, row, full));
      }
      table.AddRow(std::move(cells));
    }
    return table.ToString();
  }

  const std::string& apart() const { return apart_; }

 private:
  const std::vector<int64_t> rows_;
  const bool classes_second_;
  std::vector<Column> columns_;
  std::string apart_;
};

const v1::Tensor* FindInput(const v1::Evaluation& evaluation,
                            const std::string& name) {
  const google::protobuf::Message& loss = LossMessage(evaluation);
  const auto* field = loss.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || !IsTensor(*field) ||
      !loss.GetReflection()->HasField(loss, field)) {
    return nullptr;
  }
  return dynamic_cast<const v1::Tensor*>(
      &loss.GetReflection()->GetMessage(loss, field));
}

std::string Header(const v1::LossDescriptor& descriptor) {
  std::string text =
      absl::StrCat(descriptor.name(), ": ", descriptor.summary(), "\n");
  absl::StrAppend(&text, "formula      ", descriptor.formula(), "\n");
  absl::StrAppend(&text, "denominator  ", descriptor.denominator(), "\n\n");
  return text;
}

absl::StatusOr<std::string> Footer(const v1::LossDescriptor& descriptor,
                                   const v1::Evaluation& evaluation,
                                   const v1::Result& result) {
  std::string text = "\n";
  if (result.has_mean_numerator() && result.has_mean_denominator()) {
    absl::StrAppend(
        &text, "mean = ", FormatNumber(result.mean_numerator()), " / ",
        FormatNumber(result.mean_denominator()), " = ",
        FormatBrief(result.mean_numerator() / result.mean_denominator()), "\n");
  }
  if (result.ignored_count() > 0) {
    absl::StrAppend(&text, "ignored: ", result.ignored_count(), " of ",
                    result.element_count(), "\n");
  }
  for (const v1::Metric& metric : result.metrics()) {
    absl::StrAppend(&text, metric.name(), " = ",
                    FormatNumber(metric.numerator()), " / ",
                    FormatNumber(metric.denominator()), "\n");
  }
  const v1::Reduction reduction =
      evaluation.reduction() == v1::REDUCTION_UNSPECIFIED
          ? descriptor.default_reduction()
          : evaluation.reduction();
  absl::StrAppend(&text, "loss = ");
  if (result.has_loss() && result.has_loss_tensor()) {
    absl::StatusOr<std::vector<std::string>> loss =
        FormatElements(result.loss_tensor());
    if (!loss.ok()) return loss.status();
    absl::StrAppend(&text, (*loss)[0]);
  } else {
    absl::StrAppend(&text, "the column of losses");
  }
  absl::StrAppend(&text, "  (reduction ",
                  absl::AsciiStrToLower(ShortName(reduction)));
  if (evaluation.has_normalizer()) {
    absl::StrAppend(&text, ", normalizer ",
                    FormatNumber(evaluation.normalizer()));
  }
  absl::StrAppend(&text, ")\n");
  return text;
}

}  // namespace

std::optional<RowMapping> MapRows(absl::Span<const int64_t> shape,
                                  absl::Span<const int64_t> rows,
                                  bool classes_second) {
  const int64_t count = *ElementCount(rows);
  if (shape == rows) {
    return RowMapping{.inner = 1, .outer_stride = 1};
  }
  if (shape.empty()) return RowMapping{.inner = 1, .outer_stride = 0};
  if (shape.size() == rows.size() + 1) {
    std::optional<size_t> vector;
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape.first(d) == rows.first(d) &&
          shape.subspan(d + 1) == rows.subspan(d)) {
        vector = d;
        if (classes_second && d == 1) break;
      }
    }
    if (!vector.has_value()) return std::nullopt;
    const int64_t inner = *ElementCount(shape.subspan(*vector + 1));
    return RowMapping{.inner = inner,
                      .outer_stride = inner * shape[*vector],
                      .length = shape[*vector],
                      .stride = inner};
  }
  if (shape.size() < rows.size() && rows.first(shape.size()) == shape &&
      count > 0) {
    const int64_t below = *ElementCount(rows.subspan(shape.size()));
    return RowMapping{.inner = below, .outer_stride = 1, .repeat = below};
  }
  return std::nullopt;
}

absl::StatusOr<std::string> Explain(const v1::LossDescriptor& descriptor,
                                    const v1::ComputeGradientRequest& request,
                                    const v1::ComputeGradientResponse& response,
                                    bool full) {
  const v1::Result& result = response.result();
  const v1::Tensor* first =
      FindInput(request.evaluation(), descriptor.tensors(0).name());
  const v1::Tensor* rows =
      result.has_elementwise_losses() ? &result.elementwise_losses() : first;
  if (rows == nullptr) {
    return absl::InternalError("the answer has nothing to explain");
  }
  Builder builder({rows->shape().begin(), rows->shape().end()},
                  absl::StrContains(descriptor.tensors(0).shape_rule(), "C"));
  absl::Status status = absl::OkStatus();
  for (const v1::TensorDescriptor& tensor : descriptor.tensors()) {
    const v1::Tensor* value = FindInput(request.evaluation(), tensor.name());
    if (value == nullptr) continue;
    status.Update(
        builder.Add(tensor.name(), *value,
                    tensor.role() == v1::TensorDescriptor::ROLE_WEIGHT));
  }
  const std::pair<const char*, const v1::Tensor*> outputs[] = {
      {"probability",
       result.has_probabilities() ? &result.probabilities() : nullptr},
      {"log-probability",
       result.has_log_probabilities() ? &result.log_probabilities() : nullptr},
      {"predicted",
       result.has_predicted_classes() ? &result.predicted_classes() : nullptr},
      {"loss", result.has_elementwise_losses() ? &result.elementwise_losses()
                                               : nullptr}};
  for (const auto& [header, tensor] : outputs) {
    if (tensor != nullptr) status.Update(builder.Add(header, *tensor));
  }
  for (const v1::Gradient& gradient : result.gradients()) {
    status.Update(builder.Add(absl::StrCat("d loss / d ", gradient.wrt()),
                              gradient.value()));
  }
  if (!status.ok()) return status;
  absl::StatusOr<std::string> footer =
      Footer(descriptor, request.evaluation(), result);
  if (!footer.ok()) return footer.status();
  return absl::StrCat(Header(descriptor), builder.Format(full), builder.apart(),
                      *footer);
}

}  // namespace lossd::cli
