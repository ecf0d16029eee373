// SPDX-License-Identifier: Apache-2.0
//
// Shared memory between a lossd of its own process and the client library.

#include "lossd/shared_memory.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lossd/client.h"
#include "tests/integration/child_process.h"

namespace lossd {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr int64_t kMiB = int64_t{1} << 20;

// A server that shares memory, at paths of its own.
class SharingServer {
 public:
  explicit SharingServer(std::vector<std::string> flags = {})
      : folder_(testing::TempDir() +
                absl::StrCat("lossd_shm_", getpid(), "_", ++count_)) {
    flags.push_back("--listen=127.0.0.1:0," + calls());
    flags.push_back("--shared-memory-listen=" + memory());
    process_ = std::make_unique<LossdProcess>(flags);
  }

  std::string calls() const { return "unix:" + folder_ + ".calls"; }
  std::string memory() const { return "unix:" + folder_ + ".memory"; }
  std::string memory_path() const { return folder_ + ".memory"; }
  LossdProcess& process() { return *process_; }

 private:
  static inline int count_ = 0;
  const std::string folder_;
  std::unique_ptr<LossdProcess> process_;
};

std::vector<float> Logits(int64_t count, int seed) {
  std::mt19937 generator(static_cast<unsigned>(seed));
  std::normal_distribution<float> normal(0, 3);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

// Without what may differ: how it was run.
std::string ResultOf(
    const absl::StatusOr<v1::ComputeGradientResponse>& answer) {
  if (!answer.ok()) return answer.status().ToString();
  return answer->result().SerializeAsString();
}

std::string ReasonOf(const absl::Status& status) {
  return GetErrorDetails(status).reason;
}

// A cross entropy of 32 rows, as data and in shared memory.
class CrossEntropyCase {
 public:
  static constexpr int64_t kRows = 32;
  static constexpr int64_t kClasses = 1000;

  CrossEntropyCase(SharedMemory* memory, int seed) {
    const std::vector<float> logits = Logits(kRows * kClasses, seed);
    std::vector<int64_t> labels(kRows);
    for (int64_t i = 0; i < kRows; ++i) labels[i] = (i * 37) % kClasses;
    auto& plain = *ordinary.mutable_evaluation()->mutable_cross_entropy();
    *plain.mutable_input() = MakeTensor(logits, {kRows, kClasses});
    *plain.mutable_target() = MakeTensor(labels, {kRows});

    input = memory->Allocate<float>({kRows, kClasses}).value();
    target = memory->Allocate<int64_t>({kRows}).value();
    gradient = memory->Allocate<float>({kRows, kClasses}).value();
    std::copy(logits.begin(), logits.end(), input.values().begin());
    std::copy(labels.begin(), labels.end(), target.values().begin());
    auto& loss = *shared.mutable_evaluation()->mutable_cross_entropy();
    *loss.mutable_input() = input.ToTensor();
    *loss.mutable_target() = target.ToTensor();
    *shared.add_gradient_memory() = gradient.place();
  }

  v1::ComputeGradientRequest ordinary;
  v1::ComputeGradientRequest shared;
  SharedTensor<float> input;
  SharedTensor<int64_t> target;
  SharedTensor<float> gradient;
};

class SharedMemoryTest : public testing::Test {
 protected:
  SharedMemoryTest()
      : client_(server_.calls()),
        memory_(SharedMemory::Open(server_.memory(), 4 * kMiB).value()) {}

  // The reason of the error, after which the server still answers.
  std::string Refusal(const v1::ComputeGradientRequest& request,
                      absl::StatusCode code) {
    auto answer = client_.ComputeGradient(request);
    EXPECT_EQ(answer.status().code(), code) << answer.status();
    message_ = std::string(answer.status().message());
    return ReasonOf(answer.status());
  }

  SharingServer server_;
  Client client_;
  SharedMemory memory_;
  std::string message_;
};

TEST_F(SharedMemoryTest, TheResultIsTheOrdinaryOneBitForBit) {
  CrossEntropyCase c(&memory_, 1);
  auto plain = client_.ComputeGradient(c.ordinary);
  auto shared = client_.ComputeGradient(c.shared);
  ASSERT_TRUE(shared.ok()) << shared.status();
  const v1::Tensor& value = shared->result().gradients(0).value();
  ASSERT_TRUE(value.has_shared());
  EXPECT_EQ(value.dtype(), v1::DTYPE_FLOAT32);
  EXPECT_THAT(value.shape(), testing::ElementsAre(32, 1000));
  EXPECT_EQ(value.shared().SerializeAsString(),
            c.gradient.place().SerializeAsString());
  const std::string& data = plain->result().gradients(0).value().data();
  ASSERT_EQ(data.size(), c.gradient.values().size() * sizeof(float));
  EXPECT_EQ(std::memcmp(data.data(), c.gradient.values().data(), data.size()),
            0);
  plain->mutable_result()->clear_gradients();
  shared->mutable_result()->clear_gradients();
  EXPECT_EQ(ResultOf(plain), ResultOf(shared));
}

TEST_F(SharedMemoryTest, GradientsAreSentWhereNoPlaceIsGiven) {
  CrossEntropyCase c(&memory_, 2);
  c.shared.clear_gradient_memory();
  EXPECT_EQ(ResultOf(client_.ComputeGradient(c.shared)),
            ResultOf(client_.ComputeGradient(c.ordinary)));
}

// Tensors of every other form: two gradients, one of which broadcasts, of
// another dtype, and a grad_output.
TEST_F(SharedMemoryTest, SeveralGradientsHaveSeveralPlaces) {
  v1::ComputeGradientRequest plain;
  plain.set_gradient_dtype(v1::DTYPE_FLOAT64);
  auto& loss = *plain.mutable_evaluation()->mutable_margin_ranking_loss();
  *loss.mutable_input1() = MakeTensor(Logits(60, 1), {20, 3});
  *loss.mutable_input2() = MakeTensor(Logits(3, 2), {1, 3});
  *loss.mutable_target() = MakeTensor(std::vector<float>(60, 1), {20, 3});
  plain.mutable_evaluation()->set_reduction(v1::REDUCTION_NONE);
  *plain.mutable_grad_output() = MakeTensor(Logits(60, 3), {20, 3});
  auto expected = client_.ComputeGradient(plain);
  ASSERT_TRUE(expected.ok()) << expected.status();

  v1::ComputeGradientRequest request = plain;
  auto first = memory_.Allocate<double>({20, 3}).value();
  auto second = memory_.Allocate<double>({1, 3}).value();
  auto output = memory_.Allocate<float>({20, 3}).value();
  const std::vector<float> values = Logits(60, 3);
  std::copy(values.begin(), values.end(), output.values().begin());
  *request.mutable_grad_output() = output.ToTensor();
  *request.add_gradient_memory() = first.place();
  *request.add_gradient_memory() = second.place();
  auto answer = client_.ComputeGradient(request);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(first.values(),
            *ViewTensor<double>(expected->result().gradients(0).value()));
  EXPECT_EQ(second.values(),
            *ViewTensor<double>(expected->result().gradients(1).value()));
}

TEST_F(SharedMemoryTest, TheLimitOfAnAnswerIsNotThatOfSharedGradients) {
  SharingServer small({"--max-message-bytes=64KiB"});
  Client client(small.calls());
  auto memory = SharedMemory::Open(small.memory(), kMiB);
  ASSERT_TRUE(memory.ok()) << memory.status();
  CrossEntropyCase c(&*memory, 3);
  EXPECT_TRUE(client.ComputeGradient(c.shared).ok());
  c.shared.clear_gradient_memory();
  EXPECT_EQ(client.ComputeGradient(c.shared).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(SharedMemoryTest, CallsOverTcpCannotUseIt) {
  CrossEntropyCase c(&memory_, 4);
  Client tcp(server_.process().listen());
  auto answer = tcp.ComputeGradient(c.shared);
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(answer.status()), "SHARED_MEMORY_UNAVAILABLE");
  EXPECT_THAT(std::string(answer.status().message()), HasSubstr("over TCP"));
}

TEST_F(SharedMemoryTest, EvaluationsOfAStreamUseItToo) {
  std::vector<CrossEntropyCase> cases;
  for (int seed = 0; seed < 5; ++seed) cases.emplace_back(&memory_, seed);
  const auto stream = client_.StreamGradient();
  for (size_t i = 0; i < cases.size(); ++i) {
    stream->Send(static_cast<int64_t>(i), cases[i].shared);
  }
  EXPECT_TRUE(stream->Close().ok());
  while (stream->open() > 0) {
    const auto outcome = stream->Next();
    ASSERT_TRUE(outcome.ok() && outcome->result.ok());
    const CrossEntropyCase& c = cases[static_cast<size_t>(outcome->id)];
    const auto ordinary = client_.ComputeGradient(c.ordinary);
    ASSERT_TRUE(ordinary.ok()) << ordinary.status();
    EXPECT_EQ(outcome->result->result().loss(), ordinary->result().loss());
    EXPECT_THAT(*ViewTensor<float>(ordinary->result().gradients(0).value()),
                ElementsAreArray(c.gradient.values()));
  }
}

TEST_F(SharedMemoryTest, ATokenEndsWithItsConnection) {
  CrossEntropyCase c(&memory_, 5);
  {
    auto gone = SharedMemory::Open(server_.memory(), kMiB);
    ASSERT_TRUE(gone.ok());
    c.shared.mutable_gradient_memory(0)->set_token(gone->PlaceAt(0).token());
    EXPECT_TRUE(client_.ComputeGradient(c.shared).ok());
  }
  // The server learns of it a moment later.
  absl::Status status;
  for (int i = 0; i < 1000 && status.ok(); ++i) {
    status = client_.ComputeGradient(c.shared).status();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), "SHARED_MEMORY_UNAVAILABLE");
  EXPECT_EQ(GetErrorDetails(status).violations[0].field, "gradient_memory[0]");
}

TEST_F(SharedMemoryTest, PartsOutsideTheRegionAreRefused) {
  CrossEntropyCase c(&memory_, 6);
  const auto size = static_cast<int64_t>(memory_.bytes().size());
  v1::Tensor* input =
      c.shared.mutable_evaluation()->mutable_cross_entropy()->mutable_input();
  const int64_t bytes = 32 * 1000 * 4;
  const auto invalid = absl::StatusCode::kInvalidArgument;
  for (int64_t offset : {size - bytes + 4, size, size + 4, int64_t{-4},
                         INT64_MIN, INT64_MAX - 3, int64_t{2}}) {
    input->mutable_shared()->set_offset(offset);
    EXPECT_EQ(Refusal(c.shared, invalid), "SHARED_MEMORY_INVALID") << offset;
  }
  input->mutable_shared()->set_offset(size - bytes);
  EXPECT_TRUE(client_.ComputeGradient(c.shared).ok());
  input->set_shape(0, int64_t{1} << 50);
  EXPECT_NE(Refusal(c.shared, invalid), "");
  input->set_shape(0, 32);
  for (int64_t offset : {size - bytes + 64, size - 64, size, int64_t{4}}) {
    c.shared.mutable_gradient_memory(0)->set_offset(offset);
    EXPECT_EQ(Refusal(c.shared, invalid), "SHARED_MEMORY_INVALID") << offset;
  }
}

TEST_F(SharedMemoryTest, AGradientOverlapsNothing) {
  CrossEntropyCase c(&memory_, 7);
  const auto invalid = absl::StatusCode::kInvalidArgument;
  v1::SharedMemory* place = c.shared.mutable_gradient_memory(0);
  place->set_offset(0);
  EXPECT_EQ(Refusal(c.shared, invalid), "SHARED_MEMORY_INVALID");
  EXPECT_THAT(message_, HasSubstr("gradient_memory[0] overlaps input"));
  place->set_offset(c.target.place().offset());
  EXPECT_EQ(Refusal(c.shared, invalid), "SHARED_MEMORY_INVALID");
  EXPECT_THAT(message_, HasSubstr("overlaps target"));

  v1::ComputeGradientRequest two;
  auto& loss = *two.mutable_evaluation()->mutable_mse_loss();
  *loss.mutable_input() = MakeTensor(Logits(32, 1), {32});
  *loss.mutable_target() = MakeTensor(Logits(32, 2), {32});
  two.add_wrt("input");
  two.add_wrt("target");
  *two.add_gradient_memory() = memory_.PlaceAt(0);
  *two.add_gradient_memory() = memory_.PlaceAt(64);
  EXPECT_EQ(Refusal(two, invalid), "SHARED_MEMORY_INVALID");
  EXPECT_THAT(message_, HasSubstr("overlaps gradient_memory[0]"));
  two.mutable_gradient_memory(1)->set_offset(128);
  EXPECT_TRUE(client_.ComputeGradient(two).ok());
}

TEST_F(SharedMemoryTest, ThereIsAPlaceForEachGradient) {
  CrossEntropyCase c(&memory_, 8);
  *c.shared.add_gradient_memory() = memory_.PlaceAt(2 * kMiB);
  const auto invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(Refusal(c.shared, invalid), "OPTION_INVALID");
  c.shared.mutable_evaluation()->add_outputs(v1::OUTPUT_LOSS);
  EXPECT_EQ(Refusal(c.shared, invalid), "OPTION_INVALID");
  EXPECT_THAT(message_, HasSubstr("0 gradients"));
}

TEST_F(SharedMemoryTest, TargetsInSharedMemoryAreChecked) {
  CrossEntropyCase c(&memory_, 9);
  c.target.values()[3] = 1000;
  EXPECT_EQ(Refusal(c.shared, absl::StatusCode::kInvalidArgument),
            "TARGET_OUT_OF_RANGE");
}

TEST_F(SharedMemoryTest, TheServerSaysWhereAndHowMuch) {
  auto info = client_.GetServerInfo();
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->shared_memory().address(), server_.memory());
  EXPECT_EQ(info->shared_memory().max_bytes(), int64_t{1} << 30);
}

TEST(SharedMemoryOffTest, AServerWithoutSaysSo) {
  const std::string address =
      absl::StrCat("unix:", testing::TempDir(), "lossd_off_", getpid());
  LossdProcess server({"--listen", address});
  Client client(address);
  v1::ComputeLossRequest request;
  auto& loss = *request.mutable_evaluation()->mutable_mse_loss();
  *loss.mutable_target() = MakeTensor<float>({1}, {1});
  v1::Tensor& input = *loss.mutable_input();
  input.set_dtype(v1::DTYPE_FLOAT32);
  input.add_shape(1);
  input.mutable_shared()->set_token(std::string(16, 'x'));
  auto answer = client.ComputeLoss(request);
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(answer.status()), "SHARED_MEMORY_UNAVAILABLE");
  EXPECT_FALSE(client.GetServerInfo()->has_shared_memory());
}

