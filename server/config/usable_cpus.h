// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_CONFIG_USABLE_CPUS_H_
#define LOSSD_SERVER_CONFIG_USABLE_CPUS_H_

#include <string>

namespace lossd {

// How many threads can really run at once in this process: the CPUs of its
// affinity mask, and no more than its control group's CPU quota, rounded up.
// At least 1. Reads a few small files; call it once.
int UsableCpus();

// The CPU quota of a control group, in CPUs, rounded up; 0 if there is none.
// Understands versions 2 (cpu.max, the least of the group and its ancestors)
// and 1 (cpu.cfs_quota_us). `membership` is the content of /proc/self/cgroup
// and `root` is where the groups are mounted, "/sys/fs/cgroup". A container
// that sees its own group as the root of the mount gets that group's quota.
int CgroupCpuQuota(const std::string& membership, const std::string& root);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_USABLE_CPUS_H_
