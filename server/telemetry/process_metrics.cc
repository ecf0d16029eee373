// SPDX-License-Identifier: Apache-2.0

#include "server/telemetry/process_metrics.h"

#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace lossd {
namespace {

// When the machine started, in seconds since 1970.
double BootTimeSeconds() {
  std::ifstream stat("/proc/stat");
  std::string word;
  while (stat >> word) {
    double seconds = 0;
    if (word == "btime" && stat >> seconds) return seconds;
  }
  return 0;
}

}  // namespace

double ResidentMemoryBytes() {
  std::ifstream statm("/proc/self/statm");
  double total_pages = 0;
  double resident_pages = 0;
  if (!(statm >> total_pages >> resident_pages)) return 0;
  return resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double ProcessStartTimeSeconds() {
  std::ifstream stat("/proc/self/stat");
  std::ostringstream content;
  content << stat.rdbuf();
  // The second field is the program's name in parentheses, which may itself
  // contain spaces and parentheses; the start is the 20th field after it.
  std::string line = content.str();
  size_t name_end = line.rfind(')');
  double boot = BootTimeSeconds();
  if (name_end == std::string::npos || boot == 0) return 0;
  std::istringstream fields(line.substr(name_end + 1));
  std::string field;
  for (int i = 0; i < 19; ++i) fields >> field;
  double ticks = 0;
  if (!(fields >> ticks)) return 0;
  return boot + ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

void ExportProcessMetrics(MetricFactory& metrics) {
  metrics
      .MakeGauge("process_start_time_seconds",
                 "Start time of the process since unix epoch in seconds.", {})
      .Set(ProcessStartTimeSeconds());
  Gauge& resident = metrics.MakeGauge("process_resident_memory_bytes",
                                      "Resident memory size in bytes.", {});
  metrics.BeforeReading([&resident] { resident.Set(ResidentMemoryBytes()); });
}

}  // namespace lossd