TEST(SharedMemoryQuotaTest, IsGivenBackWithTheConnection) {
  SharingServer server({"--max-shared-memory-bytes=1MiB"});
  auto first = SharedMemory::Open(server.memory(), kMiB - 4096);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(SharedMemory::Open(server.memory(), 8192).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(SharedMemory::Open(server.memory(), kMiB + 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(SharedMemory::Open(server.memory(), 4096).ok());
  first = absl::UnknownError("");
  absl::Status status = absl::UnknownError("");
  for (int i = 0; i < 1000 && !status.ok(); ++i) {
    status = SharedMemory::Open(server.memory(), kMiB).status();
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_TRUE(status.ok()) << status;
}

// A client of its own hand: what it got before the end of the connection.
std::string Exchange(const std::string& path, const std::string& bytes) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)),
            0);
  EXPECT_EQ(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
  std::string got(40, '\0');
  const ssize_t n = recv(fd, got.data(), got.size(), MSG_WAITALL);
  got.resize(n < 0 ? 0 : static_cast<size_t>(n));
  close(fd);
  return got;
}

TEST(SharedMemoryProtocolTest, WhatIsNoRequestIsAnsweredAndHarmsNobody) {
  SharingServer server;
  std::string request("lossdshm\1\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0", 24);
  EXPECT_EQ(Exchange(server.memory_path(), request)[12], 0);
  request[0] = 'L';
  EXPECT_EQ(Exchange(server.memory_path(), request)[12], 1);
  request[0] = 'l';
  request[8] = 2;
  EXPECT_EQ(Exchange(server.memory_path(), request)[12], 2);
  request[8] = 1;
  request[23] = 0x7f;
  EXPECT_EQ(Exchange(server.memory_path(), request)[12], 3);
  std::mt19937 generator(5);
  for (int i = 0; i < 200; ++i) {
    std::string noise(24, '\0');
    for (char& c : noise) c = static_cast<char>(generator());
    EXPECT_EQ(Exchange(server.memory_path(), noise)[12], 1);
  }
  // Half a request, and silence, of many.
  std::vector<int> silent;
  for (int i = 0; i < 60; ++i) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    server.memory_path().copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(
        connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    send(fd, "lossd", 5, MSG_NOSIGNAL);
    silent.push_back(fd);
  }
  EXPECT_TRUE(SharedMemory::Open(server.memory(), 4096).ok());
  for (int fd : silent) close(fd);
}

TEST(SharedMemoryProtocolTest, ConnectionsAreBounded) {
  SharingServer server;
  std::vector<SharedMemory> regions;
  absl::Status status;
  while (regions.size() < 200) {
    auto region = SharedMemory::Open(server.memory(), 4096);
    if (!region.ok()) {
      status = region.status();
      break;
    }
    regions.push_back(*std::move(region));
  }
  EXPECT_EQ(regions.size(), 128u);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("too many"));
}

