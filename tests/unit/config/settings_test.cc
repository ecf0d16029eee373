// SPDX-License-Identifier: Apache-2.0

#include "server/config/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/config/usable_cpus.h"
#include "tests/unit/config/settings_test_support.h"

namespace lossd {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(Settings, DefaultsAreThoseOfTheStruct) {
  auto got = Parse({});
  ASSERT_TRUE(got.ok()) << got.status();
  const Settings& settings = got->settings;
  EXPECT_FALSE(got->answer.has_value());
  EXPECT_EQ(settings.listen, (HostPort{"127.0.0.1", 50051}));
  EXPECT_EQ(settings.listen_unix, "");
  EXPECT_EQ(settings.shared_memory.listen, "");
  EXPECT_EQ(settings.admin_listen, (HostPort{"127.0.0.1", 9464}));
  EXPECT_EQ(settings.drain_delay, absl::Seconds(5));
  EXPECT_EQ(settings.drain_timeout, absl::Seconds(30));
  EXPECT_EQ(settings.limits.max_message_bytes, 64 << 20);
  EXPECT_EQ(settings.limits.max_elements, 1 << 30);
  EXPECT_EQ(settings.limits.max_dimensions, 16);
  EXPECT_EQ(settings.limits.max_operations, 1e12);
  EXPECT_EQ(settings.limits.max_deadline, absl::Minutes(10));
  EXPECT_EQ(settings.limits.max_queue_requests, 4096);
  EXPECT_EQ(settings.limits.max_queue_bytes, 512 << 20);
  EXPECT_EQ(settings.batching.max_batch_bytes, 8 << 20);
}

TEST(Settings, ZerosThatStandForOtherValuesAreReplaced) {
  auto got = Parse({"--max-message-bytes", "1MiB"});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->settings.threads, UsableCpus());
  EXPECT_EQ(got->settings.batching.workers, UsableCpus());
  EXPECT_EQ(got->settings.limits.max_response_bytes, 1 << 20);

  auto threads = Parse({"--threads", "7"});
  ASSERT_TRUE(threads.ok()) << threads.status();
  EXPECT_EQ(threads->settings.batching.workers, 7);
}

TEST(Settings, InstanceDefaultsToHostAndProcess) {
  auto got = Parse({});
  ASSERT_TRUE(got.ok());
  EXPECT_THAT(got->settings.instance, EndsWith(absl::StrCat("-", getpid())));
  EXPECT_GT(got->settings.instance.size(), absl::StrCat("-", getpid()).size());
}

TEST(Settings, ASwitchNeedsNoValueAndCanBeTurnedOff) {
  EXPECT_TRUE(Parse({"--insecure"})->settings.insecure);
  EXPECT_TRUE(Parse({"--insecure=yes"})->settings.insecure);
  EXPECT_FALSE(
      Parse({"--insecure=false"}, {"LOSSD_INSECURE=1"})->settings.insecure);
}

TEST(Settings, TheAdminListenerCanBeTurnedOff) {
  const std::vector<std::vector<std::string>> ways = {
      {"--admin-listen", "none"},
      {"--admin-listen", ""},
      {"--admin-listen=", "--threads", "3"},
      {"--admin-listen=none"}};
  for (const auto& flags : ways) {
    auto got = Parse(flags);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_FALSE(got->settings.admin_listen.has_value());
  }
  EXPECT_FALSE(
      Parse({}, {"LOSSD_ADMIN_LISTEN="})->settings.admin_listen.has_value());
}

TEST(Settings, TargetHasASecondVariable) {
  EXPECT_EQ(Parse({}, {"LOSSD_FORCE_TARGET=AVX2"})->settings.target, "AVX2");
  EXPECT_EQ(Parse({}, {"LOSSD_FORCE_TARGET=AVX2", "LOSSD_TARGET=AVX2"})
                ->settings.target,
            "AVX2");
  EXPECT_EQ(Problem({}, {"LOSSD_FORCE_TARGET=AVX2", "LOSSD_TARGET=SSE4"}),
            "LOSSD_TARGET and LOSSD_FORCE_TARGET mean the same and differ: "
            "set one");
}

