// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_CONFIG_OPTION_GROUPS_H_
#define LOSSD_SERVER_CONFIG_OPTION_GROUPS_H_

#include <vector>

#include "server/config/option_table.h"

namespace lossd {

// The rows of each heading of --help. `default_text` is left empty where it
// follows from Settings{}.
std::vector<OptionRow> ListeningOptions();
std::vector<OptionRow> ComputingOptions();
std::vector<OptionRow> GpuOptions();
std::vector<OptionRow> SharedMemoryOptions();
std::vector<OptionRow> LoggingOptions();
std::vector<OptionRow> DrainingOptions();
std::vector<OptionRow> LimitOptions();
std::vector<OptionRow> QueueOptions();
std::vector<OptionRow> BatchingOptions();

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_OPTION_GROUPS_H_
