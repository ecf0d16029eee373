// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/source_sites.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <tuple>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

void AddSitesOf(const std::filesystem::path& path, const std::string& file,
                std::vector<SourceSite>* sites) {
  // Whoever only passes a place on has it as `file, line`.
  static const std::regex kSite(
      R"(\b(Sync|SyncWarp|SyncBlock|SyncCluster|SyncTeam|ShuffleXor|AnyInWarp))"
      R"((<\w+>)?\((?!const char|file))");
  static const std::regex kFunction(R"(LOSSD_(?:FN|CALL)[^(]*\b(\w+)\()");
  std::ifstream stream(path);
  std::string function;
  int number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    const std::string code = line.substr(0, line.find("//"));
    std::smatch match;
    if (std::regex_search(code, match, kFunction)) function = match[1];
    if (!std::regex_search(code, kSite)) continue;
    sites->push_back({file, number, function,
                      std::string(absl::StripAsciiWhitespace(code))});
  }
}

}  // namespace

std::vector<SourceSite> SourceSites() {
  std::vector<SourceSite> sites;
  for (const char* folder :
       {"server/kernels", "server/kernels/cuda", "server/losses"}) {
    const std::filesystem::path root(LOSSD_SOURCE_DIR);
    for (const auto& entry :
         std::filesystem::directory_iterator(root / folder)) {
      const std::string name = entry.path().filename();
      if (!absl::EndsWith(name, "-inl.h")) continue;
      AddSitesOf(entry.path(), absl::StrCat(folder, "/", name), &sites);
    }
  }
  std::sort(sites.begin(), sites.end(),
            [](const SourceSite& a, const SourceSite& b) {
              return std::tie(a.file, a.line) < std::tie(b.file, b.line);
            });
  return sites;
}

}  // namespace lossd
