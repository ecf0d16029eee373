// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/unix_socket_file.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace lossd {
namespace {

absl::Status CannotListen(const std::string& path, absl::string_view why) {
  return absl::FailedPreconditionError(
      absl::StrCat("cannot listen on unix:", path, ": ", why));
}

// A socket for a moment.
class ProbeSocket {
 public:
  ProbeSocket() : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~ProbeSocket() { close(fd_); }
  ProbeSocket(const ProbeSocket&) = delete;
  ProbeSocket& operator=(const ProbeSocket&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

// 0, or the errno of connecting to the path.
int TryConnect(const std::string& path) {
  const ProbeSocket probe;
  const sockaddr_un address = AddressOf(path);
  return connect(probe.fd(), reinterpret_cast<const sockaddr*>(&address),
                 sizeof(address)) == 0
             ? 0
             : errno;
}

// 0, or the errno of binding to the path. Leaves nothing there.
int TryBind(const std::string& path) {
  const ProbeSocket probe;
  const sockaddr_un address = AddressOf(path);
  unlink(path.c_str());
  if (bind(probe.fd(), reinterpret_cast<const sockaddr*>(&address),
           sizeof(address)) != 0) {
    return errno;
  }
  unlink(path.c_str());
  return 0;
}

absl::Status CheckUnused(const std::string& path) {
  struct stat found = {};
  if (lstat(path.c_str(), &found) != 0) {
    return errno == ENOENT ? absl::OkStatus()
                           : CannotListen(path, std::strerror(errno));
  }
  if (!S_ISSOCK(found.st_mode)) {
    return CannotListen(path, "there is a file that is no socket");
  }
  const int error = TryConnect(path);
  if (error == ECONNREFUSED || error == ENOENT) return absl::OkStatus();
  return CannotListen(path, error == 0 || error == EAGAIN
                                ? std::strerror(EADDRINUSE)
                                : std::strerror(error));
}

}  // namespace

UnixSocketFile::UnixSocketFile(const std::string& path)
    : path_(path), bind_path_(absl::StrCat(path, ".", getpid(), ".new")) {}

absl::StatusOr<std::unique_ptr<UnixSocketFile>> UnixSocketFile::Reserve(
    const std::string& path) {
  LOSSD_RETURN_IF_ERROR(CheckUnused(path));
  std::unique_ptr<UnixSocketFile> file(new UnixSocketFile(path));
  const int error = TryBind(file->bind_path_);
  if (error != 0) return CannotListen(path, std::strerror(error));
  return file;
}

absl::Status UnixSocketFile::Publish(mode_t mode) {
  // Who takes the name in the meantime loses it.
  LOSSD_RETURN_IF_ERROR(CheckUnused(path_));
  if (chmod(bind_path_.c_str(), mode) != 0 ||
      lstat(bind_path_.c_str(), &identity_) != 0 ||
      std::rename(bind_path_.c_str(), path_.c_str()) != 0) {
    return CannotListen(path_, std::strerror(errno));
  }
  published_ = true;
  return absl::OkStatus();
}

void UnixSocketFile::Remove() {
  if (!published_) {
    unlink(bind_path_.c_str());
    return;
  }
  struct stat found = {};
  if (lstat(path_.c_str(), &found) == 0 && found.st_dev == identity_.st_dev &&
      found.st_ino == identity_.st_ino) {
    unlink(path_.c_str());
  }
}

}  // namespace lossd
