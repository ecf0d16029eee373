// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/simt/simt_engine.h"

#include <cstdlib>
#include <iostream>
#include <random>
#include <utility>
#include <vector>

#include "server/engine/cuda_backend.h"
#include "tests/cuda/simt/simt_device.h"

namespace lossd::simt {

uint64_t Seed() {
  const char* given = std::getenv("LOSSD_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10)
                                         : std::random_device()();
  std::cout << "LOSSD_SEED=" << seed << std::endl;
  return seed;
}

std::unique_ptr<cuda::Device> MakeFiberDevice(Machine* machine,
                                              int max_cluster) {
  cuda::DeviceInfo info;
  info.name = "cuda:0";
  info.model = "fibers";
  info.target = "simt";
  info.memory_bytes = int64_t{1} << 30;
  info.max_cluster = max_cluster;
  return MakeSimtDevice(info, machine);
}

std::unique_ptr<Backend> MakeSimtBackend(std::unique_ptr<cuda::Device> device,
                                         int64_t warp_row) {
  std::vector<std::unique_ptr<cuda::Device>> devices;
  devices.push_back(std::move(device));
  CudaOptions options;
  options.arena_bytes = int64_t{256} << 20;
  options.warp_row = warp_row;
  return MakeCudaBackend(std::move(devices), options);
}

std::unique_ptr<Engine> MakeSimtEngine(Machine* machine, int64_t warp_row,
                                       int max_cluster) {
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(
      MakeSimtBackend(MakeFiberDevice(machine, max_cluster), warp_row));
  return std::make_unique<Engine>(EngineLimits(), std::move(backends),
                                  DeviceClass::kCuda);
}

}  // namespace lossd::simt
