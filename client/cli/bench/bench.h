// SPDX-License-Identifier: Apache-2.0
#ifndef LOSSD_CLIENT_CLI_BENCH_BENCH_H_
#define LOSSD_CLIENT_CLI_BENCH_BENCH_H_

#include <string>

#include "client/cli/bench/load.h"
#include "client/cli/bench/requests.h"

// What `lossctl bench` does with the requests that it has.

namespace lossd::cli {

// Compares the answers of lossd: each must be the method's message with a
// result, and the result the same as in the first answer to its payload.
// Thread-safe. `payloads` is how many there are.
AnswerCheck NewAnswerCheck(const std::string& method, size_t payloads);

// For people, and one line of JSON for machines.
std::string BenchPage(const LoadOptions& options, const Payloads& payloads,
                      const LoadReport& report);
std::string BenchJson(const LoadOptions& options, const Payloads& payloads,
                      const LoadReport& report);

// What makes a load fast for the whole process, whose other calls lose nothing:
// memory of large messages is kept between calls, and mutexes do not record the
// order in which they are taken. Call it before the load.
void PrepareForLoad();

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_BENCH_BENCH_H_
