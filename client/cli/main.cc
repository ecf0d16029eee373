// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "client/cli/lossctl.h"

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  return lossd::cli::RunLossctl({argv + 1, argv + argc}, std::cin, std::cout,
                                std::cerr);
}