TEST(Settings, AnAddressBeyondLoopbackNeedsInsecure) {
  for (const char* address :
       {"0.0.0.0:1", "[::]:1", "192.168.1.1:1", "example.com:1"}) {
    EXPECT_THAT(Problem({"--listen", address}),
                AllOf(StartsWith(absl::StrCat("listen = ", address,
                                              " (--listen) can be reached")),
                      HasSubstr("no TLS"), HasSubstr("set insecure")));
    EXPECT_EQ(Problem({"--listen", address, "--insecure"}), "");
  }
  EXPECT_EQ(Problem({"--admin-listen", "0.0.0.0:9464"}), "");
}

TEST(Settings, BothListenersCanTakeAFreePortButNotShareOne) {
  EXPECT_EQ(Problem({"--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"}),
            "");
  EXPECT_THAT(Problem({"--admin-listen=127.0.0.1:50051"}),
              HasSubstr("the ports must differ"));
}

TEST(Settings, ListeningCanBeOnAUnixSocketBesidesOrInstead) {
  auto both = Parse({"--listen", "127.0.0.1:1,unix:/run/lossd.sock"});
  EXPECT_EQ(both->settings.listen, (HostPort{"127.0.0.1", 1}));
  EXPECT_EQ(both->settings.listen_unix, "/run/lossd.sock");
  auto alone = Parse({"--listen", "unix:///run/lossd.sock"});
  EXPECT_FALSE(alone->settings.listen.has_value());
  EXPECT_EQ(alone->settings.listen_unix, "/run/lossd.sock");
  // A flag replaces the whole of a weaker source's.
  auto flag = Parse({"--listen=127.0.0.1:1"}, {"LOSSD_LISTEN=unix:a.sock"});
  EXPECT_EQ(flag->settings.listen_unix, "");
  // What only this machine can reach needs no `insecure`.
  EXPECT_THAT(Problem({"--listen=0.0.0.0:1,unix:a"}), HasSubstr("no TLS"));
  EXPECT_EQ(Problem({"--listen=unix:a"}), "");
}

TEST(Settings, ListenTakesAtMostOneAddressOfEachKind) {
  EXPECT_THAT(Problem({"--listen=unix:a,unix:b"}), HasSubstr("two Unix"));
  EXPECT_THAT(Problem({"--listen=127.0.0.1:1,127.0.0.1:2"}),
              HasSubstr("two addresses"));
  EXPECT_THAT(Problem({"--listen="}), HasSubstr("--listen"));
  EXPECT_THAT(Problem({"--listen=unix:"}), HasSubstr("there is no path"));
  EXPECT_THAT(Problem({"--listen=unix://host/a"}), HasSubstr("no host"));
  EXPECT_THAT(Problem({"--listen", "unix:" + std::string(91, 'a')}),
              HasSubstr("more than 90 bytes"));
  EXPECT_EQ(Problem({"--listen", "unix:" + std::string(90, 'a')}), "");
}

TEST(Settings, TheModeOfUnixSocketsIsOctal) {
  EXPECT_EQ(Parse({})->settings.unix_socket_mode, 0600);
  EXPECT_EQ(Parse({"--unix-socket-mode=660"})->settings.unix_socket_mode, 0660);
  for (const char* bad : {"", "8", "1777", "00000", "rw"}) {
    EXPECT_THAT(Problem({"--unix-socket-mode", bad}),
                HasSubstr("from 0 to 0777"))
        << bad;
  }
}

TEST(Settings, SharedMemoryNeedsAUnixSocketForTheCalls) {
  auto on =
      Parse({"--listen=unix:/run/a", "--shared-memory-listen=unix:/run/b",
             "--max-shared-memory-bytes=1MiB", "--shared-memory-uids=7,1000"});
  EXPECT_EQ(on->settings.shared_memory.listen, "/run/b");
  EXPECT_EQ(on->settings.shared_memory.max_bytes, 1 << 20);
  EXPECT_EQ(on->settings.shared_memory.uids, (std::vector<uint32_t>{7, 1000}));
  EXPECT_EQ(Problem({"--shared-memory-listen=none"}), "");
  EXPECT_THAT(Problem({"--shared-memory-listen=unix:/run/b"}),
              HasSubstr("without a Unix socket"));
  EXPECT_THAT(
      Problem({"--listen=unix:/run/a", "--shared-memory-listen=unix:/run/a"}),
      HasSubstr("the paths must differ"));
  EXPECT_THAT(Problem({"--shared-memory-listen=127.0.0.1:1"}),
              HasSubstr("unix:PATH"));
  EXPECT_THAT(Problem({"--shared-memory-uids=root"}), HasSubstr("user ids"));
}

