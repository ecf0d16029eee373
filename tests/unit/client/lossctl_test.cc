// SPDX-License-Identifier: Apache-2.0
#include "client/cli/lossctl.h"

#include <gmock/gmock.h>
#include <grpcpp/health_check_service_interface.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "lossd/tensor.h"
#include "tests/unit/client/fake_loss_service.h"

namespace lossd::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct Finished {
  int exit_status;
  std::string output;
  std::string error;
};

Finished RunWith(std::vector<std::string> arguments,
                 const std::string& input = "") {
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  const int status = RunLossctl(arguments, in, out, err);
  return {.exit_status = status, .output = out.str(), .error = err.str()};
}

// What a server answers to the first worked example.
grpc::Status AnswerGradient(grpc::CallbackServerContext*,
                            const v1::ComputeGradientRequest& request,
                            v1::ComputeGradientResponse* response) {
  v1::Result& result = *response->mutable_result();
  result.set_loss(1.0577f);
  *result.mutable_loss_tensor() = MakeTensor<float>({1.0577f}, {});
  result.set_mean_numerator(3.1731);
  result.set_mean_denominator(3);
  result.set_element_count(3);
  result.set_ignored_count(0);
  v1::Gradient& gradient = *result.add_gradients();
  gradient.set_wrt("input");
  *gradient.mutable_value() =
      MakeTensor<float>({0.0484f, -0.2772f, 0.2361f}, {3});
  for (const int output : request.evaluation().outputs()) {
    if (output == v1::OUTPUT_ELEMENTWISE_LOSSES) {
      *result.mutable_elementwise_losses() =
          MakeTensor<float>({0.1568f, 1.7812f, 1.2351f}, {3});
    } else if (output == v1::OUTPUT_PROBABILITIES) {
      *result.mutable_probabilities() =
          MakeTensor<float>({0.1453f, 0.1684f, 0.7081f}, {3});
    } else if (output == v1::OUTPUT_PREDICTED_CLASSES) {
      *result.mutable_predicted_classes() = MakeTensor<int64_t>({0, 0, 1}, {3});
    }
  }
  response->mutable_execution()->set_device("cpu:0");
  return grpc::Status::OK;
}

class LossctlTest : public ::testing::Test {
 protected:
  LossctlTest() {
    server_.service().losses = SomeLosses();
    server_.service().on_gradient = AnswerGradient;
  }

  Finished Call(std::vector<std::string> arguments,
                const std::string& input = "") {
    arguments.push_back("--server");
    arguments.push_back(server_.address());
    return RunWith(std::move(arguments), input);
  }

  const std::vector<std::string> grad_ = {
      "grad",     "binary_cross_entropy_with_logits",
      "--input",  "[-1.7723,-1.5965,0.8863]",
      "--target", "[0,1,0]"};
  FakeServer server_;
};

TEST_F(LossctlTest, GradPrintsLossAndGradient) {
  const Finished run = Call(grad_);
  EXPECT_EQ(run.exit_status, kOk) << run.error;
  EXPECT_EQ(run.output,
            "binary_cross_entropy_with_logits, reduction mean\n"
            "loss          1.0577  (float32)\n"
            "natural mean  3.1731 / 3\n"
            "elements      3\n"
            "\n"
            "gradient of input, float32 [3]\n"
            "[ 0.0484, -0.2772,  0.2361]\n");
  EXPECT_THAT(run.error, IsEmpty());
}

TEST_F(LossctlTest, GradPrintsJsonForMachines) {
  std::vector<std::string> arguments = grad_;
  arguments.push_back("--json");
  const Finished run = Call(arguments);
  EXPECT_EQ(run.exit_status, kOk) << run.error;
  const auto json = nlohmann::json::parse(run.output);
  EXPECT_EQ(json["loss"].dump(), "1.0577");
  EXPECT_EQ(json["gradients"]["input"].dump(), "[0.0484,-0.2772,0.2361]");
  EXPECT_EQ(json["mean_denominator"], 3);
  EXPECT_EQ(json["ignored_count"], 0);
  EXPECT_EQ(json["execution"]["device"], "cpu:0");
  EXPECT_FALSE(json.contains("probabilities"));
}

TEST_F(LossctlTest, EvalAsksForTheLossOnly) {
  server_.service().on_loss = [](auto*, const auto& request, auto* response) {
    response->mutable_result()->set_loss(0.25);
    *response->mutable_result()->mutable_loss_tensor() =
        MakeTensor<float>({0.25}, {});
    EXPECT_EQ(request.evaluation().reduction(), v1::REDUCTION_SUM);
    return grpc::Status::OK;
  };
  const Finished run = Call({"eval", "cross_entropy", "--input", "-",
                             "--target", "[1]", "--reduction", "sum"},
                            "[[0.5, 1.5]]");
  EXPECT_EQ(run.exit_status, kOk) << run.error;
  EXPECT_THAT(run.output, HasSubstr("cross_entropy, reduction sum\n"));
  EXPECT_THAT(run.output, HasSubstr("loss          0.25"));
}

