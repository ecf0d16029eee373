// SPDX-License-Identifier: Apache-2.0
//
// How fast kernels run on a GPU, on data that is already there: the bytes that
// must move (each input read once, each output written once) by the device's
// own time. tests/cuda/gpu_bundle.sh makes it fit to be carried.
//
//   gpu_kernels [ceiling in GB/s]
//
// With a ceiling, such as what a copy of the device reaches, the last column is
// the fraction of it.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "server/base/half.h"
#include "server/kernels/cuda/batch_plan.h"
#include "server/kernels/cuda/driver.h"
#include "server/kernels/cuda/kernel_images.h"
#include "server/losses/loss.h"

namespace lossd {
namespace {

struct Case {
  const char* loss;
  Dtype dtype;
  int64_t rows;
  int64_t columns;
  bool gradient;
};

// Ends the program where the device does not do as it is told.
template <class T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
    std::exit(1);
  }
  return *std::move(value);
}
void Must(const absl::Status& status) {
  if (!status.ok()) Must(absl::StatusOr<int>(status));
}

void Store(Dtype dtype, float value, uint8_t* to) {
  if (dtype == Dtype::kFloat32) {
    std::memcpy(to, &value, 4);
  } else if (dtype == Dtype::kBfloat16) {
    const Bfloat16 half = ToBfloat16(value);
    std::memcpy(to, &half, 2);
  } else {
    const Float16 half = ToFloat16(value);
    std::memcpy(to, &half, 2);
  }
}

// A tensor of random values in [low, high).
std::vector<uint8_t> RandomTensor(Dtype dtype, int64_t elements, float low,
                                  float high) {
  const int64_t size = DtypeSize(dtype);
  std::vector<uint8_t> bytes(static_cast<size_t>(elements * size));
  std::mt19937_64 random(7);
  std::uniform_real_distribution<float> value(low, high);
  // A million values, again and again from another place.
  const int64_t period = std::min<int64_t>(elements, 1000003);
  for (int64_t i = 0; i < period; ++i) {
    Store(dtype, value(random), bytes.data() + i * size);
  }
  for (int64_t i = period; i < elements; i += period) {
    const int64_t count = std::min(period, elements - i);
    std::memcpy(bytes.data() + i * size, bytes.data(),
                static_cast<size_t>(count * size));
  }
  return bytes;
}

TensorView ViewOf(Dtype dtype, const Shape& shape,
                  const std::vector<uint8_t>& bytes) {
  TensorView view;
  view.dtype = dtype;
  view.shape = shape;
  view.elements = ElementCount(shape).value();
  view.data = bytes.data();
  return view;
}

// A case on the device, ready to run.
class Prepared {
 public:
  Prepared(const Case& of, cuda::Device* device) : device_(device) {
    const LossDefinition* loss = FindLoss(of.loss);
    const Shape shape = {of.rows, of.columns};
    const bool classes = std::string(of.loss) == "cross_entropy";
    input_ = RandomTensor(of.dtype, of.rows * of.columns, -8, 8);
    arguments_.tensors[0] = ViewOf(of.dtype, shape, input_);
    if (classes) {
      target_.resize(static_cast<size_t>(of.rows) * 8);
      for (int64_t i = 0; i < of.rows; ++i) {
        const int64_t label = i * 7919 % of.columns;
        std::memcpy(target_.data() + i * 8, &label, 8);
      }
      arguments_.tensors[1] = ViewOf(Dtype::kInt64, {of.rows}, target_);
    } else {
      target_ = RandomTensor(of.dtype, of.rows * of.columns, 0, 1);
      arguments_.tensors[1] = ViewOf(of.dtype, shape, target_);
    }
    arguments_.parameters.resize(loss->schema.parameters.size());
    Violations violations;
    geometry_ = loss->plan(arguments_, &violations);
    if (!violations.empty()) std::exit(1);
    job_.loss = loss;
    job_.arguments = &arguments_;
    job_.geometry = &geometry_;
    job_.units = classes ? of.rows : (geometry_.element_count + 1023) / 1024;
    job_.float_lanes = geometry_.float_lanes;
    job_.gradient_scale = 1.0 / static_cast<double>(of.rows);
    sums_.resize(static_cast<size_t>(2 * job_.units));
    job_.unit_sums = sums_.data();
    if (of.gradient) {
      gradient_.resize(input_.size());
      job_.gradients[0] = {of.dtype, gradient_.data()};
    }
    bytes_ =
        static_cast<int64_t>(input_.size() + target_.size() + gradient_.size());
    Upload();
  }
  ~Prepared() { device_->Free(memory_); }

