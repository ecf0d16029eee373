// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_BENCH_REQUESTS_H_
#define LOSSD_CLIENT_CLI_BENCH_REQUESTS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cli/bench/options.h"
#include "client/cli/evaluation.h"
#include "client/cli/source.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd::cli {

// The encoded requests of a load, in the order in which they are sent.
struct Payloads {
  // What they are, such as "cross_entropy 32x1000".
  std::string title;
  std::vector<std::string> bytes;
};

// Requests for each loss (`loss.loss`: a name, several with commas between
// them, or "all") and each shape, `bench.payloads` different ones; neighbours
// differ in loss and shape. The flags of `loss` go into every request; the
// required tensors that they leave out are made up. ComputeLoss reads the same
// bytes as ComputeGradient.
//
// INVALID_ARGUMENT for an unknown loss or flag and for a shape that does not
// fit a loss; FAILED_PRECONDITION for a loss that `losses` lacks.
absl::StatusOr<Payloads> MakePayloads(const LossOptions& loss,
                                      const BenchOptions& bench,
                                      const v1::ListLossesResponse& losses,
                                      Source& source);

// The contents of the files. NOT_FOUND for one that cannot be read.
absl::StatusOr<Payloads> ReadPayloads(const std::vector<std::string>& paths);

// Writes 0000.bin, 0001.bin, ... into `folder`, which must exist. Returns what
// to print. NOT_FOUND if a file cannot be written.
absl::StatusOr<std::string> SavePayloads(const Payloads& payloads,
                                         const std::string& folder);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_BENCH_REQUESTS_H_
