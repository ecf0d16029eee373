// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_JSON_H_
#define LOSSD_CLIENT_CLI_JSON_H_

#include <google/protobuf/message.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "lossd/v1/loss_service.pb.h"

// Answers for machines: JSON on one line. Numbers are the shortest decimals
// that read back as the same float32 or float64; NaN and infinity are the
// strings "NaN", "Infinity" and "-Infinity".

namespace lossd::cli {

// `text` in quotes. Bytes that are not UTF-8 are replaced.
std::string JsonString(absl::string_view text);

// Nested lists of the elements; a number for a scalar.
absl::StatusOr<std::string> JsonTensor(const v1::Tensor& tensor);

// A message with its field names; unset fields are left out. Enums are their
// short names, durations are seconds, tensors are nested lists.
absl::StatusOr<std::string> JsonMessage(
    const google::protobuf::Message& message);

// {"loss": ..., "gradients": {NAME: ...}, "metrics": {NAME: {...}}, ...,
// "execution": {...}}; what was not computed is left out.
absl::StatusOr<std::string> JsonResult(const v1::Result& result,
                                       const v1::Execution& execution);

// {"error": {"code": "INVALID_ARGUMENT", "reason": ..., "message": ...,
// "violations": [{"field": ..., "description": ...}], "metadata": {...}}}
std::string JsonError(const absl::Status& status);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_JSON_H_
