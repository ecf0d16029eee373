// SPDX-License-Identifier: Apache-2.0

#include <limits>

#include "absl/strings/str_cat.h"
#include "server/losses/checks.h"
#include "server/losses/loss.h"

namespace lossd::clipped_policy_loss {
namespace {

enum Slot { kLogProbs, kOldLogProbs, kRefLogProbs, kAdvantages, kMask };
enum Parameter {
  kObjective,
  kImportanceLevel,
  kClipLow,
  kClipHigh,
  kDualClip,
  kKlWeight,
  kKlEstimator,
  kAggregation,
  kMaxLength,
};
// Numbers of enums in lossd.v1.ClippedPolicyLoss.
constexpr double kClipped = 1;
constexpr double kTokenMean = 1;
constexpr double kTokenSumConstant = 4;

std::vector<TensorSchema> Tensors() {
  const auto auxiliary = [](absl::string_view name, bool required,
                            absl::string_view shape,
                            absl::string_view description) -> TensorSchema {
    return {.name = name,
            .role = TensorRole::kAuxiliary,
            .dtypes = DtypeRule::kSameAsLeading,
            .required = required,
            .shape_rule = shape,
            .description = description};
  };
  return {
      {.name = "log_probs",
       .role = TensorRole::kInput,
       .dtypes = DtypeRule::kLeading,
       .required = true,
       .differentiable = true,
       .default_wrt = true,
       .shape_rule = "[B, T]",
       .description = "Log-probabilities under the policy being trained."},
      auxiliary("old_log_probs", true, "[B, T]",
                "Log-probabilities under the policy that sampled."),
      auxiliary("ref_log_probs", false, "[B, T]",
                "Log-probabilities under the reference policy."),
      auxiliary("advantages", true, "[B, T] or [B]", "The advantages."),
      {.name = "mask",
       .role = TensorRole::kMask,
       .dtypes = DtypeRule::kAny,
       .required = false,
       .shape_rule = "[B, T]",
       .description = "Which tokens count, each 0 or 1; all, if absent."},
  };
}

ParameterSchema Choice(absl::string_view name, absl::string_view description,
                       std::vector<absl::string_view> choices) {
  ParameterSchema schema = {.name = name,
                            .type = ParameterType::kEnum,
                            .default_value = 1,
                            .range = "one of its values",
                            .description = description};
  schema.choices = std::move(choices);
  return schema;
}

ParameterSchema Number(absl::string_view name, std::optional<double> value,
                       absl::string_view range, double minimum, double maximum,
                       absl::string_view description) {
  return {.name = name,
          .type = ParameterType::kDouble,
          .default_value = value,
          .range = range,
          .description = description,
          .minimum = minimum,
          .maximum = maximum};
}

std::vector<ParameterSchema> Parameters() {
  const double unlimited = std::numeric_limits<double>::infinity();
  ParameterSchema dual_clip =
      Number("dual_clip", std::nullopt, "(1, inf)", 1, unlimited,
             "Where the advantage is negative, the token's loss is at most "
             "-advantage * dual_clip; only with CLIPPED.");
  dual_clip.minimum_open = true;
  ParameterSchema kl_estimator = Choice(
      "kl_estimator",
      "K1: -d, K2: d^2 / 2, K3: exp(d) - d - 1; d = ref_log_probs - log_probs.",
      {"K1", "K2", "K3"});
  kl_estimator.default_value = 3;
  return {
      Choice("objective", "What is minimised.",
             {"CLIPPED", "CISPO", "IMPORTANCE_SAMPLING"}),
      Choice("importance_level", "What the ratio is taken over.",
             {"TOKEN", "SEQUENCE"}),
      Number("clip_low", 0.2, "[0, 1]", 0, 1,
             "The ratio is clipped below at 1 - clip_low."),
      Number("clip_high", 0.2, "[0, inf)", 0, unlimited,
             "The ratio is clipped above at 1 + clip_high."),
      dual_clip,
      Number("kl_weight", 0, "[0, inf)", 0, unlimited,
             "The weight of the divergence from ref_log_probs."),
      kl_estimator,
      Choice("aggregation", "How the mean aggregates tokens.",
             {"TOKEN_MEAN", "SEQUENCE_MEAN_TOKEN_SUM",
              "SEQUENCE_MEAN_TOKEN_MEAN", "TOKEN_SUM_CONSTANT"}),
      {.name = "max_length",
       .type = ParameterType::kInt64,
       .default_value = std::nullopt,
       .range = "[1, inf)",
       .description = "The constant of TOKEN_SUM_CONSTANT.",
       .minimum = 1},
  };
}

const LossSchema& Schema() {
  static const LossSchema schema = {
      .name = "clipped_policy_loss",
      .summary =
          "The clipped surrogate of PPO, GRPO, DAPO, GSPO and CISPO over "
          "the tokens of sequences.",
      .formula =
          "max(-advantages * ratio, -advantages * clamp(ratio, "
          "1 - clip_low, 1 + clip_high)) + kl_weight * kl, ratio = "
          "exp(log_probs - old_log_probs)",
      .denominator =
          "TOKEN_MEAN: the sum of mask; SEQUENCE_MEAN_*: B; "
          "TOKEN_SUM_CONSTANT: B * max_length",
      .source =
          "Schulman et al. 2017 (PPO); Shao et al. 2024 (GRPO); Yu et al. "
          "2025 (DAPO); Zheng et al. 2025 (GSPO); MiniMax 2025 (CISPO)",
      .cost_rule = "150 operations a token",
      .differences = {"PyTorch has no such loss."},
      .tensors = Tensors(),
      .parameters = Parameters(),
      .metrics = {{"clip_fraction_high", "Tokens clipped above."},
                  {"clip_fraction_low", "Tokens clipped below."},
                  {"ratio", "The importance ratio."},
                  {"kl_old",
                   "The divergence from the policy that sampled, by K3."},
                  {"kl_ref",
                   "The divergence from the reference policy, by K3."}},
  };
  return schema;
}

void CheckParameters(const Arguments& arguments, Violations* violations) {
  const auto value = [&](int slot) {
    return arguments.parameter(Schema(), slot).value_or(0);
  };
  if (value(kKlWeight) > 0 && !arguments.has(kRefLogProbs)) {
    violations->Add(
        Reason::kTensorMissing, "ref_log_probs",
        absl::StrCat("ref_log_probs is missing: kl_weight = ",
                     Violations::NumberName(value(kKlWeight)), " needs it."));
  }
  const bool constant = value(kAggregation) == kTokenSumConstant;
  const bool has_length = arguments.parameters[kMaxLength].has_value();
  if (constant && !has_length) {
    violations->Add(Reason::kParameterOutOfRange, "max_length",
                    "max_length is missing: aggregation TOKEN_SUM_CONSTANT "
                    "needs it, at least 1.");
  }
  if (!constant && has_length) {
    violations->Add(Reason::kParameterOutOfRange, "max_length",
                    "max_length goes with aggregation TOKEN_SUM_CONSTANT only: "
                    "leave it unset.");
  }
  if (arguments.parameters[kDualClip].has_value() &&
      value(kObjective) != kClipped) {
    violations->Add(Reason::kParameterOutOfRange, "dual_clip",
                    "dual_clip goes with objective CLIPPED only: leave it "
                    "unset.");
  }
}

void CheckShapes(const Arguments& arguments, Violations* violations) {
  const TensorView& lead = arguments.tensor(kLogProbs);
  if (lead.shape.size() != 2) {
    violations->Add(Reason::kShapeMismatch, "log_probs",
                    absl::StrCat("log_probs has shape ", ShapeName(lead.shape),
                                 ", but clipped_policy_loss needs [B, T]."));
    return;
  }
  CheckSameShape(Schema(), arguments, kOldLogProbs, violations);
  CheckSameShape(Schema(), arguments, kRefLogProbs, violations);
  CheckSameShape(Schema(), arguments, kMask, violations);
  const TensorView& advantages = arguments.tensor(kAdvantages);
  const bool by_sequence =
      advantages.shape.size() == 1 && advantages.shape[0] == lead.shape[0];
  if (!by_sequence && advantages.shape != lead.shape) {
    violations->Add(
        Reason::kShapeMismatch, "advantages",
        absl::StrCat("advantages has shape ", ShapeName(advantages.shape),
                     ", but log_probs of shape ", ShapeName(lead.shape),
                     " needs ", ShapeName(lead.shape), " or [", lead.shape[0],
                     "]."));
  }
  CheckParameters(arguments, violations);
}

// How many tokens count. Every value of the mask is 0 or 1.
int64_t CountTokens(const Arguments& arguments, Violations* violations) {
  const TensorView& mask = arguments.tensor(kMask);
  if (!mask.present() || !mask.readable()) {
    return arguments.tensor(kLogProbs).elements;
  }
  int64_t count = 0;
  int64_t bad = 0;
  int64_t first_bad = 0;
  for (int64_t i = 0; i < mask.elements; ++i) {
    const double value = mask.ValueAt(i);
    count += value == 1;
    if (value != 0 && value != 1 && bad++ == 0) first_bad = i;
  }
  if (bad > 0) {
    violations->Add(
        Reason::kValueOutOfRange, "mask",
        absl::StrCat("mask", mask.PlaceName(first_bad), " = ",
                     violations->ValueName(mask.ValueAt(first_bad)),
                     " is neither 0 nor 1. ", bad, " of ", mask.elements,
                     bad == 1 ? " values is." : " values are."));
  }
  return count;
}

Geometry Plan(const Arguments& arguments, Violations* violations) {
  Geometry geometry = ElementwiseGeometry(Schema(), arguments);
  const Shape& shape = arguments.tensor(kLogProbs).shape;
  geometry.row_loss = true;
  geometry.rows = shape[0];
  geometry.row_length = shape[1];
  const int64_t tokens = CountTokens(arguments, violations);
  geometry.counted =
      !arguments.has(kMask) || arguments.tensor(kMask).readable();
  geometry.ignored_count = geometry.element_count - tokens;
  geometry.metric_denominator = static_cast<double>(tokens);
  geometry.absent_metrics = arguments.has(kRefLogProbs) ? 0 : 1;
  const double batch = static_cast<double>(shape[0]);
  const double aggregation = geometry.parameters[kAggregation];
  geometry.denominator_known = geometry.counted || aggregation != kTokenMean;
  geometry.mean_denominator =
      aggregation == kTokenMean ? static_cast<double>(tokens) : batch;
  if (aggregation == kTokenSumConstant) {
    geometry.mean_denominator = batch * geometry.parameters[kMaxLength];
  }
  return geometry;
}

}  // namespace

const LossDefinition& Definition() {
  static const LossDefinition definition = {Schema(), CheckShapes, Plan, 150};
  return definition;
}

}  // namespace lossd::clipped_policy_loss
