// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/local_sockets.h"

#include <dirent.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstdlib>
#include <vector>

#include "absl/functional/function_ref.h"

namespace lossd {
namespace {

// The file descriptors of this process.
std::vector<int> Descriptors() {
  std::vector<int> descriptors;
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return descriptors;
  while (const dirent* entry = readdir(folder)) {
    if (entry->d_name[0] == '.') continue;
    descriptors.push_back(std::atoi(entry->d_name));
  }
  closedir(folder);
  return descriptors;
}

// Whether the socket is bound to the address. No, if it is no socket.
bool IsAt(int descriptor, const LocalAddress& wanted) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof(storage);
  auto* generic = reinterpret_cast<sockaddr*>(&storage);
  if (getsockname(descriptor, generic, &length) != 0) return false;
  switch (storage.ss_family) {
    case AF_INET:
      return ntohs(reinterpret_cast<sockaddr_in*>(&storage)->sin_port) ==
             wanted.port;
    case AF_INET6:
      return ntohs(reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port) ==
             wanted.port;
    case AF_UNIX:
      return !wanted.unix_path.empty() &&
             wanted.unix_path ==
                 reinterpret_cast<sockaddr_un*>(&storage)->sun_path;
    default:
      return false;
  }
}

bool IsListener(int descriptor) {
  int listening = 0;
  socklen_t length = sizeof(listening);
  return getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listening,
                    &length) == 0 &&
         listening != 0;
}

// Whether it can still be written to.
bool IsConnection(int descriptor) {
  tcp_info info = {};
  socklen_t length = sizeof(info);
  if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length) == 0) {
    return info.tcpi_state == TCP_ESTABLISHED ||
           info.tcpi_state == TCP_CLOSE_WAIT;
  }
  return !IsListener(descriptor);
}

void ForEachConnection(const LocalAddress& address,
                       absl::FunctionRef<void(int)> visit) {
  for (int descriptor : Descriptors()) {
    if (IsAt(descriptor, address) && IsConnection(descriptor)) {
      visit(descriptor);
    }
  }
}

}  // namespace

void EndListening(const LocalAddress& address) {
  for (int descriptor : Descriptors()) {
    if (IsAt(descriptor, address) && IsListener(descriptor)) {
      shutdown(descriptor, SHUT_RDWR);
    }
  }
}

int64_t UnacknowledgedBytes(const LocalAddress& address) {
  int64_t total = 0;
  ForEachConnection(address, [&](int descriptor) {
    int bytes = 0;
    if (ioctl(descriptor, SIOCOUTQ, &bytes) == 0) total += bytes;
  });
  return total;
}

void EndConnections(const LocalAddress& address) {
  ForEachConnection(address,
                    [](int descriptor) { shutdown(descriptor, SHUT_RDWR); });
}

}  // namespace lossd
