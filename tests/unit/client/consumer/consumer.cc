// SPDX-License-Identifier: Apache-2.0
// Fails unless the installed headers and libraries work together.
#include <lossd/client.h>

int main() {
  const lossd::v1::Tensor tensor = lossd::MakeTensor<float>({1, 2}, {2});
  const lossd::Client client("127.0.0.1:1");
  const auto info = client.GetServerInfo({.timeout = absl::Milliseconds(1)});
  return lossd::ViewTensor<float>(tensor).ok() && !info.ok() ? 0 : 1;
}
