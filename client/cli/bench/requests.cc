// SPDX-License-Identifier: Apache-2.0
#include "client/cli/bench/requests.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/cli/bench/sample.h"
#include "client/cli/schema.h"
#include "lossd/tensor.h"

namespace lossd::cli {
namespace {

constexpr char kDefaultShape[] = "32x1000";

absl::StatusOr<std::vector<const v1::LossDescriptor*>> ChooseLosses(
    const std::string& names, const v1::ListLossesResponse& losses) {
  std::vector<const v1::LossDescriptor*> chosen;
  if (names == "all") {
    for (const v1::LossDescriptor& loss : losses.losses()) {
      chosen.push_back(&loss);
    }
    return chosen;
  }
  for (absl::string_view name : absl::StrSplit(names, ',')) {
    if (auto known = FindLoss(name); !known.ok()) return known.status();
    const v1::LossDescriptor* loss = FindDescriptor(losses, name);
    if (loss == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("the server does not have ", name,
                       ": lossctl losses lists what it "
                       "has"));
    }
    chosen.push_back(loss);
  }
  return chosen;
}

// The dtype of what is made up: that of --dtype, else of the given tensors.
v1::Dtype FloatingDtype(const LossOptions& options,
                        const v1::LossDescriptor& descriptor,
                        const v1::Evaluation& evaluation) {
  if (!options.dtype.empty()) {
    const auto dtype = ParseEnum(*v1::Dtype_descriptor(), options.dtype);
    if (dtype.ok()) return static_cast<v1::Dtype>(*dtype);
  }
  if (evaluation.loss_case() == v1::Evaluation::LOSS_NOT_SET) {
    return v1::DTYPE_FLOAT32;
  }
  const auto& loss = LossMessage(evaluation);
  for (const v1::TensorDescriptor& tensor : descriptor.tensors()) {
    const auto* field = loss.GetDescriptor()->FindFieldByName(tensor.name());
    if (field == nullptr || !loss.GetReflection()->HasField(loss, field)) {
      continue;
    }
    const auto& given = static_cast<const v1::Tensor&>(
        loss.GetReflection()->GetMessage(loss, field));
    if (IsFloating(given.dtype())) return given.dtype();
  }
  return v1::DTYPE_FLOAT32;
}

absl::StatusOr<std::string> MakePayload(const v1::ComputeGradientRequest& given,
                                        const LossOptions& options,
                                        const BenchOptions& bench,
                                        const v1::LossDescriptor& descriptor,
                                        const std::string& shape_text,
                                        uint64_t seed) {
  auto shape = ParseSampleShape(shape_text);
  if (shape.ok() && bench.classes.has_value()) {
    shape = WithClasses(descriptor, *std::move(shape), *bench.classes);
  }
  if (!shape.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shape: ", shape.status().message()));
  }
  v1::ComputeGradientRequest request = given;
  v1::Evaluation* evaluation = request.mutable_evaluation();
  const v1::Dtype dtype = FloatingDtype(options, descriptor, *evaluation);
  const absl::Status filled =
      FillTensors(descriptor, *shape, dtype, seed, evaluation);
  if (!filled.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shape: ", filled.message()));
  }
  return request.SerializeAsString();
}

std::string PathOf(const std::string& folder, size_t i) {
  return absl::StrFormat("%s/%04d.bin", folder, i);
}

}  // namespace

absl::StatusOr<Payloads> MakePayloads(const LossOptions& loss,
                                      const BenchOptions& bench,
                                      const v1::ListLossesResponse& losses,
                                      Source& source) {
  const auto chosen = ChooseLosses(loss.loss, losses);
  if (!chosen.ok()) return chosen.status();
  std::vector<v1::ComputeGradientRequest> given;
  for (const v1::LossDescriptor* descriptor : *chosen) {
    LossOptions options = loss;
    options.loss = descriptor->name();
    auto request = BuildGradientRequest(options, *descriptor, source);
    if (!request.ok()) return request.status();
    given.push_back(*std::move(request));
  }
  std::vector<std::string> shapes = bench.shapes;
  if (shapes.empty()) shapes.push_back(kDefaultShape);
  Payloads payloads = {
      .title = absl::StrCat(loss.loss, " ", absl::StrJoin(shapes, ",")),
      .bytes = {}};
  for (int64_t variant = 0; variant < bench.payloads; ++variant) {
    for (const std::string& shape : shapes) {
      for (size_t i = 0; i < chosen->size(); ++i) {
        const uint64_t seed = bench.seed * 1'000'003 + payloads.bytes.size();
        auto bytes =
            MakePayload(given[i], loss, bench, *(*chosen)[i], shape, seed);
        if (!bytes.ok()) return bytes.status();
        payloads.bytes.push_back(*std::move(bytes));
      }
    }
  }
  return payloads;
}

absl::StatusOr<Payloads> ReadPayloads(const std::vector<std::string>& paths) {
  Payloads payloads = {.title = absl::StrJoin(paths, ", "), .bytes = {}};
  for (const std::string& path : paths) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream content;
    // Of an empty file `<<` reads nothing and fails.
    if (file && file.peek() != std::ifstream::traits_type::eof()) {
      content << file.rdbuf();
    }
    if (!file.is_open() || file.bad() || content.bad()) {
      return absl::NotFoundError(absl::StrCat("--payload: cannot read ", path));
    }
    payloads.bytes.push_back(std::move(content).str());
  }
  return payloads;
}

absl::StatusOr<std::string> SavePayloads(const Payloads& payloads,
                                         const std::string& folder) {
  std::string written;
  for (size_t i = 0; i < payloads.bytes.size(); ++i) {
    const std::string path = PathOf(folder, i);
    std::ofstream file(path, std::ios::binary);
    file << payloads.bytes[i];
    if (!file.flush()) {
      return absl::NotFoundError(absl::StrCat("--save-payloads: cannot write ",
                                              path, ": the folder must exist"));
    }
    absl::StrAppend(&written, path, "\n");
  }
  return written;
}

}  // namespace lossd::cli
