// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_UNIX_SOCKET_FILE_H_
#define LOSSD_SERVER_RPC_UNIX_SOCKET_FILE_H_

#include <sys/stat.h>
#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lossd {

// Files made during its life are its user's alone. For the whole process.
class PrivateFiles {
 public:
  PrivateFiles() : before_(umask(0177)) {}
  ~PrivateFiles() { umask(before_); }
  PrivateFiles(const PrivateFiles&) = delete;
  PrivateFiles& operator=(const PrivateFiles&) = delete;

 private:
  const mode_t before_;
};

// The name of a Unix socket in the file system. The socket is bound under
// another name, and gets its own when its permissions are set: whoever can see
// the socket can connect to it, or never could.
//
//   auto file = UnixSocketFile::Reserve(path);
//   (bind to file->bind_path() and listen)
//   file->Publish(0600);
//
// Not thread-safe.
class UnixSocketFile {
 public:
  // Whether a socket can be bound there. A socket that nobody listens on, such
  // as a process that was killed leaves behind, is no hindrance.
  // FAILED_PRECONDITION with the path and the reason.
  static absl::StatusOr<std::unique_ptr<UnixSocketFile>> Reserve(
      const std::string& path);

  // Calls Remove().
  ~UnixSocketFile() { Remove(); }
  UnixSocketFile(const UnixSocketFile&) = delete;
  UnixSocketFile& operator=(const UnixSocketFile&) = delete;

  const std::string& path() const { return path_; }
  // Where to bind the socket. It stays the socket's own name for itself.
  const std::string& bind_path() const { return bind_path_; }

  // Gives the bound socket its permissions and its name, in the place of one
  // that nobody listens on.
  absl::Status Publish(mode_t mode);

  // Removes the name, unless it has become another socket's.
  void Remove();

 private:
  explicit UnixSocketFile(const std::string& path);

  const std::string path_;
  const std::string bind_path_;
  bool published_ = false;
  struct stat identity_ = {};
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_UNIX_SOCKET_FILE_H_
