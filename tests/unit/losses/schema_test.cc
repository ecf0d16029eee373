// SPDX-License-Identifier: Apache-2.0
//
// What every loss's schema promises to its readers: validation, ListLosses, the
// wire binding, the command line and the documentation.

#include "server/losses/schema.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "server/losses/loss.h"

namespace lossd {
namespace {

class SchemaTest : public testing::TestWithParam<const LossDefinition*> {
 protected:
  const LossSchema& schema() const { return GetParam()->schema; }
};

TEST_P(SchemaTest, SlotZeroLeadsAndNoOtherDoes) {
  ASSERT_FALSE(schema().tensors.empty());
  const TensorSchema& lead = schema().tensors[0];
  EXPECT_EQ(lead.role, TensorRole::kInput);
  EXPECT_TRUE(lead.required);
  EXPECT_TRUE(lead.differentiable);
  for (size_t slot = 0; slot < schema().tensors.size(); ++slot) {
    EXPECT_EQ(schema().tensors[slot].dtypes == DtypeRule::kLeading, slot == 0)
        << schema().tensors[slot].name;
  }
}

TEST_P(SchemaTest, NamesAreUnique) {
  std::set<std::string> names;
  for (const TensorSchema& tensor : schema().tensors) {
    EXPECT_TRUE(names.emplace(tensor.name).second) << tensor.name;
  }
  for (const ParameterSchema& parameter : schema().parameters) {
    EXPECT_TRUE(names.emplace(parameter.name).second) << parameter.name;
  }
  std::set<std::string> metrics;
  for (const MetricSchema& metric : schema().metrics) {
    EXPECT_TRUE(metrics.emplace(metric.name).second) << metric.name;
  }
}

TEST_P(SchemaTest, NamesAreLowerSnakeCase) {
  const auto check = [](absl::string_view name) {
    EXPECT_FALSE(name.empty());
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"),
              absl::string_view::npos)
        << name;
  };
  check(schema().name);
  for (const TensorSchema& tensor : schema().tensors) check(tensor.name);
  for (const ParameterSchema& each : schema().parameters) check(each.name);
  for (const MetricSchema& metric : schema().metrics) check(metric.name);
}

TEST_P(SchemaTest, KeepsTheKernelsLimits) {
  EXPECT_LE(schema().tensors.size(), static_cast<size_t>(kMaxTensors));
  EXPECT_LE(schema().metrics.size() + 2, static_cast<size_t>(kMaxSums));
  EXPECT_LE(schema().parameters.size(), Geometry().parameters.size());
  EXPECT_GT(GetParam()->operations_per_element, 0);
}

TEST_P(SchemaTest, DefaultsAreInTheirRange) {
  for (const ParameterSchema& parameter : schema().parameters) {
    EXPECT_LE(parameter.minimum, parameter.maximum) << parameter.name;
    if (!parameter.default_value.has_value()) continue;
    const double value = *parameter.default_value;
    EXPECT_GE(value, parameter.minimum) << parameter.name;
    EXPECT_LE(value, parameter.maximum) << parameter.name;
    EXPECT_FALSE(parameter.minimum_open && value == parameter.minimum)
        << parameter.name;
    EXPECT_TRUE(std::isfinite(value)) << parameter.name;
    if (parameter.type != ParameterType::kDouble) {
      EXPECT_EQ(value, std::floor(value)) << parameter.name;
    }
  }
}

TEST_P(SchemaTest, OnlyEnumsHaveChoicesAndTheirDefaultIsOne) {
  for (const ParameterSchema& parameter : schema().parameters) {
    const bool is_enum = parameter.type == ParameterType::kEnum;
    EXPECT_EQ(parameter.choices.empty(), !is_enum) << parameter.name;
    if (!is_enum) continue;
    ASSERT_TRUE(parameter.default_value.has_value()) << parameter.name;
    EXPECT_GE(*parameter.default_value, 1) << parameter.name;
    EXPECT_LE(*parameter.default_value,
              static_cast<double>(parameter.choices.size()))
        << parameter.name;
  }
}

TEST_P(SchemaTest, SaysEverythingInWords) {
  for (const absl::string_view words :
       {schema().summary, schema().formula, schema().denominator,
        schema().source, schema().cost_rule}) {
    EXPECT_FALSE(words.empty());
  }
  EXPECT_TRUE(absl::EndsWith(schema().summary, ".")) << schema().summary;
  for (const absl::string_view difference : schema().differences) {
    EXPECT_TRUE(absl::EndsWith(difference, ".")) << difference;
  }
  for (const TensorSchema& tensor : schema().tensors) {
    EXPECT_FALSE(tensor.shape_rule.empty()) << tensor.name;
    EXPECT_TRUE(absl::EndsWith(tensor.description, ".")) << tensor.name;
    EXPECT_EQ(tensor.minimum || tensor.maximum, !tensor.domain_hint.empty())
        << tensor.name;
  }
  for (const ParameterSchema& parameter : schema().parameters) {
    EXPECT_FALSE(parameter.range.empty()) << parameter.name;
    EXPECT_TRUE(absl::EndsWith(parameter.description, ".")) << parameter.name;
  }
  for (const MetricSchema& metric : schema().metrics) {
    EXPECT_TRUE(absl::EndsWith(metric.description, ".")) << metric.name;
  }
}

TEST_P(SchemaTest, GradientsAreByDefaultOfInputsThatAreAlwaysThere) {
  for (const TensorSchema& tensor : schema().tensors) {
    EXPECT_EQ(tensor.default_wrt,
              tensor.differentiable && tensor.role == TensorRole::kInput)
        << tensor.name;
    if (tensor.default_wrt) {
      EXPECT_TRUE(tensor.required) << tensor.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllLosses, SchemaTest,
                         testing::ValuesIn(AllLosses().begin(),
                                           AllLosses().end()),
                         [](const auto& info) {
                           return std::string(info.param->schema.name);
                         });

TEST(LossTableTest, IsSortedByName) {
  const auto losses = AllLosses();
  ASSERT_FALSE(losses.empty());
  EXPECT_TRUE(std::is_sorted(losses.begin(), losses.end(),
                             [](const auto* a, const auto* b) {
                               return a->schema.name < b->schema.name;
                             }));
}

TEST(LossTableTest, FindsEachLossByItsName) {
  for (const LossDefinition* loss : AllLosses()) {
    EXPECT_EQ(FindLoss(loss->schema.name), loss);
  }
}

TEST(LossTableTest, FindsNothingByAnythingElse) {
  for (const char* name : {"", "mse", "mse_loss ", "MSE_LOSS", "mse_loss2"}) {
    EXPECT_EQ(FindLoss(name), nullptr) << name;
  }
}

TEST(LossTableTest, AVersionOfTheNumericsIsInForce) {
  EXPECT_GE(kNumericsVersion, 1);
}

}  // namespace
}  // namespace lossd
