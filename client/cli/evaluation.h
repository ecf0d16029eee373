// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_EVALUATION_H_
#define LOSSD_CLIENT_CLI_EVALUATION_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/source.h"
#include "lossd/v1/loss_service.pb.h"

// From the words of a command line to requests.

namespace lossd::cli {

// `--NAME VALUE`, of a tensor or a parameter of the loss.
struct LossFlag {
  // Without the dashes in front, and with underscores for those within.
  std::string name;
  // Absent if nothing follows, as in `--swap`.
  std::optional<std::string> value;
};

// The options of eval, grad and explain, as they are written. Empty is unset.
struct LossOptions {
  std::string loss;
  std::vector<LossFlag> flags;
  std::string reduction;
  std::optional<double> normalizer;
  std::string dtype;
  std::string device;
  std::string outputs;
  std::string wrt;
  std::string grad_output;
  std::string gradient_dtype;
};

// The evaluation that `options` ask for; `descriptor` is what the server says
// of the loss.
//
// Each tensor becomes `data` of the dtype that `--NAME-dtype` asks for it, else
// of one that its descriptor allows:
// - of a floating tensor it is `--dtype`, else that of the floating npy files
//   (which must agree), else float32;
// - where only integers are allowed, integers become int64, or stay what the
//   npy file has, if that is allowed;
// - where both are allowed, npy integers stay integers; integers in text become
//   int64 if the shape differs from that of the loss's first tensor, else
//   floating; `true` and `false` become bool if that is allowed.
// What no dtype fits is sent as it is written, for the server to explain.
//
// INVALID_ARGUMENT for an unknown or repeated flag (with the nearest known one
// and all of them), or a value that cannot be read; NOT_FOUND for a file.
absl::StatusOr<v1::Evaluation> BuildEvaluation(
    const LossOptions& options, const v1::LossDescriptor& descriptor,
    Source& source);

// The same, with wrt, grad_output and gradient_dtype.
absl::StatusOr<v1::ComputeGradientRequest> BuildGradientRequest(
    const LossOptions& options, const v1::LossDescriptor& descriptor,
    Source& source);

// The message inside the evaluation's oneof.
const google::protobuf::Message& LossMessage(const v1::Evaluation& evaluation);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_EVALUATION_H_
