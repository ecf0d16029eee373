// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_CONFIG_SETTINGS_CHECK_H_
#define LOSSD_SERVER_CONFIG_SETTINGS_CHECK_H_

#include <string>
#include <vector>

#include "server/config/settings.h"

namespace lossd {

// What settings that are each in range contradict in one another, a line each.
// `invocation` has every setting in force, with the zeros that stand for other
// values replaced.
std::vector<std::string> FindContradictions(const Invocation& invocation);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_SETTINGS_CHECK_H_
