// SPDX-License-Identifier: Apache-2.0

#include "server/config/usable_cpus.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace lossd {
namespace {

namespace fs = std::filesystem;

class Cgroups : public ::testing::Test {
 protected:
  Cgroups() {
    std::string name = ::testing::TempDir() + "lossd-cgroup-XXXXXX";
    root_ = mkdtemp(name.data());
  }
  ~Cgroups() override { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& content) {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << content;
  }
  int Quota(const std::string& membership) {
    return CgroupCpuQuota(membership, root_);
  }

  std::string root_;
};

TEST_F(Cgroups, NoGroupHasNoQuota) {
  EXPECT_EQ(Quota(""), 0);
  EXPECT_EQ(Quota("0::/\n"), 0);
  EXPECT_EQ(Quota("nonsense\n"), 0);
}

TEST_F(Cgroups, AQuotaIsRoundedUp) {
  Write("/cpu.max", "250000 100000\n");
  EXPECT_EQ(Quota("0::/\n"), 3);
  Write("/cpu.max", "200000 100000\n");
  EXPECT_EQ(Quota("0::/\n"), 2);
  Write("/cpu.max", "1000 100000\n");
  EXPECT_EQ(Quota("0::/\n"), 1);
}

TEST_F(Cgroups, MaxAndNonsenseAreNoQuota) {
  Write("/cpu.max", "max 100000\n");
  EXPECT_EQ(Quota("0::/\n"), 0);
  Write("/cpu.max", "1 0\n");
  EXPECT_EQ(Quota("0::/\n"), 0);
  Write("/cpu.max", "x y\n");
  EXPECT_EQ(Quota("0::/\n"), 0);
}

TEST_F(Cgroups, TheLeastOfAGroupAndItsAncestorsCounts) {
  Write("/a/b/cpu.max", "800000 100000\n");
  Write("/a/cpu.max", "300000 100000\n");
  EXPECT_EQ(Quota("0::/a/b\n"), 3);
  EXPECT_EQ(Quota("0::/a/b/c\n"), 3);
  Write("/a/b/cpu.max", "100000 100000\n");
  EXPECT_EQ(Quota("0::/a/b\n"), 1);
  EXPECT_EQ(Quota("0::/a\n"), 3);
}

TEST_F(Cgroups, VersionOneIsUnderstood) {
  Write("/cpu/pod/cpu.cfs_quota_us", "150000\n");
  Write("/cpu/pod/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Quota("4:memory:/pod\n3:cpuset:/pod\n2:cpu,cpuacct:/pod\n"), 2);
  EXPECT_EQ(Quota("3:cpuset:/pod\n"), 0);
  Write("/cpu/pod/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(Quota("2:cpu,cpuacct:/pod\n"), 0);
}

TEST(UsableCpus, AreThoseOfTheAffinityMask) {
  EXPECT_GE(UsableCpus(), 1);
  EXPECT_LE(UsableCpus(),
            static_cast<int>(std::thread::hardware_concurrency()));
  // A thread's own mask, so that the other tests keep theirs.
  std::thread([] {
    cpu_set_t mask;
    ASSERT_EQ(sched_getaffinity(0, sizeof(mask), &mask), 0);
    int first = 0;
    while (!CPU_ISSET(first, &mask)) ++first;
    CPU_ZERO(&mask);
    CPU_SET(first, &mask);
    ASSERT_EQ(sched_setaffinity(0, sizeof(mask), &mask), 0);
    EXPECT_EQ(UsableCpus(), 1);
  }).join();
}

}  // namespace
}  // namespace lossd
