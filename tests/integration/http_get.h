// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_TESTS_INTEGRATION_HTTP_GET_H_
#define LOSSD_TESTS_INTEGRATION_HTTP_GET_H_

#include <string>

namespace lossd {

// The status line, the headers and the body that a plain HTTP server answers.
std::string HttpGet(const std::string& host_port, const std::string& path);

}  // namespace lossd

#endif  // LOSSD_TESTS_INTEGRATION_HTTP_GET_H_
