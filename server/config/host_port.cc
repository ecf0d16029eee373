// SPDX-License-Identifier: Apache-2.0

#include "server/config/host_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

constexpr int kMaxPort = 65535;

bool IsIpv6(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

// The characters of host names, and of addresses with a zone ("fe80::1%eth0").
bool IsHostCharacter(unsigned char c) {
  return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_' ||
         c == '%' || c == ':';
}

absl::StatusOr<int> ParsePort(absl::string_view text) {
  int port = 0;
  bool digits = !text.empty() &&
                std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
  if (!digits || !absl::SimpleAtoi(text, &port) || port > kMaxPort) {
    return absl::InvalidArgumentError("the port is not a number up to 65535");
  }
  return port;
}

}  // namespace

std::string HostPort::ToString() const {
  if (host.find(':') != std::string::npos) {
    return absl::StrCat("[", host, "]:", port);
  }
  return absl::StrCat(host, ":", port);
}

bool HostPort::IsLoopback() const {
  if (absl::EqualsIgnoreCase(host, "localhost")) return true;
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    return (ntohl(v4.s_addr) >> 24) == 127;
  }
  in6_addr v6;
  if (inet_pton(AF_INET6, host.c_str(), &v6) != 1) return false;
  if (IN6_IS_ADDR_LOOPBACK(&v6)) return true;
  return IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127;
}

absl::StatusOr<HostPort> ParseHostPort(absl::string_view text) {
  size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) {
    return absl::InvalidArgumentError("there is no port: write HOST:PORT");
  }
  absl::StatusOr<int> port = ParsePort(text.substr(colon + 1));
  if (!port.ok()) return port.status();

  std::string host(text.substr(0, colon));
  if (host.empty()) {
    return absl::InvalidArgumentError(
        "there is no host: write 127.0.0.1:PORT, or for every address "
        "0.0.0.0:PORT or [::]:PORT");
  }
  if (host.front() == '[') {
    if (host.back() != ']' || !IsIpv6(host.substr(1, host.size() - 2))) {
      return absl::InvalidArgumentError(
          "what is in brackets is not an IPv6 address");
    }
    return HostPort{host.substr(1, host.size() - 2), *port};
  }
  if (host.find(':') != std::string::npos) {
    return absl::InvalidArgumentError(
        "an IPv6 address stands in brackets, such as [::1]:50051");
  }
  if (!std::all_of(host.begin(), host.end(), IsHostCharacter)) {
    return absl::InvalidArgumentError("the host is not a name or an address");
  }
  return HostPort{std::move(host), *port};
}

}  // namespace lossd
