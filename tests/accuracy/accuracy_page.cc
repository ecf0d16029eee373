// SPDX-License-Identifier: Apache-2.0

#include "tests/accuracy/accuracy_page.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace lossd {
namespace {

constexpr char kIntroduction[] = R"(# Accuracy

<!-- Made by tests/accuracy/accuracy_test with LOSSD_WRITE_ACCURACY naming this
file. Do not edit. -->

How far lossd's losses and gradients are from the exact values, at most, on
inputs chosen to be hard; and how far those of PyTorch 2.15.0 are on the same
inputs. `accuracy_test` fails where lossd exceeds a bound, and where this page is
not what it measures. lossd gives the same bits on every CPU, so its figures are
those of every machine; PyTorch's are those of one x86-64 CPU with AVX-512.

The exact values come from the formulas of each loss, written down in mpmath
with 120 digits, and 400 for float64, and are kept in
[tests/accuracy/vectors](../tests/accuracy/vectors). Inputs are numbers of the
dtype, taken as they are. Every tensor that lossd differentiates is measured,
with an upstream gradient of 1, mostly without a reduction and for some inputs
under sum and mean.

An error is in units in the last place (ulp) of the dtype; one correct rounding
is at most half a unit. Where a value is a sum of terms of both signs, the unit
is the last place of the sum of their magnitudes, as each term is rounded
before they cancel. In float64 a bound of 450 units is a relative error of 1e-13.

Everything else, including the loss and the gradient of cross-entropy with class
indices, is measured against its own last place, and lossd returns 0 for none of
these values that is a normal number of the dtype. The last column is the share
of them that PyTorch returns as 0: losses and gradients of samples that are
confidently right.

PyTorch's absolute errors are small: a gradient that should be 1e-9 and is 0
does not hurt training. The figures matter to whoever compares small losses, or
tests against them. In half precision PyTorch rounds each step of a composed
loss, and lossd the result alone. *all*: no digit of some value is right. *∞*: an
infinity or a NaN for a number of the dtype. A dash: PyTorch does not have the
dtype; in the last column, no loss or gradient is of that kind.

| loss | dtype | bound | loss | gradient | PyTorch's loss | PyTorch's gradient | PyTorch's zeros: loss, gradient |
| --- | --- | --- | --- | --- | --- | --- | --- |
)";

constexpr char kRanges[] = R"(
## Inputs

| loss | inputs |
| --- | --- |
)";

std::string Figure(double error, int digits) {
  if (std::isinf(error)) return "∞";
  if (error == 0) return "0";
  if (error >= std::ldexp(1.0, digits - 1)) return "all";
  return error < 100 ? absl::StrFormat("%.2f", error)
                     : absl::StrFormat("%.1e", error);
}

std::string Figure(const std::optional<PyTorchFigures>& figures, int digits) {
  return figures.has_value() ? Figure(figures->error, digits) : "—";
}

std::string Share(const std::optional<PyTorchFigures>& figures) {
  if (!figures.has_value() || figures->normal == 0) return "—";
  const double percent = 100.0 * static_cast<double>(figures->zeros) /
                         static_cast<double>(figures->normal);
  return absl::StrFormat("%.2g%%", percent);
}

}  // namespace

std::string AccuracyPage(const std::vector<AccuracyRow>& rows,
                         const std::vector<AccuracyRange>& ranges) {
  std::string page = kIntroduction;
  for (const AccuracyRow& row : rows) {
    absl::StrAppend(&page, "| `", row.loss, "` | ", DtypeName(row.dtype), " | ",
                    row.bound);
    absl::StrAppend(&page, " | ", Figure(row.loss_error, row.digits), " | ",
                    Figure(row.gradient_error, row.digits));
    absl::StrAppend(&page, " | ", Figure(row.pytorch_loss, row.digits), " | ",
                    Figure(row.pytorch_gradient, row.digits));
    absl::StrAppend(&page, " | ", Share(row.pytorch_loss), ", ",
                    Share(row.pytorch_gradient), " |\n");
  }
  absl::StrAppend(&page, kRanges);
  for (const AccuracyRange& range : ranges) {
    absl::StrAppend(&page, "| `", range.loss, "` | ", range.ranges, " |\n");
  }
  return page;
}

}  // namespace lossd