// The status with which a process of that user opens a region.
absl::StatusCode OpenAs(uid_t uid, const std::string& address) {
  const pid_t child = fork();
  if (child == 0) {
    if (setuid(uid) != 0) _exit(99);
    _exit(static_cast<int>(SharedMemory::Open(address, 4096).status().code()));
  }
  int status = 0;
  waitpid(child, &status, 0);
  return static_cast<absl::StatusCode>(WEXITSTATUS(status));
}

TEST(SharedMemoryUserTest, OnlyUsersOfTheListGetMemory) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become others";
  const SharingServer open(
      {"--unix-socket-mode=0666", "--shared-memory-uids=4711"});
  EXPECT_EQ(OpenAs(0, open.memory()), absl::StatusCode::kOk);
  EXPECT_EQ(OpenAs(4711, open.memory()), absl::StatusCode::kOk);
  EXPECT_EQ(OpenAs(4712, open.memory()), absl::StatusCode::kPermissionDenied);
  // By default the file itself keeps others out.
  const SharingServer closed({"--shared-memory-uids=4711"});
  EXPECT_EQ(OpenAs(4711, closed.memory()), absl::StatusCode::kPermissionDenied);
}

// Requests whose tensors, targets, masks and lengths among them, are all in a
// region: whatever a client writes there while they run, the server survives.
std::vector<v1::ComputeGradientRequest> EverythingShared(SharedMemory* memory) {
  const auto shared = [memory](auto tensor_type, std::vector<int64_t> shape) {
    using T = decltype(tensor_type);
    return memory->Allocate<T>(Shape(shape)).value().ToTensor();
  };
  std::vector<v1::ComputeGradientRequest> requests(7);
  auto& ce = *requests[0].mutable_evaluation()->mutable_cross_entropy();
  *ce.mutable_input() = shared(float{}, {64, 300});
  *ce.mutable_target() = shared(int64_t{}, {64});
  *ce.mutable_weight() = shared(float{}, {300});
  auto& ctc = *requests[1].mutable_evaluation()->mutable_ctc_loss();
  *ctc.mutable_log_probs() = shared(float{}, {30, 8, 12});
  *ctc.mutable_targets() = shared(int64_t{}, {8, 10});
  *ctc.mutable_input_lengths() = shared(int64_t{}, {8});
  *ctc.mutable_target_lengths() = shared(int64_t{}, {8});
  auto& margin =
      *requests[2].mutable_evaluation()->mutable_multilabel_margin_loss();
  *margin.mutable_input() = shared(float{}, {50, 40});
  *margin.mutable_target() = shared(int64_t{}, {50, 40});
  auto& multi = *requests[3].mutable_evaluation()->mutable_multi_margin_loss();
  *multi.mutable_input() = shared(double{}, {50, 40});
  *multi.mutable_target() = shared(int32_t{}, {50});
  auto& policy =
      *requests[4].mutable_evaluation()->mutable_clipped_policy_loss();
  *policy.mutable_log_probs() = shared(float{}, {40, 60});
  *policy.mutable_old_log_probs() = shared(float{}, {40, 60});
  *policy.mutable_advantages() = shared(float{}, {40});
  *policy.mutable_mask() = shared(float{}, {40, 60});
  auto& bce = *requests[5].mutable_evaluation()->mutable_binary_cross_entropy();
  *bce.mutable_input() = shared(float{}, {4000});
  *bce.mutable_target() = shared(float{}, {4000});
  auto& nll = *requests[6].mutable_evaluation()->mutable_nll_loss();
  *nll.mutable_input() = shared(float{}, {64, 30});
  *nll.mutable_target() = shared(uint8_t{}, {64});
  return requests;
}

