// SPDX-License-Identifier: Apache-2.0
#include "lossd/shared_memory.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace lossd {
namespace {

// The protocol is in docs/shared_memory.md.
constexpr char kMagic[] = {'l', 'o', 's', 's', 'd', 's', 'h', 'm'};
constexpr uint32_t kVersion = 1;
constexpr int64_t kAlignment = 64;

// As they are on the wire, which is little-endian.
static_assert(std::endian::native == std::endian::little);
struct Request {
  char magic[8];
  uint32_t version;
  uint32_t reserved;
  uint64_t bytes;
};
struct Answer {
  char magic[8];
  uint32_t version;
  uint32_t status;
  uint64_t bytes;
  char token[16];
};
static_assert(sizeof(Request) == 24 && sizeof(Answer) == 40);

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status SystemError(absl::StatusCode code, absl::string_view what) {
  return absl::Status(code, absl::StrCat(what, ": ", std::strerror(errno)));
}

absl::StatusOr<Descriptor> Connect(absl::string_view address) {
  absl::string_view path = address;
  if (!absl::ConsumePrefix(&path, "unix:")) {
    return absl::InvalidArgumentError(
        absl::StrCat(address, " is not unix:PATH"));
  }
  if (absl::StartsWith(path, "///")) path.remove_prefix(2);
  sockaddr_un target = {};
  target.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(target.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat(address, " has no path that a socket can have"));
  }
  path.copy(target.sun_path, path.size());
  Descriptor descriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(descriptor.get(), reinterpret_cast<sockaddr*>(&target),
              sizeof(target)) == 0) {
    return descriptor;
  }
  return SystemError(errno == EACCES ? absl::StatusCode::kPermissionDenied
                                     : absl::StatusCode::kUnavailable,
                     absl::StrCat("cannot connect to ", address));
}

// Receives the answer, and the descriptor that comes with its first byte.
absl::Status Receive(int from, Answer* answer, Descriptor* memory) {
  size_t received = 0;
  while (received < sizeof(Answer)) {
    iovec bytes = {.iov_base = reinterpret_cast<char*>(answer) + received,
                   .iov_len = sizeof(Answer) - received};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control = {};
    msghdr message = {};
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t got = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return SystemError(absl::StatusCode::kUnavailable, "no answer");
    }
    if (got == 0) {
      return absl::UnavailableError("the server ended the connection");
    }
    received += static_cast<size_t>(got);
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(header), sizeof(descriptor));
      *memory = Descriptor(descriptor);
    }
  }
  return absl::OkStatus();
}

// The statuses of the protocol.
absl::Status StatusOf(const Answer& answer, int64_t bytes) {
  switch (answer.status) {
    case 0:
      return absl::OkStatus();
    case 2:
      return absl::FailedPreconditionError(absl::StrCat(
          "the server has version ", answer.version,
          " of the protocol of shared memory, and this client version ",
          kVersion));
    case 3:
      return absl::InvalidArgumentError(
          absl::StrCat("the server shares at most ", answer.bytes,
                       " bytes, but ", bytes, " were asked for"));
    case 4:
      return absl::ResourceExhaustedError(
          absl::StrCat("of the ", answer.bytes,
                       " bytes that the server shares, there are "
                       "not ",
                       bytes, " left"));
    case 5:
      return absl::PermissionDeniedError(
          "the server does not share memory with this user");
    case 6:
      return absl::ResourceExhaustedError(
          "the server shares memory with too many already");
    default:
      return absl::InternalError(
          absl::StrCat("the server answered with status ", answer.status));
  }
}

}  // namespace

struct SharedMemory::Region {
  ~Region() {
    if (data != nullptr) munmap(data, static_cast<size_t>(size));
  }
  Descriptor connection;
  uint8_t* data = nullptr;
  int64_t size = 0;
  int64_t used = 0;
  std::string token;
};

SharedMemory::SharedMemory(std::unique_ptr<Region> region)
    : region_(std::move(region)) {}
SharedMemory::SharedMemory(SharedMemory&& other) noexcept = default;
SharedMemory& SharedMemory::operator=(SharedMemory&& other) noexcept = default;
SharedMemory::~SharedMemory() = default;

absl::StatusOr<SharedMemory> SharedMemory::Open(absl::string_view address,
                                                int64_t bytes) {
  if (bytes < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(bytes, " bytes cannot be shared"));
  }
  auto region = std::make_unique<Region>();
  absl::StatusOr<Descriptor> connection = Connect(address);
  if (!connection.ok()) return connection.status();
  Request request = {.magic = {},
                     .version = kVersion,
                     .reserved = 0,
                     .bytes = static_cast<uint64_t>(bytes)};
  std::memcpy(request.magic, kMagic, sizeof(kMagic));
  // A server that says no may have done so already: its answer tells more than
  // an error here.
  static_cast<void>(
      send(connection->get(), &request, sizeof(request), MSG_NOSIGNAL));
  Answer answer = {};
  Descriptor memory;
  if (absl::Status got = Receive(connection->get(), &answer, &memory);
      !got.ok()) {
    return absl::Status(got.code(), absl::StrCat(address, ": ", got.message()));
  }
  if (std::memcmp(answer.magic, kMagic, sizeof(kMagic)) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(address, " does not hand out shared memory"));
  }
  if (absl::Status status = StatusOf(answer, bytes); !status.ok()) {
    return status;
  }
  struct stat found = {};
  if (answer.bytes < static_cast<uint64_t>(bytes) || memory.get() < 0 ||
      fstat(memory.get(), &found) != 0 ||
      static_cast<uint64_t>(found.st_size) != answer.bytes) {
    return absl::InternalError("the server's answer contradicts itself");
  }
  region->size = static_cast<int64_t>(answer.bytes);
  void* data = mmap(nullptr, answer.bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                    memory.get(), 0);
  if (data == MAP_FAILED) {
    return SystemError(absl::StatusCode::kInternal, "mmap");
  }
  region->data = static_cast<uint8_t*>(data);
  region->token.assign(answer.token, sizeof(answer.token));
  region->connection = *std::move(connection);
  return SharedMemory(std::move(region));
}

absl::Span<uint8_t> SharedMemory::bytes() const {
  return {region_->data, static_cast<size_t>(region_->size)};
}

absl::StatusOr<int64_t> SharedMemory::Take(v1::Dtype dtype, Shape shape) {
  absl::StatusOr<int64_t> elements = ElementCount(shape);
  if (!elements.ok()) return elements.status();
  const int64_t size = DtypeSize(dtype);
  if (size == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(DtypeName(dtype), " is not a dtype"));
  }
  const int64_t left = region_->size - region_->used;
  if (*elements > left / size) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "there are ", left, " bytes left of ", region_->size, ", but ",
        *elements, " elements of ", size, " bytes were asked for"));
  }
  const int64_t offset = region_->used;
  const int64_t end = offset + *elements * size;
  region_->used =
      std::min((end + kAlignment - 1) / kAlignment * kAlignment, region_->size);
  return offset;
}

v1::SharedMemory SharedMemory::PlaceAt(int64_t offset) const {
  v1::SharedMemory place;
  place.set_token(region_->token);
  place.set_offset(offset);
  return place;
}

void SharedMemory::Clear() { region_->used = 0; }

}  // namespace lossd
