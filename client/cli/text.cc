// SPDX-License-Identifier: Apache-2.0
#include "client/cli/text.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/number.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

constexpr size_t kLineWidth = 79;
constexpr int64_t kElideAbove = 1000;
constexpr int64_t kEdge = 3;

// Prints the lists inside one another, one line for each innermost list, or
// more where it is longer than a line.
class NestedPrinter {
 public:
  NestedPrinter(absl::Span<const std::string> elements,
                absl::Span<const int64_t> shape, bool full)
      : elements_(elements), shape_(shape) {
    elide_ = !full && static_cast<int64_t>(elements.size()) > kElideAbove;
  }

  std::string Print() {
    // Elements that are left out shall not widen the columns.
    Visit(0, 0,
          [&](int64_t at) { width_ = std::max(width_, elements_[at].size()); });
    Lists(0, 0);
    return std::move(text_);
  }

 private:
  // The indices of dimension `depth` that are shown; -1 stands for a gap.
  std::vector<int64_t> Shown(size_t depth) const {
    std::vector<int64_t> shown;
    for (int64_t i = 0; i < shape_[depth]; ++i) {
      if (elide_ && shape_[depth] > 2 * kEdge && i == kEdge) {
        shown.push_back(-1);
        i = shape_[depth] - kEdge;
      }
      shown.push_back(i);
    }
    return shown;
  }

  template <typename Visitor>
  void Visit(size_t depth, int64_t at, const Visitor& visit) {
    if (depth == shape_.size()) {
      visit(at);
      return;
    }
    for (const int64_t i : Shown(depth)) {
      if (i >= 0) Visit(depth + 1, at * shape_[depth] + i, visit);
    }
  }

  void Lists(size_t depth, int64_t at) {
    if (depth == shape_.size()) {
      text_ += elements_[at];
      return;
    }
    text_ += '[';
    const std::vector<int64_t> shown = Shown(depth);
    const bool innermost = depth + 1 == shape_.size();
    for (size_t i = 0; i < shown.size(); ++i) {
      if (i > 0) {
        text_ += ',';
        const size_t column = text_.size() - line_start_;
        if (!innermost || column + width_ + 3 > kLineWidth) {
          NewLine(depth + 1);
        } else {
          text_ += ' ';
        }
      }
      if (shown[i] < 0) {
        text_ += "...";
      } else if (innermost) {
        const std::string& element = elements_[at * shape_[depth] + shown[i]];
        text_.append(width_ - std::min(width_, element.size()), ' ');
        text_ += element;
      } else {
        Lists(depth + 1, at * shape_[depth] + shown[i]);
      }
    }
    text_ += ']';
  }

  void NewLine(size_t indent) {
    text_ += '\n';
    line_start_ = text_.size();
    text_.append(indent, ' ');
  }

  const absl::Span<const std::string> elements_;
  const absl::Span<const int64_t> shape_;
  bool elide_;
  size_t width_ = 0;
  size_t line_start_ = 0;
  std::string text_;
};

void AppendLine(std::string& text, absl::string_view name,
                absl::string_view value) {
  absl::StrAppend(&text, name,
                  std::string(name.size() < 14 ? 14 - name.size() : 1, ' '),
                  value, "\n");
}

absl::Status AppendTensor(std::string& text, absl::string_view name,
                          const v1::Tensor& tensor, bool full) {
  absl::StatusOr<std::vector<std::string>> elements = FormatElements(tensor);
  if (!elements.ok()) return elements.status();
  absl::StrAppend(&text, "\n", name, ", ", FormatType(tensor), "\n",
                  FormatNested(*elements, tensor.shape(), full), "\n");
  return absl::OkStatus();
}

std::string NonFiniteText(const v1::NonFinite& flags) {
  std::vector<std::string> found;
  if (flags.input_nan()) found.push_back("NaN in the input");
  if (flags.input_infinity()) found.push_back("infinity in the input");
  if (flags.result_nan()) found.push_back("NaN in the result");
  if (flags.result_infinity()) found.push_back("infinity in the result");
  return absl::StrJoin(found, ", ");
}

