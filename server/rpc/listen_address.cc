// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

// 0, or the errno of a bind that failed.
int TryBind(const addrinfo& address) {
  const int fd = socket(address.ai_family, address.ai_socktype | SOCK_CLOEXEC,
                        address.ai_protocol);
  if (fd < 0) return errno;
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  int error = bind(fd, address.ai_addr, address.ai_addrlen) == 0 ? 0 : errno;
  // With SO_REUSEADDR the port of a listener can be bound, not listened on.
  if (error == 0 && listen(fd, 1) != 0) error = errno;
  close(fd);
  return error;
}

absl::Status CannotListen(const HostPort& address, absl::string_view why) {
  return absl::FailedPreconditionError(
      absl::StrCat("cannot listen on ", address.ToString(), ": ", why));
}

}  // namespace

absl::Status CheckCanListen(const HostPort& address) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int failed =
      getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(),
                  &hints, &found);
  if (failed != 0) return CannotListen(address, gai_strerror(failed));
  // One address of several is enough, as it is for gRPC.
  int error = 0;
  for (const addrinfo* next = found; next != nullptr; next = next->ai_next) {
    error = TryBind(*next);
    if (error == 0 || error == EADDRINUSE) break;
  }
  freeaddrinfo(found);
  if (error == 0) return absl::OkStatus();
  return CannotListen(address, std::strerror(error));
}

absl::Status WritePortFile(const std::string& path,
                           absl::Span<const NamedAddress> addresses) {
  const std::string temporary = absl::StrCat(path, ".", getpid(), ".tmp");
  {
    std::ofstream file(temporary, std::ios::trunc);
    for (const NamedAddress& each : addresses) {
      file << each.name << "=" << each.address << "\n";
    }
    file.close();
    if (!file) {
      return absl::UnavailableError(absl::StrCat("cannot write the port file ",
                                                 temporary, ": ",
                                                 std::strerror(errno)));
    }
  }
  if (std::rename(temporary.c_str(), path.c_str()) == 0) {
    return absl::OkStatus();
  }
  const int error = errno;
  std::remove(temporary.c_str());
  return absl::UnavailableError(absl::StrCat("cannot write the port file ",
                                             path, ": ", std::strerror(error)));
}

}  // namespace lossd