// Writes zeros, ones and noise over the region, again and again.
void Scribble(SharedMemory& memory, const std::atomic<bool>& stop) {
  std::mt19937_64 generator(11);
  auto* words = reinterpret_cast<std::atomic<int64_t>*>(memory.bytes().data());
  const size_t count = memory.bytes().size() / 8;
  while (!stop.load()) {
    const size_t begin = generator() % count;
    const size_t end = std::min(count, begin + generator() % 512);
    const uint64_t kind = generator() % 4;
    for (size_t i = begin; i < end; ++i) {
      const int64_t word = kind == 0   ? static_cast<int64_t>(generator())
                           : kind == 1 ? 1
                                       : 0;
      words[i].store(word, std::memory_order_relaxed);
    }
  }
}

TEST_F(SharedMemoryTest, AClientThatWritesMeanwhileHarmsNobody) {
  auto memory = SharedMemory::Open(server_.memory(), kMiB);
  ASSERT_TRUE(memory.ok());
  std::vector<v1::ComputeGradientRequest> requests = EverythingShared(&*memory);
  CrossEntropyCase honest(&memory_, 10);
  const std::string expected =
      ResultOf(client_.ComputeGradient(honest.ordinary));
  std::atomic<bool> stop = false;
  std::vector<std::thread> scribblers;
  for (int i = 0; i < 2; ++i) {
    scribblers.emplace_back([&] { Scribble(*memory, stop); });
  }
  std::atomic<int> answered = 0;
  std::vector<std::thread> callers;
  const absl::Time end = absl::Now() + absl::Seconds(4);
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&, i] {
      std::mt19937 generator(static_cast<unsigned>(i));
      while (absl::Now() < end) {
        auto answer =
            client_.ComputeGradient(requests[generator() % requests.size()]);
        const absl::StatusCode code = answer.status().code();
        EXPECT_TRUE(answer.ok() || code == absl::StatusCode::kInvalidArgument)
            << answer.status();
        answered += answer.ok();
        EXPECT_EQ(ResultOf(client_.ComputeGradient(honest.ordinary)), expected);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  stop = true;
  for (std::thread& scribbler : scribblers) scribbler.join();
  EXPECT_GT(answered, 20);
  server_.process().process().Signal(SIGTERM);
  EXPECT_EQ(server_.process().process().Await(absl::Seconds(30)), 0)
      << server_.process().process().Output();
}

TEST_F(SharedMemoryTest, LossctlGivesTheSameAnswerThroughSharedMemory) {
  const std::vector<std::string> common = {LOSSCTL_BINARY,
                                           "grad",
                                           "cross_entropy",
                                           "--server",
                                           server_.calls(),
                                           "--input",
                                           "[[0.5, -1, 2], [1, 2, 3]]",
                                           "--target",
                                           "[2, 0]",
                                           "--wrt",
                                           "input"};
  std::vector<std::string> with = common;
  with.push_back("--shared-memory");
  with.push_back(server_.memory());
  ChildProcess plain(common);
  EXPECT_EQ(plain.Await(absl::Seconds(30)), 0) << plain.Output();
  ChildProcess shared(with);
  EXPECT_EQ(shared.Await(absl::Seconds(30)), 0) << shared.Output();
  EXPECT_THAT(plain.Output(), HasSubstr("gradient"));
  EXPECT_EQ(shared.Output(), plain.Output());
  with.back() += ".not";
  ChildProcess absent(with);
  EXPECT_NE(absent.Await(absl::Seconds(30)), 0);
  EXPECT_THAT(absent.Output(), HasSubstr("cannot connect to"));
}

TEST_F(SharedMemoryTest, TheExampleOfThePageRuns) {
  ChildProcess example(
      {LOSSD_SHARED_EXAMPLE, server_.calls(), server_.memory()});
  EXPECT_EQ(example.Await(absl::Seconds(30)), 0);
  EXPECT_EQ(example.Output(),
            "loss 0.407606\n"
            "gradient -0.16738 0.122364 0.0450153 0.0450153 0.122364 "
            "-0.16738\n");
}

}  // namespace
}  // namespace lossd
