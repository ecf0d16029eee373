// SPDX-License-Identifier: Apache-2.0

#include "server/config/settings_check.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace lossd {
namespace {

// "NAME = VALUE (SOURCE)".
std::string Describe(const Invocation& invocation, absl::string_view name) {
  for (const EffectiveSetting& setting : invocation.effective) {
    if (setting.name != name) continue;
    return absl::StrCat(name, " = ", setting.value, " (", setting.source, ")");
  }
  return std::string(name);
}

void CheckAddresses(const Invocation& invocation,
                    std::vector<std::string>& problems) {
  const Settings& settings = invocation.settings;
  if (!settings.insecure && settings.listen.has_value() &&
      !settings.listen->IsLoopback()) {
    problems.push_back(absl::StrCat(
        Describe(invocation, "listen"),
        " can be reached from other machines, and this server has no TLS: set "
        "insecure to listen there without encryption or authentication, or "
        "listen on 127.0.0.1"));
  }
  if (settings.admin_listen.has_value() &&
      settings.admin_listen == settings.listen && settings.listen->port != 0) {
    problems.push_back(absl::StrCat(Describe(invocation, "admin-listen"),
                                    " is also where gRPC listens: the ports "
                                    "must differ"));
  }
  const std::string& regions = settings.shared_memory.listen;
  if (regions.empty()) return;
  if (settings.listen_unix.empty()) {
    problems.push_back(absl::StrCat(
        Describe(invocation, "shared-memory-listen"),
        " is of no use without a Unix socket for the calls that use the "
        "memory: add one to ",
        Describe(invocation, "listen"), ", such as unix:/run/lossd.sock"));
  }
  if (regions == settings.listen_unix) {
    problems.push_back(
        absl::StrCat(Describe(invocation, "shared-memory-listen"),
                     " is also where gRPC listens: the paths must differ"));
  }
}

void CheckLimits(const Invocation& invocation,
                 std::vector<std::string>& problems) {
  const auto refuse = [&](absl::string_view less, absl::string_view greater,
                          absl::string_view why) {
    problems.push_back(absl::StrCat(Describe(invocation, less),
                                    " is greater than ",
                                    Describe(invocation, greater), ": ", why));
  };
  const Settings::Limits& limits = invocation.settings.limits;
  if (limits.max_response_bytes > limits.max_message_bytes) {
    refuse("max-response-bytes", "max-message-bytes", "an answer is a message");
  }
  if (limits.max_message_bytes > limits.max_queue_bytes) {
    refuse("max-message-bytes", "max-queue-bytes",
           "the queue must hold the largest request");
  }
  if (limits.max_message_bytes > limits.max_in_flight_bytes) {
    refuse("max-message-bytes", "max-in-flight-bytes",
           "the largest request must be let in");
  }
  if (limits.max_operations > limits.max_queue_operations) {
    refuse("max-operations", "max-queue-operations",
           "the queue must hold the largest request");
  }
}

}  // namespace

std::vector<std::string> FindContradictions(const Invocation& invocation) {
  std::vector<std::string> problems;
  CheckAddresses(invocation, problems);
  CheckLimits(invocation, problems);
  return problems;
}

}  // namespace lossd
