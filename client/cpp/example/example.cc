// SPDX-License-Identifier: Apache-2.0
// Computes a loss and its gradient: lossd_example [HOST:PORT]
#include <iostream>

#include "lossd/client.h"

int main(int argc, char** argv) {
  lossd::Client client(argc > 1 ? argv[1] : "127.0.0.1:50051");
  lossd::v1::ComputeGradientRequest request;
  auto& loss = *request.mutable_evaluation()->mutable_cross_entropy();
  *loss.mutable_input() = lossd::MakeTensor<float>({2, 1, 0, 0, 1, 2}, {2, 3});
  *loss.mutable_target() = lossd::MakeTensor<int64_t>({0, 2}, {2});
  const auto response = client.ComputeGradient(request);
  if (!response.ok()) return std::cerr << response.status() << '\n', 1;
  const lossd::v1::Result& result = response->result();
  std::cout << "loss " << result.loss() << "\ngradient";
  const auto gradient = lossd::ViewTensor<float>(result.gradients(0).value());
  if (!gradient.ok()) return std::cerr << gradient.status() << '\n', 1;
  for (float g : *gradient) std::cout << ' ' << g;
  std::cout << '\n';
}
