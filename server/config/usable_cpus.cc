// SPDX-License-Identifier: Apache-2.0

#include "server/config/usable_cpus.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace lossd {
namespace {

// Empty if the file cannot be read: groups without a CPU controller have none.
std::string ReadSmallFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

// Quota over period, rounded up; 0 for "max", -1 or anything not understood.
int Cpus(absl::string_view quota, absl::string_view period) {
  double quota_us = 0;
  double period_us = 0;
  if (!absl::SimpleAtod(quota, &quota_us) ||
      !absl::SimpleAtod(period, &period_us) || !(quota_us > 0) ||
      !(period_us > 0) || quota_us / period_us > 1e6) {
    return 0;
  }
  return static_cast<int>(std::ceil(quota_us / period_us));
}

int QuotaOfGroup(const std::string& directory) {
  std::string content = ReadSmallFile(absl::StrCat(directory, "/cpu.max"));
  std::vector<std::string> v2 =
      absl::StrSplit(content, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  if (v2.size() == 2) return Cpus(v2[0], v2[1]);
  return Cpus(ReadSmallFile(absl::StrCat(directory, "/cpu.cfs_quota_us")),
              ReadSmallFile(absl::StrCat(directory, "/cpu.cfs_period_us")));
}

// The least quota from the group at `path` up to `mount`, both included.
int LeastQuota(const std::string& mount, std::string path) {
  int least = 0;
  while (true) {
    int quota = QuotaOfGroup(absl::StrCat(mount, path));
    if (quota > 0) least = least == 0 ? quota : std::min(least, quota);
    if (path.empty()) return least;
    size_t slash = path.rfind('/');
    path.resize(slash == std::string::npos ? 0 : slash);
  }
}

}  // namespace

int CgroupCpuQuota(const std::string& membership, const std::string& root) {
  int least = 0;
  for (absl::string_view line : absl::StrSplit(membership, '\n')) {
    // "ID:CONTROLLERS:PATH"; version 2 has no controllers.
    std::vector<std::string> parts =
        absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    std::string mount = root;
    if (!parts[1].empty()) {
      std::vector<std::string> controllers = absl::StrSplit(parts[1], ',');
      if (std::find(controllers.begin(), controllers.end(), "cpu") ==
          controllers.end()) {
        continue;
      }
      absl::StrAppend(&mount, "/cpu");
    }
    int quota = LeastQuota(mount, parts[2] == "/" ? "" : parts[2]);
    if (quota > 0) least = least == 0 ? quota : std::min(least, quota);
  }
  return least;
}

int UsableCpus() {
  int cpus = static_cast<int>(std::thread::hardware_concurrency());
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) cpus = CPU_COUNT(&mask);
  int quota =
      CgroupCpuQuota(ReadSmallFile("/proc/self/cgroup"), "/sys/fs/cgroup");
  if (quota > 0) cpus = std::min(cpus, quota);
  return std::max(cpus, 1);
}

}  // namespace lossd
