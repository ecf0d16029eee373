// SPDX-License-Identifier: Apache-2.0

#include "tests/accuracy/accuracy_case.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace lossd {
namespace {

using Json = nlohmann::json;

Dtype DtypeNamed(const std::string& name) {
  for (int i = 1; i < kDtypeCount; ++i) {
    if (DtypeName(static_cast<Dtype>(i)) == name) return static_cast<Dtype>(i);
  }
  ADD_FAILURE() << "no dtype " << name;
  return Dtype::kUnspecified;
}

double NumberOf(const Json& json) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number()) return json.get<double>();
  EXPECT_EQ(json, "Infinity");
  return std::numeric_limits<double>::infinity();
}

std::string Bytes(const Json& json) {
  std::string bytes;
  EXPECT_TRUE(absl::Base64Unescape(json.get<std::string>(), &bytes));
  return bytes;
}

// A tensor whose bytes are `bytes`.
TensorView ViewOf(Dtype dtype, const std::string& bytes) {
  TensorView view;
  view.dtype = dtype;
  view.elements = static_cast<int64_t>(bytes.size()) / DtypeSize(dtype);
  view.shape.push_back(view.elements);
  view.data = reinterpret_cast<const uint8_t*>(bytes.data());
  return view;
}

TensorView Tensor(const Json& json, AccuracyCase* out) {
  out->bytes.push_back(std::make_unique<std::string>(Bytes(json["data"])));
  TensorView view = ViewOf(DtypeNamed(json["dtype"]), *out->bytes.back());
  view.shape.clear();
  for (const Json& size : json["shape"]) {
    view.shape.push_back(size.get<int64_t>());
  }
  EXPECT_EQ(ElementCount(view.shape), view.elements);
  return view;
}

void ReadTensors(const Json& json, AccuracyCase* out) {
  const LossSchema& schema = out->evaluation.loss->schema;
  for (const auto& [name, value] : json.items()) {
    bool found = false;
    for (size_t slot = 0; slot < schema.tensors.size(); ++slot) {
      if (schema.tensors[slot].name != name) continue;
      out->evaluation.arguments.tensors[slot] = Tensor(value, out);
      found = true;
    }
    EXPECT_TRUE(found) << schema.name << " has no tensor " << name;
  }
}

// The number of an enum's value.
double ChoiceNamed(const ParameterSchema& parameter, const std::string& name) {
  const auto& choices = parameter.choices;
  const auto found = std::find(choices.begin(), choices.end(), name);
  EXPECT_NE(found, choices.end()) << parameter.name << " " << name;
  return static_cast<double>(found - choices.begin() + 1);
}

void ReadParameters(const Json& json, AccuracyCase* out) {
  const LossSchema& schema = out->evaluation.loss->schema;
  Arguments& arguments = out->evaluation.arguments;
  arguments.parameters.resize(schema.parameters.size());
  for (const auto& [name, value] : json.items()) {
    bool found = false;
    for (size_t i = 0; i < schema.parameters.size(); ++i) {
      const ParameterSchema& parameter = schema.parameters[i];
      if (parameter.name != name) continue;
      arguments.parameters[i] =
          parameter.type == ParameterType::kEnum
              ? ChoiceNamed(parameter, value.get<std::string>())
              : NumberOf(value);
      found = true;
    }
    EXPECT_TRUE(found) << schema.name << " has no parameter " << name;
  }
}

std::vector<double> Numbers(const Json& json, const char* key, Dtype dtype) {
  std::vector<double> numbers;
  if (!json.contains(key)) return numbers;
  const std::string bytes = Bytes(json[key]);
  const TensorView view = ViewOf(dtype, bytes);
  for (int64_t i = 0; i < view.elements; ++i) {
    numbers.push_back(view.ValueAt(i));
  }
  return numbers;
}

// References are of float64, of half precision of float32.
ExactTensor ReadExact(const std::string& wrt, const Json& json, Dtype dtype) {
  const Dtype stored =
      DtypeSize(dtype) == 2 ? Dtype::kFloat32 : Dtype::kFloat64;
  ExactTensor exact;
  exact.wrt = wrt;
  exact.high = Numbers(json, "high", stored);
  exact.low = Numbers(json, "low", stored);
  exact.scale = Numbers(json, "scale", stored);
  for (double place : Numbers(json, "places", Dtype::kInt32)) {
    exact.places.push_back(static_cast<int64_t>(place));
  }
  for (const std::vector<double>* part : {&exact.low, &exact.scale}) {
    EXPECT_TRUE(part->empty() || part->size() == exact.high.size());
  }
  return exact;
}

PyTorchFigures ReadFigures(const Json& json) {
  return {NumberOf(json["error"]), json["zeros"].get<int64_t>(),
          json["normal"].get<int64_t>()};
}

Reduction ReductionNamed(const std::string& name) {
  if (name == "none") return Reduction::kNone;
  EXPECT_TRUE(name == "sum" || name == "mean") << name;
  return name == "sum" ? Reduction::kSum : Reduction::kMean;
}

AccuracyCase ReadCase(const Json& json) {
  AccuracyCase out;
  out.name = json["name"].get<std::string>();
  out.dtype = DtypeNamed(json["dtype"]);
  Evaluation& evaluation = out.evaluation;
  evaluation.loss = FindLoss(json["loss"].get<std::string>());
  if (evaluation.loss == nullptr) return out;
  evaluation.gradient = true;
  evaluation.reduction = ReductionNamed(json["reduction"]);
  ReadTensors(json["tensors"], &out);
  ReadParameters(json["parameters"], &out);
  const Json& reference = json["reference"];
  const Json pytorch = json.value("pytorch", Json::object());
  out.exact.push_back(ReadExact("", reference["loss"], out.dtype));
  if (pytorch.contains("loss")) {
    out.exact[0].pytorch = ReadFigures(pytorch["loss"]);
  }
  for (const auto& [name, value] : reference["gradients"].items()) {
    evaluation.wrt.push_back(name);
    out.exact.push_back(ReadExact(name, value, out.dtype));
    if (pytorch.contains("gradients") && pytorch["gradients"].contains(name)) {
      out.exact.back().pytorch = ReadFigures(pytorch["gradients"][name]);
    }
  }
  return out;
}

}  // namespace

void PyTorchFigures::Merge(const PyTorchFigures& other) {
  error = std::max(error, other.error);
  zeros += other.zeros;
  normal += other.normal;
}

double ExactTensor::ScaleAt(size_t i) const {
  return scale.empty() ? std::abs(high[i]) : scale[i];
}

std::vector<std::string> AccuracyLosses() {
  std::vector<std::string> losses;
  for (const auto& entry :
       std::filesystem::directory_iterator(LOSSD_ACCURACY_VECTORS)) {
    losses.push_back(entry.path().stem().string());
  }
  std::sort(losses.begin(), losses.end());
  return losses;
}

AccuracyFile LoadAccuracyFile(const std::string& loss) {
  std::ifstream file(absl::StrCat(LOSSD_ACCURACY_VECTORS, "/", loss, ".jsonl"));
  EXPECT_TRUE(file.good()) << loss;
  AccuracyFile result;
  for (std::string line; std::getline(file, line);) {
    const Json json = Json::parse(line);
    if (json.contains("ranges")) {
      result.loss = json["loss"].get<std::string>();
      result.ranges = json["ranges"].get<std::string>();
      continue;
    }
    result.cases.push_back(ReadCase(json));
  }
  EXPECT_EQ(result.loss, loss);
  return result;
}

}  // namespace lossd
