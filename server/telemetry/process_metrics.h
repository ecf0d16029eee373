// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_TELEMETRY_PROCESS_METRICS_H_
#define LOSSD_SERVER_TELEMETRY_PROCESS_METRICS_H_

#include "server/telemetry/metrics.h"

namespace lossd {

// Makes process_resident_memory_bytes and process_start_time_seconds, with
// Prometheus's standard names and meanings. The first is read from /proc
// whenever the metrics are. `metrics` must outlive its own readers only.
void ExportProcessMetrics(MetricFactory& metrics);

// Bytes of memory that this process has resident; 0 if that is unknown.
double ResidentMemoryBytes();

// When this process started, in seconds since 1970, to 10 ms; 0 if unknown.
double ProcessStartTimeSeconds();

}  // namespace lossd

#endif  // LOSSD_SERVER_TELEMETRY_PROCESS_METRICS_H_
