// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/region_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/status_macros.h"

namespace lossd {
namespace {

constexpr int kBacklog = 64;
// After the system had no descriptor left for a connection.
constexpr int kPauseMs = 100;

// Sends the answer, with `descriptor` unless it is -1. Never waits: what does
// not fit a socket that nothing was written to is given up.
bool Send(int to, const RegionAnswerBytes& answer, int descriptor) {
  iovec bytes = {.iov_base = const_cast<uint8_t*>(answer.data()),
                 .iov_len = answer.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control = {};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  if (descriptor >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof(descriptor));
  }
  return sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(answer.size());
}

bool PeerUid(int descriptor, uid_t* uid) {
  ucred peer = {};
  socklen_t length = sizeof(peer);
  if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    return false;
  }
  *uid = peer.uid;
  return true;
}

}  // namespace

// One client, from its request to its end.
struct RegionServer::Connection {
  explicit Connection(int fd) : descriptor(fd) {}
  ~Connection() { close(descriptor); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const int descriptor;
  absl::Time give_up;  // without a request until then
  RegionRequestBytes request = {};
  size_t received = 0;
  std::shared_ptr<SharedRegion> region;  // once it was asked for
};

RegionServer::RegionServer(RegionServerOptions options, SharedRegions* regions,
                           Log* log)
    : options_(std::move(options)), regions_(*regions), log_(*log) {}

absl::StatusOr<std::unique_ptr<RegionServer>> RegionServer::Start(
    RegionServerOptions options, SharedRegions* regions, Log* log) {
  std::unique_ptr<RegionServer> server(
      new RegionServer(std::move(options), regions, log));
  LOSSD_RETURN_IF_ERROR(server->Listen());
  server->thread_ = std::thread([self = server.get()] { self->Serve(); });
  return server;
}

RegionServer::~RegionServer() {
  if (thread_.joinable()) {
    eventfd_write(stop_, 1);
    thread_.join();
  }
  for (const auto& connection : connections_) End(*connection);
  if (listener_ >= 0) close(listener_);
  if (stop_ >= 0) close(stop_);
}

absl::Status RegionServer::Listen() {
  LOSSD_ASSIGN_OR_RETURN(file_, UnixSocketFile::Reserve(options_.path));
  const auto refused = [this] {
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot listen on unix:", options_.path, ": ", std::strerror(errno)));
  };
  listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  stop_ = eventfd(0, EFD_CLOEXEC);
  if (listener_ < 0 || stop_ < 0) return refused();
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  file_->bind_path().copy(address.sun_path, sizeof(address.sun_path) - 1);
  {
    const PrivateFiles only_ours;
    if (bind(listener_, reinterpret_cast<const sockaddr*>(&address),
             sizeof(address)) != 0) {
      return refused();
    }
  }
  if (listen(listener_, kBacklog) != 0) return refused();
  return file_->Publish(options_.mode);
}

void RegionServer::Serve() {
  std::vector<pollfd> waiting;
  for (;;) {
    waiting.assign({{.fd = stop_, .events = POLLIN, .revents = 0},
                    {.fd = listener_, .events = POLLIN, .revents = 0}});
    for (const auto& connection : connections_) {
      waiting.push_back(
          {.fd = connection->descriptor, .events = POLLIN, .revents = 0});
    }
    if (poll(waiting.data(), waiting.size(), WaitTime()) < 0) continue;
    if (waiting[0].revents != 0) return;
    const absl::Time now = absl::Now();
    // Of those that were waited for; new ones come behind them.
    for (size_t i = connections_.size(); i-- > 0;) {
      Connection& connection = *connections_[i];
      const bool late =
          connection.region == nullptr && now >= connection.give_up;
      if (late || (waiting[i + 2].revents != 0 && !Advance(connection))) {
        End(connection);
        connections_.erase(connections_.begin() + static_cast<ptrdiff_t>(i));
      }
    }
    if (waiting[1].revents != 0) AcceptAll();
  }
}

int RegionServer::WaitTime() const {
  absl::Time first = absl::InfiniteFuture();
  for (const auto& connection : connections_) {
    if (connection->region == nullptr) {
      first = std::min(first, connection->give_up);
    }
  }
  if (first == absl::InfiniteFuture()) return -1;
  const absl::Duration left =
      std::max(first - absl::Now(), absl::ZeroDuration());
  return static_cast<int>(
      absl::ToInt64Milliseconds(absl::Ceil(left, absl::Milliseconds(1))));
}

void RegionServer::AcceptAll() {
  for (;;) {
    const int descriptor =
        accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor >= 0) {
      Welcome(descriptor);
      continue;
    }
    const int error = errno;
    if (error == ECONNABORTED || error == EINTR) continue;
    if (error != EAGAIN) {
      // No descriptor or no memory is left: the caller waits in the backlog.
      log_.Event(LogLevel::kWarning, "shared_memory_refused",
                 {{"reason", std::strerror(error)}});
      pollfd stop = {.fd = stop_, .events = POLLIN, .revents = 0};
      poll(&stop, 1, kPauseMs);
    }
    return;
  }
}

void RegionServer::Welcome(int descriptor) {
  auto connection = std::make_unique<Connection>(descriptor);
  uid_t uid = 0;
  const bool known = PeerUid(descriptor, &uid);
  const bool allowed =
      known && (uid == 0 || uid == geteuid() ||
                std::find(options_.uids.begin(), options_.uids.end(), uid) !=
                    options_.uids.end());
  if (!allowed) {
    log_.Event(
        LogLevel::kWarning, "shared_memory_refused",
        {{"reason", "user not allowed"}, {"uid", static_cast<int64_t>(uid)}});
    Refuse(*connection, RegionStatus::kNotAllowed);
    return;
  }
  if (static_cast<int>(connections_.size()) >= options_.max_connections) {
    Refuse(*connection, RegionStatus::kTooManyConnections);
    return;
  }
  connection->give_up = absl::Now() + options_.request_time;
  connections_.push_back(std::move(connection));
}

bool RegionServer::Advance(Connection& connection) {
  RegionRequestBytes& request = connection.request;
  // After the request there is nothing to say but the end.
  const ssize_t got =
      recv(connection.descriptor, request.data() + connection.received,
           request.size() - connection.received, MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  connection.received += static_cast<size_t>(got);
  return connection.received < request.size() ||
         Answer(connection, ParseRegionRequest(request));
}

bool RegionServer::Answer(Connection& connection,
                          const RegionRequest& request) {
  if (request.status != RegionStatus::kOk) {
    return Refuse(connection, request.status);
  }
  if (request.bytes > regions_.max_bytes()) {
    return Refuse(connection, RegionStatus::kOutOfRange);
  }
  auto region = regions_.Make(request.bytes);
  if (!region.ok()) {
    const bool full = absl::IsResourceExhausted(region.status());
    log_.Event(LogLevel::kWarning, "shared_memory_refused",
               {{"reason", region.status().message()}});
    return Refuse(connection, full ? RegionStatus::kQuotaExhausted
                                   : RegionStatus::kInternal);
  }
  connection.region = *std::move(region);
  return Send(connection.descriptor, WriteRegionAnswer(*connection.region),
              connection.region->descriptor());
}

bool RegionServer::Refuse(const Connection& connection, RegionStatus status) {
  Send(connection.descriptor, WriteRegionRefusal(status, regions_.max_bytes()),
       -1);
  return false;
}

void RegionServer::End(Connection& connection) {
  if (connection.region != nullptr) regions_.Forget(*connection.region);
  connection.region = nullptr;
}

}  // namespace lossd
