// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/connection_listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

constexpr int kBacklog = 64;
// What the peer may still send once it has its answer, so that closing does not
// reset the connection before it has read that.
constexpr std::chrono::milliseconds kLinger{200};
constexpr int64_t kLingerBytes = 64 << 10;
// How long to wait when the process has run out of descriptors or memory.
constexpr int kShortageMs = 20;

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::StatusOr<AddressList> Resolve(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  int error =
      getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (error != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot resolve ", host, ": ", gai_strerror(error)));
  }
  return AddressList(list, &freeaddrinfo);
}

// A descriptor of -1 with errno set if that fails.
FileDescriptor Listen(const addrinfo& address) {
  FileDescriptor fd(
      socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (fd.get() < 0 ||
      setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0 ||
      listen(fd.get(), kBacklog) != 0) {
    const int error = errno;
    fd = FileDescriptor();
    errno = error;
  }
  return fd;
}

int BoundPort(const FileDescriptor& listening) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  getsockname(listening.get(), reinterpret_cast<sockaddr*>(&address), &size);
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
  }
  return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

}  // namespace

FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

bool Connection::Wait(short events) {
  while (true) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(
        deadline_ - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    std::array<pollfd, 2> fds = {
        {{socket_.get(), events, 0}, {stop_, POLLIN, 0}}};
    int ready = poll(fds.data(), fds.size(), static_cast<int>(left.count()));
    if (ready < 0 && errno != EINTR) return false;
    if (ready <= 0) continue;
    return fds[0].revents != 0;
  }
}

ssize_t Connection::Read(char* data, size_t size) {
  while (true) {
    if (!Wait(POLLIN)) return -1;
    ssize_t got = recv(socket_.get(), data, size, 0);
    if (got >= 0 || (errno != EAGAIN && errno != EINTR)) return got;
  }
}

ssize_t Connection::Write(const char* data, size_t size) {
  while (true) {
    if (!Wait(POLLOUT)) return -1;
    ssize_t put = send(socket_.get(), data, size, MSG_NOSIGNAL);
    if (put >= 0 || (errno != EAGAIN && errno != EINTR)) return put;
  }
}

void Connection::Close() {
  shutdown(socket_.get(), SHUT_WR);
  deadline_ = std::min(deadline_, std::chrono::steady_clock::now() + kLinger);
  std::array<char, 4096> ignored;
  int64_t total = 0;
  while (total < kLingerBytes) {
    ssize_t got = Read(ignored.data(), ignored.size());
    if (got <= 0) break;
    total += got;
  }
  socket_ = FileDescriptor();
}

absl::StatusOr<std::unique_ptr<ConnectionListener>> ConnectionListener::Start(
    Options options) {
  absl::StatusOr<AddressList> addresses = Resolve(options.host, options.port);
  if (!addresses.ok()) return addresses.status();
  FileDescriptor listening;
  for (const addrinfo* address = addresses->get();
       address != nullptr && listening.get() < 0; address = address->ai_next) {
    listening = Listen(*address);
  }
  if (listening.get() < 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot listen on ", options.host, " port ",
                            options.port));
  }
  FileDescriptor stop(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (stop.get() < 0) return absl::ErrnoToStatus(errno, "eventfd");
  int port = BoundPort(listening);
  return std::unique_ptr<ConnectionListener>(new ConnectionListener(
      std::move(options), std::move(listening), std::move(stop), port));
}

ConnectionListener::ConnectionListener(Options options,
                                       FileDescriptor listening,
                                       FileDescriptor stop, int port)
    : options_(std::move(options)),
      listening_(std::move(listening)),
      stop_(std::move(stop)),
      port_(port) {
  for (int i = 0; i < options_.threads; ++i) {
    threads_.emplace_back([this] { ThreadMain(); });
  }
}

ConnectionListener::~ConnectionListener() { Stop(); }

void ConnectionListener::Stop() {
  const uint64_t one = 1;
  // Never read, so it wakes every thread; it cannot overflow.
  if (write(stop_.get(), &one, sizeof(one)) < 0) return;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  listening_ = FileDescriptor();
}

void ConnectionListener::ThreadMain() {
  while (AcceptOne()) {
  }
}

// Serves one connection if there is one; false when the listener stops.
bool ConnectionListener::AcceptOne() {
  std::array<pollfd, 2> fds = {
      {{listening_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
  int ready = poll(fds.data(), fds.size(), -1);
  if (fds[1].revents != 0) return false;
  if (ready <= 0) return true;
  FileDescriptor socket(accept4(listening_.get(), nullptr, nullptr,
                                SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (socket.get() >= 0) {
    Connection connection(std::move(socket), stop_.get(),
                          std::chrono::steady_clock::now() + options_.deadline);
    options_.serve(connection);
    connection.Close();
  } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
             errno == ENOMEM) {
    // The connection is still waiting: without a pause this would spin.
    poll(&fds[1], 1, kShortageMs);
  }
  return true;
}

}  // namespace lossd