TEST(Settings, LimitsThatContradictOneAnotherAreErrors) {
  EXPECT_EQ(
      Problem({"--max-message-bytes=1MiB"}, {"LOSSD_MAX_RESPONSE_BYTES=2MiB"}),
      "max-response-bytes = 2MiB (LOSSD_MAX_RESPONSE_BYTES) is greater "
      "than max-message-bytes = 1MiB (--max-message-bytes): an answer "
      "is a message");
  EXPECT_THAT(Problem({"--max-message-bytes=1GiB"}),
              HasSubstr("max-queue-bytes = 512MiB (default)"));
  EXPECT_EQ(Problem({"--max-message-bytes=512MiB"}), "");
  EXPECT_THAT(Problem({"--max-operations=1.1e12"}),
              HasSubstr("max-queue-operations"));
}

TEST(SettingsErrors, NameTheSourceTheValueAndTheRange) {
  EXPECT_EQ(Problem({"--threads=1025"}),
            "--threads: \"1025\" is out of range (allowed: 0 to 1024)");
  EXPECT_EQ(Problem({}, {"LOSSD_MAX_DIMENSIONS=0"}),
            "LOSSD_MAX_DIMENSIONS: \"0\" is out of range (allowed: 1 to 64)");
  TemporaryFile file("# settings\n\nmax-deadline = 25h\n");
  EXPECT_EQ(Problem({"--config", file.path()}),
            absl::StrCat(file.path(),
                         ":3: max-deadline = \"25h\" is out of "
                         "range (allowed: 1ms to 24h)"));
}

TEST(SettingsErrors, RangesIncludeTheirEnds) {
  EXPECT_EQ(Problem({"--threads=0", "--max-dimensions=64"}), "");
  EXPECT_EQ(Problem({"--max-message-bytes=2147483647", "--max-queue-bytes=1TiB",
                     "--max-in-flight-bytes=1TiB"}),
            "");
  EXPECT_THAT(Problem({"--max-message-bytes=2GiB"}), HasSubstr("range"));
  EXPECT_THAT(Problem({"--max-message-bytes=1023"}), HasSubstr("range"));
  EXPECT_THAT(Problem({"--max-queue-requests=0"}), HasSubstr("range"));
  EXPECT_THAT(Problem({"--max-operations=0.5"}), HasSubstr("range"));
  EXPECT_THAT(Problem({"--max-deadline=0"}), HasSubstr("range"));
  EXPECT_EQ(Problem({"--drain-delay=0"}), "");
}

TEST(SettingsErrors, EveryProblemIsReported) {
  TemporaryFile file("max-elemnts = 5\n");
  EXPECT_EQ(
      Problem({"--config", file.path(), "--threads=x", "--log-level=loud"},
              {"LOSSD_THREDS=3", "LOSSD_DRAIN_DELAY=5"}),
      absl::StrCat(
          file.path(),
          ":1: there is no setting max-elemnts; did you mean max-elements?\n"
          "LOSSD_THREDS: there is no such environment variable; did you mean "
          "LOSSD_THREADS?\n"
          "--threads: \"x\" is not a whole number (allowed: 0 to 1024)\n"
          "--log-level: \"loud\" is none of the choices (allowed: debug, "
          "info, warning, error)\n"
          "LOSSD_DRAIN_DELAY: \"5\" is not a duration such as 500ms, 5s or "
          "1m30s (allowed: 0 to 1h)"));
}

TEST(SettingsErrors, AValueThatAStrongerSourceHidesIsChecked) {
  EXPECT_THAT(Problem({"--threads=3"}, {"LOSSD_THREADS=many"}),
              HasSubstr("LOSSD_THREADS: \"many\""));
}

