// SPDX-License-Identifier: Apache-2.0
//
// Short TCP connections, served by a few threads that no client can hold for
// longer than a deadline.

#ifndef LOSSD_SERVER_TELEMETRY_CONNECTION_LISTENER_H_
#define LOSSD_SERVER_TELEMETRY_CONNECTION_LISTENER_H_

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace lossd {

// An open file descriptor, closed with this object.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();

  int get() const { return fd_; }

 private:
  int fd_;
};

// One accepted connection, used by one thread.
class Connection {
 public:
  // As read(2) and write(2), but a call waits until it can do something, and
  // returns -1 once the connection's time is over, or when it would have to
  // wait although the listener is stopping.
  ssize_t Read(char* data, size_t size);
  ssize_t Write(const char* data, size_t size);

 private:
  friend class ConnectionListener;
  using SteadyTime = std::chrono::steady_clock::time_point;
  Connection(FileDescriptor socket, int stop, SteadyTime deadline)
      : socket_(std::move(socket)), stop_(stop), deadline_(deadline) {}

  // Whether `events` of poll(2) happened on the socket in time.
  bool Wait(short events);
  // Ends the connection so that the peer can still read what was written.
  void Close();

  FileDescriptor socket_;
  int stop_;  // Becomes readable when the listener stops.
  SteadyTime deadline_;
};

// Listens on an address. Thread-safe.
class ConnectionListener {
 public:
  struct Options {
    std::string host;  // A name or an address, without brackets.
    int port = 0;      // 0 takes a free one.
    // Connections that are served at a time; as many threads are started, and
    // what comes beyond waits in the system's queue, which is bounded.
    int threads = 4;
    // How long one connection may take in all.
    std::chrono::milliseconds deadline{5000};
    // Serves one connection, which is closed when it returns. Called on any of
    // the threads. Must not throw and must not call Stop().
    std::function<void(Connection&)> serve = nullptr;
  };

  // The error of bind(2) and the like, with the address in its message.
  static absl::StatusOr<std::unique_ptr<ConnectionListener>> Start(
      Options options);
  ~ConnectionListener();
  ConnectionListener(const ConnectionListener&) = delete;
  ConnectionListener& operator=(const ConnectionListener&) = delete;

  // The port that is listened on, never 0.
  int port() const { return port_; }

  // Stops listening and returns when no connection is served any more: at once
  // for those that wait for their peers, else within the deadline. Call it
  // from one thread; further calls do nothing.
  void Stop();

 private:
  ConnectionListener(Options options, FileDescriptor listening,
                     FileDescriptor stop, int port);
  void ThreadMain();
  bool AcceptOne();

  const Options options_;
  FileDescriptor listening_;
  FileDescriptor stop_;
  const int port_;
  std::vector<std::thread> threads_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_TELEMETRY_CONNECTION_LISTENER_H_
