// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_LOSSES_VIOLATIONS_H_
#define LOSSD_SERVER_LOSSES_VIOLATIONS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace lossd {

// Why an evaluation is refused. The numbers are those of lossd.v1.ErrorReason.
enum class Reason : uint8_t {
  kLossNotSet = 1,
  kTensorMissing = 2,
  kDtypeMismatch = 3,
  kShapeMismatch = 4,
  kLengthMismatch = 5,
  kValueInvalid = 6,
  kTargetOutOfRange = 7,
  kValueOutOfRange = 8,
  kParameterOutOfRange = 9,
  kOptionInvalid = 10,
  kLimitExceeded = 11,
  kMalformedRequest = 12,
  kUnknownField = 13,
  kDeviceUnavailable = 14,
  kQueueFull = 15,
  kDeadlineUnreachable = 16,
  kDraining = 17,
  kDeadlineExceeded = 18,
  kCancelled = 19,
  kInternal = 20,
  kSharedMemoryUnavailable = 21,
  kSharedMemoryInvalid = 22,
  kDeviceFailed = 23,
  kDeviceMemory = 24,
};

inline constexpr Reason kLastReason = Reason::kDeviceMemory;

struct Violation {
  Reason reason;
  std::string field;  // such as "evaluation.cross_entropy.target"
  std::string description;
};

// Everything that is wrong with one evaluation. The first 16 violations are
// kept and all are counted. Not thread-safe.
class Violations {
 public:
  static constexpr int kKept = 16;

  // With `withhold_values`, ValueName gives a placeholder: for owners of labels
  // who want no value in an error message.
  explicit Violations(bool withhold_values = false)
      : withhold_values_(withhold_values) {}

  // `field` is relative to the prefix.
  void Add(Reason reason, absl::string_view field, std::string description);

  // Ends every description with one more sentence.
  void AddSentence(absl::string_view sentence);

  // Fields are those of the evaluation's loss from now on: their prefix is
  // evaluation.LOSS, or nothing if `loss` is empty. `loss` is borrowed.
  void set_loss(absl::string_view loss) { loss_ = loss; }

  // A number for a message, with every digit that tells it from its neighbours.
  static std::string NumberName(double value);

  // A tensor's value for a message.
  std::string ValueName(double value) const;
  std::string ValueName(int64_t value) const;

  // Numbers for the metadata of the error, such as "limit" and "actual".
  void AddMetadata(absl::string_view key, std::string value) {
    metadata_.emplace(key, std::move(value));
  }
  const std::map<std::string, std::string>& metadata() const {
    return metadata_;
  }

  bool empty() const { return count_ == 0; }
  int count() const { return count_; }
  const std::vector<Violation>& kept() const { return kept_; }

 private:
  bool withhold_values_;
  absl::string_view loss_;
  int count_ = 0;
  std::vector<Violation> kept_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LOSSES_VIOLATIONS_H_