TEST(SettingsErrors, CommandLineMistakesAreNamed) {
  EXPECT_EQ(Problem({"--lissten=127.0.0.1:1"}),
            "--lissten: there is no such flag; did you mean --listen?");
  EXPECT_EQ(Problem({"serve"}),
            "serve: is no flag, and lossd takes nothing "
            "else");
  EXPECT_EQ(Problem({"--threads=3", "--threads=4"}),
            "--threads: is given twice");
  EXPECT_THAT(Problem({"--threads"}), HasSubstr("--threads"));
  EXPECT_THAT(Problem({"--insecure=maybe"}),
              HasSubstr("is neither true nor false"));
  EXPECT_EQ(Problem({"--", "--threads=3"}), "--: there is no such flag");
}

TEST(SettingsErrors, ValuesAreEscapedAndCut) {
  EXPECT_THAT(Problem({}, {"LOSSD_THREADS=1\n2"}), HasSubstr("\"1\\n2\""));
  EXPECT_THAT(Problem({"--threads", std::string(5000, '7')}),
              AllOf(HasSubstr("777...\" is too large"),
                    ::testing::SizeIs(::testing::Lt(200))));
}

TEST(SettingsErrors, TextsAreChecked) {
  EXPECT_THAT(Problem({"--instance", "two words"}), HasSubstr("character"));
  EXPECT_THAT(Problem({"--instance", std::string(129, 'x')}),
              HasSubstr("too long"));
  EXPECT_EQ(Problem({"--instance", std::string(128, 'x')}), "");
  EXPECT_THAT(Problem({"--target", "AVX-2"}), HasSubstr("instruction set"));
  EXPECT_THAT(Problem({"--listen", ":50051"}), HasSubstr("there is no host"));
}

TEST(SettingsErrors, AFileThatCannotBeReadIsNotFound) {
  auto missing = Parse({"--config", "/nonexistent/lossd.conf"});
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()),
              HasSubstr("/nonexistent/lossd.conf: cannot be read"));
  auto directory = Parse({}, {"LOSSD_CONFIG=/"});
  EXPECT_EQ(directory.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(directory.status().message()),
              StartsWith("LOSSD_CONFIG: "));
}

TEST(SettingsAnswers, HelpNamesEverySettingEvenBesideMistakes) {
  auto got = Parse({"--threads=x", "--help"}, {"LOSSD_THREADS=x"});
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_TRUE(got->answer.has_value());
  auto settings = Parse({});
  for (const EffectiveSetting& setting : settings->effective) {
    EXPECT_THAT(*got->answer, HasSubstr(absl::StrCat("--", setting.name)));
  }
  EXPECT_THAT(*got->answer,
              HasSubstr("[0 to 1h; default 5s; LOSSD_DRAIN_DELAY]"));
}

TEST(SettingsAnswers, VersionIsOneLine) {
  auto got = Parse({"--version"});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->answer, "lossd 1.2.3\n");
}

TEST(SettingsAnswers, PrintConfigIsAFileThatGivesTheSameSettings) {
  auto first = Parse({"--print-config", "--threads=3", "--listen=[::1]:0",
                      "--inline-operations=0.1", "--instance=a\"b\\c#d"},
                     {"LOSSD_ADMIN_LISTEN=none", "LOSSD_WITHHOLD_VALUES=1"});
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(first->answer.has_value());
  EXPECT_THAT(*first->answer, HasSubstr("threads = 3  # --threads\n"));
  EXPECT_THAT(*first->answer, HasSubstr("drain-delay = \"5s\"  # default\n"));

  TemporaryFile file(*first->answer);
  auto second = Parse({"--config", file.path()});
  ASSERT_TRUE(second.ok()) << second.status();
  ASSERT_EQ(first->effective.size(), second->effective.size());
  for (size_t i = 0; i < first->effective.size(); ++i) {
    if (first->effective[i].name == "config") continue;
    EXPECT_EQ(first->effective[i].value, second->effective[i].value);
    EXPECT_THAT(second->effective[i].source, StartsWith(file.path()));
  }
}

TEST(SettingsAnswers, PrintConfigRefusesWhatTheServerRefuses) {
  EXPECT_THAT(Problem({"--print-config", "--listen=0.0.0.0:1"}),
              Not(testing::IsEmpty()));
}

}  // namespace
}  // namespace lossd
