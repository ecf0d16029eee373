// SPDX-License-Identifier: Apache-2.0

#ifndef LOSSD_SERVER_RPC_REFLECTION_SERVICE_H_
#define LOSSD_SERVER_RPC_REFLECTION_SERVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "server/rpc/queued_service.h"

namespace lossd {

// Server reflection, grpc.reflection.v1 and v1alpha, for the descriptors of a
// pool. A stream has one answer in memory: the next request is read when it has
// been sent. Thread-safe.
class ReflectionService final : public QueuedService {
 public:
  // Lists `services`, full names, and itself. `pool` outlives it.
  ReflectionService(std::vector<std::string> services,
                    const google::protobuf::DescriptorPool* pool);

  // No call may be in progress, or follow.
  ~ReflectionService() override;

 private:
  class Stream;

  std::vector<std::string> services_;
  const google::protobuf::DescriptorPool& pool_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_REFLECTION_SERVICE_H_
