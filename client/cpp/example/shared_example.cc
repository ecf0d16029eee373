// SPDX-License-Identifier: Apache-2.0
// Computes a gradient in shared memory: lossd_shared_example SERVER MEMORY
#include <algorithm>
#include <iostream>
#include <vector>

#include "lossd/client.h"
#include "lossd/shared_memory.h"

int main(int argc, char** argv) {
  lossd::Client client(argc > 1 ? argv[1] : "unix:/run/lossd/lossd.sock");
  auto memory = lossd::SharedMemory::Open(
      argc > 2 ? argv[2] : "unix:/run/lossd/memory.sock", 1 << 20);
  if (!memory.ok()) return std::cerr << memory.status() << '\n', 1;
  auto logits = *memory->Allocate<float>({2, 3});
  auto gradient = *memory->Allocate<float>({2, 3});
  std::ranges::copy(std::vector<float>{2, 1, 0, 0, 1, 2},
                    logits.values().begin());
  lossd::v1::ComputeGradientRequest request;
  auto& loss = *request.mutable_evaluation()->mutable_cross_entropy();
  *loss.mutable_input() = logits.ToTensor();
  *loss.mutable_target() = lossd::MakeTensor<int64_t>({0, 2}, {2});
  *request.add_gradient_memory() = gradient.place();
  const auto response = client.ComputeGradient(request);
  if (!response.ok()) return std::cerr << response.status() << '\n', 1;
  std::cout << "loss " << response->result().loss() << "\ngradient";
  for (float g : gradient.values()) std::cout << ' ' << g;
  std::cout << '\n';
}
