// SPDX-License-Identifier: Apache-2.0

#include "server/rpc/server_info.h"

#include <string>

#include "server/config/unix_address.h"

namespace lossd {
namespace {

void DescribeLimits(const Settings::Limits& limits, v1::Limits* wire) {
  wire->set_max_message_bytes(limits.max_message_bytes);
  wire->set_max_elements(limits.max_elements);
  wire->set_max_dimensions(limits.max_dimensions);
  wire->set_max_operations(limits.max_operations);
  wire->set_max_response_bytes(limits.max_response_bytes);
  wire->set_max_scratch_bytes(limits.max_scratch_bytes);
  WriteDuration(limits.max_deadline, wire->mutable_max_deadline());
  wire->set_max_queue_requests(limits.max_queue_requests);
  wire->set_max_queue_bytes(limits.max_queue_bytes);
  wire->set_max_queue_operations(limits.max_queue_operations);
  wire->set_max_in_flight_bytes(limits.max_in_flight_bytes);
}

void DescribeBatching(const Settings::Batching& batching,
                      v1::BatchingInfo* wire) {
  wire->set_workers(batching.workers);
  wire->set_max_batch_requests(batching.max_batch_requests);
  wire->set_max_batch_rows(batching.max_batch_rows);
  wire->set_max_batch_bytes(batching.max_batch_bytes);
  wire->set_inline_operations(batching.inline_operations);
}

void DescribeDevices(const Backend& backend,
                     v1::GetServerInfoResponse* response) {
  for (size_t i = 0; i < backend.devices().size(); ++i) {
    const DeviceDescription& device = backend.devices()[i];
    v1::DeviceInfo* wire = response->add_devices();
    wire->set_device(static_cast<v1::Device>(backend.device_class()));
    wire->set_name(device.name);
    wire->set_target(device.target);
    wire->set_parallelism(device.parallelism);
    wire->set_model(device.model);
    wire->set_in_service(backend.InService(i));
    wire->set_max_evaluation_bytes(device.max_evaluation_bytes);
  }
}

}  // namespace

v1::GetServerInfoResponse DescribeServer(const Settings& settings,
                                         const Engine& engine,
                                         const ServerIdentity& identity) {
  v1::GetServerInfoResponse response;
  response.set_version(std::string(identity.version));
  response.set_numerics_version(kNumericsVersion);
  response.set_instance(std::string(identity.instance));
  response.set_default_device(static_cast<v1::Device>(engine.default_device()));
  for (const auto& backend : engine.backends()) {
    DescribeDevices(*backend, &response);
  }
  response.set_io_threads(settings.io_threads);
  DescribeLimits(settings.limits, response.mutable_limits());
  DescribeBatching(settings.batching, response.mutable_batching());
  if (const Settings::SharedMemory& shared = settings.shared_memory;
      !shared.listen.empty()) {
    v1::SharedMemoryInfo* wire = response.mutable_shared_memory();
    wire->set_address(UnixAddress(shared.listen));
    wire->set_max_bytes(shared.max_bytes);
  }
  return response;
}

}  // namespace lossd
