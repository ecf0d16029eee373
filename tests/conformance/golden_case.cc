// SPDX-License-Identifier: Apache-2.0

#include "tests/conformance/golden_case.h"

#include <cstdlib>
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
  const std::string text = json.get<std::string>();
  const double infinity = std::numeric_limits<double>::infinity();
  if (text == "Infinity") return infinity;
  if (text == "-Infinity") return -infinity;
  return std::numeric_limits<double>::quiet_NaN();
}

TensorView Tensor(const Json& json, GoldenCase* golden) {
  auto tensor = std::make_unique<GoldenTensor>();
  EXPECT_TRUE(
      absl::Base64Unescape(json["data"].get<std::string>(), &tensor->bytes));
  tensor->view.dtype = DtypeNamed(json["dtype"]);
  for (const Json& size : json["shape"]) {
    tensor->view.shape.push_back(size.get<int64_t>());
  }
  tensor->view.elements = ElementCount(tensor->view.shape).value();
  tensor->view.data = reinterpret_cast<const uint8_t*>(tensor->bytes.data());
  EXPECT_EQ(static_cast<int64_t>(tensor->bytes.size()),
            tensor->view.elements * DtypeSize(tensor->view.dtype));
  golden->memory.push_back(std::move(tensor));
  return golden->memory.back()->view;
}

void ReadParameters(const Json& json, const LossSchema& schema,
                    Arguments* arguments) {
  arguments->parameters.resize(schema.parameters.size());
  for (const auto& [name, value] : json.items()) {
    bool found = false;
    for (size_t i = 0; i < schema.parameters.size(); ++i) {
      const ParameterSchema& parameter = schema.parameters[i];
      if (parameter.name != name) continue;
      found = true;
      if (parameter.type != ParameterType::kEnum) {
        arguments->parameters[i] = NumberOf(value);
        continue;
      }
      for (size_t k = 0; k < parameter.choices.size(); ++k) {
        if (parameter.choices[k] == value.get<std::string>()) {
          arguments->parameters[i] = static_cast<double>(k + 1);
        }
      }
      EXPECT_TRUE(arguments->parameters[i].has_value()) << value;
    }
    EXPECT_TRUE(found) << schema.name << " has no parameter " << name;
  }
}

void ReadTensors(const Json& json, const LossSchema& schema,
                 GoldenCase* golden) {
  for (const auto& [name, value] : json.items()) {
    bool found = false;
    for (size_t slot = 0; slot < schema.tensors.size(); ++slot) {
      if (schema.tensors[slot].name != name) continue;
      golden->evaluation.arguments.tensors[slot] = Tensor(value, golden);
      found = true;
    }
    EXPECT_TRUE(found) << schema.name << " has no tensor " << name;
  }
}

void ReadExpectation(const Json& expect, GoldenCase* golden) {
  OutputSet& outputs = golden->evaluation.outputs;
  outputs.Add(Output::kLoss);
  if (expect.contains("error")) {
    golden->error = expect["message"].get<std::string>();
    return;
  }
  golden->loss = Tensor(expect["loss"], golden);
  if (expect.contains("elementwise")) {
    golden->elementwise = Tensor(expect["elementwise"], golden);
    outputs.Add(Output::kElementwiseLosses);
  }
  if (!golden->evaluation.wrt.empty()) outputs.Add(Output::kGradients);
  for (const auto& [name, value] : expect["gradients"].items()) {
    golden->gradients[name] = Tensor(value, golden);
  }
  if (!expect.contains("metrics")) return;
  for (const auto& [name, value] : expect["metrics"].items()) {
    golden->metrics[name] = {NumberOf(value[0]), NumberOf(value[1])};
  }
}

GoldenCase ReadCase(const Json& json) {
  GoldenCase golden;
  golden.name = json["name"].get<std::string>();
  golden.differs = json.value("differs", "");
  Evaluation& evaluation = golden.evaluation;
  evaluation.loss = FindLoss(json["loss"].get<std::string>());
  evaluation.gradient = true;
  const std::string reduction = json["reduction"];
  evaluation.reduction = reduction == "none"        ? Reduction::kNone
                         : reduction == "sum"       ? Reduction::kSum
                         : reduction == "batchmean" ? Reduction::kBatchMean
                                                    : Reduction::kMean;
  if (json.contains("normalizer")) {
    evaluation.normalizer = NumberOf(json["normalizer"]);
  }
  for (const Json& name : json["wrt"]) {
    evaluation.wrt.push_back(name.get<std::string>());
  }
  ReadTensors(json["tensors"], evaluation.loss->schema, &golden);
  ReadParameters(json["parameters"], evaluation.loss->schema,
                 &evaluation.arguments);
  if (json.contains("grad_output")) {
    evaluation.grad_output = Tensor(json["grad_output"], &golden);
  }
  ReadExpectation(json["expect"], &golden);
  return golden;
}

}  // namespace

std::vector<GoldenCase> LoadGoldenCases(const std::string& loss) {
  const char* given = std::getenv("LOSSD_GOLDEN_DIR");
  std::ifstream file(absl::StrCat(given != nullptr ? given : LOSSD_GOLDEN_DIR,
                                  "/", loss, ".jsonl"));
  EXPECT_TRUE(file.good()) << loss;
  std::vector<GoldenCase> cases;
  for (std::string line; std::getline(file, line);) {
    cases.push_back(ReadCase(Json::parse(line)));
  }
  return cases;
}

}  // namespace lossd
