// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_CUDA_SOURCE_SITES_H_
#define LOSSD_TESTS_CUDA_SOURCE_SITES_H_

#include <string>
#include <vector>

namespace lossd {

// A barrier, or an exchange among the threads of a warp, as the kernels' source
// has it.
struct SourceSite {
  std::string file;  // from the root of the repository
  int line = 0;
  std::string function;  // that it stands in
  std::string text;      // the line, without a comment
};

// All of them, in server/kernels, server/kernels/cuda and server/losses.
std::vector<SourceSite> SourceSites();

}  // namespace lossd

#endif  // LOSSD_TESTS_CUDA_SOURCE_SITES_H_