void AppendNumbers(std::string& text, const v1::Result& result) {
  if (result.has_mean_numerator() && result.has_mean_denominator()) {
    AppendLine(text, "natural mean",
               absl::StrCat(FormatNumber(result.mean_numerator()), " / ",
                            FormatNumber(result.mean_denominator())));
  } else if (result.has_mean_denominator()) {
    AppendLine(text, "denominator", FormatNumber(result.mean_denominator()));
  }
  if (result.has_element_count()) {
    AppendLine(text, "elements",
               absl::StrCat(result.element_count(),
                            result.ignored_count() > 0
                                ? absl::StrCat(", of which ignored: ",
                                               result.ignored_count())
                                : ""));
  }
  if (result.gradient_underflow_count() > 0) {
    AppendLine(text, "underflowed",
               absl::StrCat(result.gradient_underflow_count(),
                            " elements of the gradients"));
  }
  if (const std::string flags = NonFiniteText(result.non_finite());
      !flags.empty()) {
    AppendLine(text, "non-finite", flags);
  }
  for (const v1::Metric& metric : result.metrics()) {
    AppendLine(
        text, metric.name(),
        absl::StrCat(FormatNumber(metric.numerator() / metric.denominator()),
                     " = ", FormatNumber(metric.numerator()), " / ",
                     FormatNumber(metric.denominator())));
  }
}

}  // namespace

void Table::AddColumn(std::string header, Align align) {
  aligns_.push_back(align);
  rows_[0].push_back(std::move(header));
}

void Table::AddRow(std::vector<std::string> cells) {
  rows_.push_back(std::move(cells));
}

std::string Table::ToString() const {
  std::vector<size_t> widths(aligns_.size(), 0);
  for (const std::vector<std::string>& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const std::vector<std::string>& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line += "  ";
      const std::string padding(widths[i] - row[i].size(), ' ');
      line += aligns_[i] == Align::kRight ? padding + row[i] : row[i] + padding;
    }
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string FormatNested(absl::Span<const std::string> elements,
                         absl::Span<const int64_t> shape, bool full) {
  return NestedPrinter(elements, shape, full).Print();
}

std::string FormatType(const v1::Tensor& tensor) {
  return absl::StrCat(
      DtypeName(tensor.dtype()),
      tensor.shape().empty()
          ? " scalar"
          : absl::StrCat(" [", absl::StrJoin(tensor.shape(), ", "), "]"));
}

absl::StatusOr<std::string> FormatResult(absl::string_view title,
                                         const v1::Result& result, bool full) {
  std::string text = absl::StrCat(title, "\n");
  const bool scalar =
      result.has_loss_tensor() && result.loss_tensor().shape().empty();
  if (scalar) {
    absl::StatusOr<std::vector<std::string>> loss =
        FormatElements(result.loss_tensor());
    if (!loss.ok()) return loss.status();
    AppendLine(text, "loss",
               absl::StrCat((*loss)[0], "  (",
                            DtypeName(result.loss_tensor().dtype()), ")"));
  } else if (result.has_loss()) {
    AppendLine(text, "loss", FormatNumber(result.loss()));
  }
  AppendNumbers(text, result);
  if (result.has_loss_tensor() && !scalar) {
    absl::Status status =
        AppendTensor(text, "loss", result.loss_tensor(), full);
    if (!status.ok()) return status;
  }
  const auto part = [&](bool present, absl::string_view name,
                        const v1::Tensor& tensor) {
    return present ? AppendTensor(text, name, tensor, full) : absl::OkStatus();
  };
  absl::Status status = part(result.has_elementwise_losses(),
                             "elementwise losses", result.elementwise_losses());
  status.Update(part(result.has_predicted_classes(), "predicted classes",
                     result.predicted_classes()));
  status.Update(part(result.has_probabilities(), "probabilities",
                     result.probabilities()));
  status.Update(part(result.has_log_probabilities(), "log probabilities",
                     result.log_probabilities()));
  for (const v1::Gradient& gradient : result.gradients()) {
    status.Update(part(true, absl::StrCat("gradient of ", gradient.wrt()),
                       gradient.value()));
  }
  if (!status.ok()) return status;
  return text;
}

}  // namespace lossd::cli
