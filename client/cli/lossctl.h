// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_LOSSCTL_H_
#define LOSSD_CLIENT_CLI_LOSSCTL_H_

#include <istream>
#include <ostream>
#include <string>
#include <vector>

namespace lossd::cli {

inline constexpr int kOk = 0;
// The server or the transport answered with an error.
inline constexpr int kCallFailed = 1;
// The command line, or a file that it names, cannot be used.
inline constexpr int kUsage = 2;

// Runs lossctl with `arguments` (without the program's name), and returns its
// exit status. Answers go to `output`, errors to `error`, and with --json also
// as an object to `output`. Reads the environment variable LOSSCTL_SERVER.
int RunLossctl(const std::vector<std::string>& arguments, std::istream& input,
               std::ostream& output, std::ostream& error);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_LOSSCTL_H_
