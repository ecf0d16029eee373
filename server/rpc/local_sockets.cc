// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/local_sockets.h"

#include <dirent.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

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

// The local TCP port of a socket, or -1.
int PortOf(int descriptor) {
  sockaddr_storage address = {};
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (getsockname(descriptor, generic, &length) != 0) return -1;
  if (address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
  }
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
  }
  return -1;
}

// The state of a TCP socket, such as TCP_LISTEN, or -1.
int StateOf(int descriptor) {
  tcp_info info = {};
  socklen_t length = sizeof(info);
  return getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length) == 0
             ? info.tcpi_state
             : -1;
}

void ForEachListener(int port, absl::FunctionRef<void(int)> visit) {
  for (int descriptor : Descriptors()) {
    if (PortOf(descriptor) == port && StateOf(descriptor) == TCP_LISTEN) {
      visit(descriptor);
    }
  }
}

// Visits those that can still be written to.
void ForEachConnection(int port, absl::FunctionRef<void(int)> visit) {
  for (int descriptor : Descriptors()) {
    if (PortOf(descriptor) != port) continue;
    const int state = StateOf(descriptor);
    if (state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT) visit(descriptor);
  }
}

}  // namespace

void EndListening(int port) {
  ForEachListener(port,
                  [](int descriptor) { shutdown(descriptor, SHUT_RDWR); });
}

int64_t UnacknowledgedBytes(int port) {
  int64_t total = 0;
  ForEachConnection(port, [&](int descriptor) {
    int bytes = 0;
    if (ioctl(descriptor, SIOCOUTQ, &bytes) == 0) total += bytes;
  });
  return total;
}

void EndConnections(int port) {
  ForEachConnection(port,
                    [](int descriptor) { shutdown(descriptor, SHUT_RDWR); });
}

}  // namespace lossd