  int64_t bytes() const { return bytes_; }
  // Milliseconds of one run: the median of several.
  double Time(cuda::Device::Stream stream) const {
    RunAndTime(stream, 3);
    std::vector<double> times;
    for (int i = 0; i < 9; ++i) {
      times.push_back(RunAndTime(stream, 4) / 4);
    }
    std::nth_element(times.begin(), times.begin() + 4, times.end());
    return times[4];
  }

 private:
  // Milliseconds of the device for so many runs.
  double RunAndTime(cuda::Device::Stream stream, int times) const {
    const auto begin = Must(device_->CreateEvent());
    const auto end = Must(device_->CreateEvent());
    Must(device_->Record(stream, begin));
    for (int i = 0; i < times; ++i) {
      for (const cuda::Launch& launch : launches_) {
        Must(device_->Run(stream, launch));
      }
    }
    Must(device_->Record(stream, end));
    Must(device_->Synchronize(stream));
    const absl::Duration elapsed = Must(device_->Elapsed(begin, end));
    device_->DestroyEvent(begin);
    device_->DestroyEvent(end);
    return absl::ToDoubleMilliseconds(elapsed);
  }

  void Upload() {
    Job* jobs[] = {&job_};
    cuda::PlanOptions options;
    options.multiprocessors = device_->info().multiprocessors;
    options.max_cluster = device_->info().max_cluster;
    const cuda::BatchPlan plan(jobs, options);
    memory_ = Must(device_->Allocate(plan.device_bytes()));
    uint8_t* upload = Must(device_->AllocateHost(plan.upload_bytes()));
    plan.Write(memory_, upload);
    const auto stream = Must(device_->CreateStream());
    for (const cuda::HostCopy& copy : plan.Uploads(memory_, upload)) {
      Must(device_->CopyToDevice(stream, copy.device, copy.host, copy.bytes));
    }
    Must(device_->Synchronize(stream));
    device_->DestroyStream(stream);
    device_->FreeHost(upload);
    launches_ = plan.Launches(memory_);
  }

  cuda::Device* const device_;
  std::vector<uint8_t> input_, target_, gradient_;
  std::vector<double> sums_;
  Arguments arguments_;
  Geometry geometry_;
  Job job_;
  int64_t bytes_ = 0;
  uint8_t* memory_ = nullptr;
  std::vector<cuda::Launch> launches_;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  const Dtype dtypes[] = {Dtype::kFloat32, Dtype::kBfloat16, Dtype::kFloat16};
  for (Dtype dtype : dtypes) {
    for (bool gradient : {false, true}) {
      cases.push_back({"cross_entropy", dtype, 8192, 32000, gradient});
    }
  }
  for (Dtype dtype : dtypes) {
    cases.push_back({"cross_entropy", dtype, 32768, 8192, true});
    cases.push_back({"cross_entropy", dtype, 262144, 1024, true});
    cases.push_back({"cross_entropy", dtype, 2097152, 128, true});
    cases.push_back({"cross_entropy", dtype, 4096, 50304, true});
  }
  cases.push_back({"cross_entropy", Dtype::kFloat32, 2048, 131072, true});
  const char* losses[] = {"mse_loss", "binary_cross_entropy_with_logits",
                          "kl_div"};
  for (const char* loss : losses) {
    for (Dtype dtype : dtypes) {
      cases.push_back({loss, dtype, 8192, 16384, false});
      cases.push_back({loss, dtype, 8192, 16384, true});
    }
  }
  return cases;
}

int Main(int argc, char** argv) {
  const double ceiling = argc > 1 ? std::atof(argv[1]) : 0;
  auto devices = Must(cuda::OpenDevices(
      cuda::KernelImages(), [](const std::string& name, const absl::Status& s) {
        std::fprintf(stderr, "%s: %s\n", name.c_str(), s.ToString().c_str());
      }));
  cuda::Device& device = *devices[0];
  std::printf("%s, %s\n", device.info().model.c_str(),
              device.info().target.c_str());
  const auto stream = Must(device.CreateStream());
  for (const Case& each : Cases()) {
    const Prepared prepared(each, &device);
    const double ms = prepared.Time(stream);
    const double rate = static_cast<double>(prepared.bytes()) / ms * 1e-6;
    std::printf("%-34s %-9s [%7lld, %6lld] %-9s %8.3f ms %7.0f GB/s", each.loss,
                std::string(DtypeName(each.dtype)).c_str(),
                static_cast<long long>(each.rows),
                static_cast<long long>(each.columns),
                each.gradient ? "gradient" : "loss", ms, rate);
    if (ceiling > 0) std::printf("  %4.2f", rate / ceiling);
    std::printf("\n");
    std::fflush(stdout);
  }
  device.DestroyStream(stream);
  return 0;
}

}  // namespace
}  // namespace lossd

int main(int argc, char** argv) { return lossd::Main(argc, argv); }