TEST_F(LossctlTest, ExplainShowsARowForEachElement) {
  std::vector<std::string> arguments = grad_;
  arguments[0] = "explain";
  const Finished run = Call(arguments);
  EXPECT_EQ(run.exit_status, kOk) << run.error;
  EXPECT_THAT(
      run.output,
      HasSubstr(
          "row    input  target  probability  predicted    loss  "
          "d loss / d input\n"
          "  0  -1.7723  0.0000       0.1453          0  0.1568            "
          "0.0484\n"
          "  1  -1.5965  1.0000       0.1684          0  1.7812           "
          "-0.2772\n"
          "  2   0.8863  0.0000       0.7081          1  1.2351            "
          "0.2361\n"));
  EXPECT_THAT(run.output,
              AllOf(HasSubstr("formula      weight * "),
                    HasSubstr("denominator  the number of elements"),
                    HasSubstr("mean = 3.1731 / 3 = 1.0577"),
                    HasSubstr("loss = 1.0577  (reduction mean)")));
  EXPECT_THAT(server_.service().gradient_request().evaluation().outputs(),
              ElementsAre(v1::OUTPUT_LOSS, v1::OUTPUT_ELEMENTWISE_LOSSES,
                          v1::OUTPUT_GRADIENTS, v1::OUTPUT_PROBABILITIES,
                          v1::OUTPUT_PREDICTED_CLASSES));
}

TEST_F(LossctlTest, ExplainShowsAVectorForEachSample) {
  server_.service().on_gradient = [](auto*, const auto&, auto* response) {
    v1::Result& result = *response->mutable_result();
    *result.mutable_elementwise_losses() = MakeTensor<float>({0.5, 0.25}, {2});
    *result.mutable_probabilities() =
        MakeTensor<float>({0.25, 0.75, 0.5, 0.5}, {2, 2});
    return grpc::Status::OK;
  };
  const Finished run =
      Call({"explain", "cross_entropy", "--input", "[[1, 2], [3, 4]]",
            "--target", "[0, 1]", "--weight", "[1, 2]"});
  EXPECT_EQ(run.exit_status, kOk) << run.error;
  EXPECT_THAT(run.output, HasSubstr("0  [1.0000, 2.0000]       0"));
  EXPECT_THAT(run.output, HasSubstr("[0.2500, 0.7500]  0.5000"));
}

TEST_F(LossctlTest, GradientsAreSavedAsNpy) {
  const std::string folder = ::testing::TempDir();
  std::vector<std::string> arguments = grad_;
  arguments.insert(arguments.end(), {"--save-gradients", folder});
  EXPECT_EQ(Call(arguments).exit_status, kOk);
  EXPECT_EQ(std::filesystem::file_size(folder + "/input.npy"), 128u + 12u);
  arguments.back() = "/no/such/folder";
  EXPECT_EQ(Call(arguments).exit_status, kUsage);
}

TEST_F(LossctlTest, ServerErrorsNameReasonAndEveryViolation) {
  server_.service().on_gradient = [](auto*, const auto&, auto*) {
    return DetailedStatus(
        grpc::INVALID_ARGUMENT, "2 violations", "SHAPE_MISMATCH",
        {{"evaluation.input", "wrong"}, {"evaluation.target", "wrong too"}});
  };
  const Finished run = Call(grad_);
  EXPECT_EQ(run.exit_status, kCallFailed);
  EXPECT_EQ(run.error,
            "lossctl: INVALID_ARGUMENT (SHAPE_MISMATCH): 2 violations\n"
            "  evaluation.input: wrong\n"
            "  evaluation.target: wrong too\n");
  EXPECT_THAT(run.output, IsEmpty());
  std::vector<std::string> arguments = grad_;
  arguments.push_back("--json");
  const auto json = nlohmann::json::parse(Call(arguments).output);
  EXPECT_EQ(json["error"]["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(json["error"]["reason"], "SHAPE_MISMATCH");
  EXPECT_EQ(json["error"]["message"], "2 violations");
  EXPECT_EQ(json["error"]["violations"][1]["field"], "evaluation.target");
  EXPECT_EQ(json["error"]["violations"][1]["description"], "wrong too");
}

TEST_F(LossctlTest, NoServerIsAnErrorThatSaysWhatToDo) {
  const Finished run = RunWith({"info", "--server", "127.0.0.1:1"});
  EXPECT_EQ(run.exit_status, kCallFailed);
  EXPECT_THAT(run.error, AllOf(HasSubstr("UNAVAILABLE"),
                               HasSubstr("lossd --listen 127.0.0.1:1"),
                               HasSubstr("LOSSCTL_SERVER")));
}

TEST_F(LossctlTest, TheServerMayComeFromTheEnvironment) {
  setenv("LOSSCTL_SERVER", server_.address().c_str(), 1);
  EXPECT_EQ(RunWith({"health"}).exit_status, kOk);
  unsetenv("LOSSCTL_SERVER");
}

TEST_F(LossctlTest, TheServerOfTheCommandLineGoesBeforeTheEnvironment) {
  setenv("LOSSCTL_SERVER", "127.0.0.1:1", 1);
  for (const char* command : {"info", "losses", "health"}) {
    EXPECT_EQ(Call({command, "--timeout", "5"}).exit_status, kOk) << command;
  }
  unsetenv("LOSSCTL_SERVER");
}

TEST_F(LossctlTest, UsageErrorsExitWith2) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"grad", "no_such_loss"},
        {"grad", "cross_entropy", "--no_such_flag", "1"},
        {"grad", "cross_entropy", "--input", "[1, [2]]"},
        {"grad", "cross_entropy", "--input", "missing.csv"},
        {"grad"},
        {"no_such_command"},
        {"grad", "cross_entropy", "--timeout", "soon"},
        {"grad", "cross_entropy", "--reduction"},
        {"describe", "no_such_loss"},
        {"losses", "--no-such-flag"}}) {
    const Finished run = Call(arguments);
    EXPECT_EQ(run.exit_status, kUsage) << ::testing::PrintToString(arguments);
    EXPECT_THAT(run.error, HasSubstr("lossctl: "));
  }
  EXPECT_EQ(RunWith({}).exit_status, kUsage);
}

