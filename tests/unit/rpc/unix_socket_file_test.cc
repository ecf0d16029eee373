// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/unix_socket_file.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

// A socket that listens at a path, or none if that fails.
class Listener {
 public:
  explicit Listener(const std::string& path)
      : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)),
              0);
    EXPECT_EQ(listen(fd_, 1), 0);
  }
  ~Listener() { close(fd_); }

 private:
  const int fd_;
};

bool Exists(const std::string& path) {
  struct stat found = {};
  return lstat(path.c_str(), &found) == 0;
}

class UnixSocketFileTest : public testing::Test {
 protected:
  UnixSocketFileTest() : path_(testing::TempDir() + "lossd_socket_file") {
    unlink(path_.c_str());
  }
  ~UnixSocketFileTest() override { unlink(path_.c_str()); }

  std::string Problem() {
    auto file = UnixSocketFile::Reserve(path_);
    EXPECT_EQ(file.status().code(), absl::StatusCode::kFailedPrecondition);
    return std::string(file.status().message());
  }

  const std::string path_;
};

TEST_F(UnixSocketFileTest, ASocketAppearsWithItsPermissionsAndGoes) {
  auto file = UnixSocketFile::Reserve(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  const Listener listener((*file)->bind_path());
  EXPECT_FALSE(Exists(path_));
  ASSERT_TRUE((*file)->Publish(0640).ok());
  struct stat found = {};
  ASSERT_EQ(lstat(path_.c_str(), &found), 0);
  EXPECT_TRUE(S_ISSOCK(found.st_mode));
  EXPECT_EQ(found.st_mode & 0777, 0640u);
  EXPECT_FALSE(Exists((*file)->bind_path()));
  file->reset();
  EXPECT_FALSE(Exists(path_));
}

TEST_F(UnixSocketFileTest, ASocketThatNobodyListensOnIsReplaced) {
  { const Listener killed(path_); }
  ASSERT_TRUE(Exists(path_));
  auto file = UnixSocketFile::Reserve(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  const Listener listener((*file)->bind_path());
  EXPECT_TRUE((*file)->Publish(0600).ok());
}

TEST_F(UnixSocketFileTest, ASocketInUseIsLeftAlone) {
  const Listener other(path_);
  EXPECT_THAT(Problem(), HasSubstr("Address already in use"));
  EXPECT_THAT(Problem(), HasSubstr(path_));
  EXPECT_TRUE(Exists(path_));
}

TEST_F(UnixSocketFileTest, AFileThatIsNoSocketIsLeftAlone) {
  std::ofstream(path_) << "precious";
  EXPECT_THAT(Problem(), HasSubstr("no socket"));
  EXPECT_TRUE(Exists(path_));
}

TEST_F(UnixSocketFileTest, AFolderThatIsNotThereIsNamed) {
  auto file = UnixSocketFile::Reserve("/no/such/folder/socket");
  EXPECT_THAT(std::string(file.status().message()),
              HasSubstr("/no/such/folder/socket: No such file"));
}

TEST_F(UnixSocketFileTest, TheNameOfAnotherSocketIsNotRemoved) {
  auto file = UnixSocketFile::Reserve(path_);
  ASSERT_TRUE(file.ok());
  const Listener ours((*file)->bind_path());
  ASSERT_TRUE((*file)->Publish(0600).ok());
  unlink(path_.c_str());
  const Listener successor(path_);
  file->reset();
  EXPECT_TRUE(Exists(path_));
}

TEST_F(UnixSocketFileTest, FilesArePrivateForAWhile) {
  const mode_t before = umask(022);
  {
    const PrivateFiles only_ours;
    const Listener listener(path_);
  }
  struct stat found = {};
  ASSERT_EQ(lstat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
  EXPECT_EQ(umask(before), 022u);
}

}  // namespace
}  // namespace lossd