TEST_F(LossctlTest, HealthIsTheExitStatus) {
  Finished run = Call({"health"});
  EXPECT_EQ(run.exit_status, kOk);
  EXPECT_EQ(run.output, "SERVING\n");
  server_.server().GetHealthCheckService()->SetServingStatus(false);
  run = Call({"health"});
  EXPECT_EQ(run.exit_status, kCallFailed);
  EXPECT_EQ(run.output, "NOT_SERVING\n");
  EXPECT_EQ(Call({"health", "--json"}).output,
            "{\"status\": \"NOT_SERVING\"}\n");
}

TEST_F(LossctlTest, LossesAreListed) {
  const Finished run = Call({"losses"});
  EXPECT_EQ(run.exit_status, kOk);
  EXPECT_THAT(run.output,
              HasSubstr("cross_entropy                     input target "
                        "[weight]"));
  const auto json = nlohmann::json::parse(Call({"losses", "--json"}).output);
  EXPECT_EQ(json["losses"].size(),
            static_cast<size_t>(SomeLosses().losses_size()));
}

TEST_F(LossctlTest, DescribeTellsAll) {
  const Finished run = Call({"describe", "cross_entropy"});
  EXPECT_EQ(run.exit_status, kOk);
  EXPECT_THAT(
      run.output,
      AllOf(HasSubstr("formula      -log(softmax(input)[target])"),
            HasSubstr("reductions   none, mean, sum (default mean)"),
            HasSubstr("--label_smoothing"), HasSubstr("in [0, 1], default 0"),
            HasSubstr("required, target")));
}

TEST_F(LossctlTest, InfoTellsLimits) {
  server_.service().info.set_version("1.2.3");
  server_.service().info.mutable_limits()->set_max_message_bytes(64 << 20);
  const Finished run = Call({"info"});
  EXPECT_THAT(run.output,
              AllOf(HasSubstr("lossd        1.2.3"), HasSubstr("64 MiB")));
  const auto json = nlohmann::json::parse(Call({"info", "--json"}).output);
  EXPECT_EQ(json["limits"]["max_message_bytes"], 64 << 20);
}

TEST_F(LossctlTest, HelpOfALossListsItsFlags) {
  Finished run = Call({"grad", "cross_entropy", "--help"});
  EXPECT_EQ(run.exit_status, kOk);
  EXPECT_THAT(run.output,
              AllOf(HasSubstr("--reduction"), HasSubstr("--label_smoothing"),
                    HasSubstr("default -100")));
  run =
      RunWith({"grad", "triplet_margin_loss", "-h", "--server", "127.0.0.1:1"});
  EXPECT_EQ(run.exit_status, kOk);
  EXPECT_THAT(run.output, AllOf(HasSubstr("--anchor"), HasSubstr("--margin"),
                                HasSubstr("did not say more")));
  EXPECT_THAT(RunWith({"grad", "--help"}).output, HasSubstr("--grad-output"));
}

TEST_F(LossctlTest, VersionAndHelpNeedNoServer) {
  EXPECT_THAT(RunWith({"--version"}).output, HasSubstr("lossctl 0.1.0\n"));
  const Finished run = RunWith({"--help"});
  EXPECT_EQ(run.exit_status, kOk);
  EXPECT_THAT(run.output, AllOf(HasSubstr("explain"), HasSubstr("--version")));
  EXPECT_EQ(RunWith({"losses", "--help"}).exit_status, kOk);
}

TEST_F(LossctlTest, ARequestOverTheLimitSaysSo) {
  const Finished run = Call({"grad", "cross_entropy", "--input", "[[1, 2, 3]]",
                             "--max-message-bytes", "10"});
  EXPECT_EQ(run.exit_status, kCallFailed);
  EXPECT_THAT(run.error, HasSubstr("RESOURCE_EXHAUSTED"));
}

}  // namespace
}  // namespace lossd::cli
