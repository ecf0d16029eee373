// SPDX-License-Identifier: Apache-2.0

#include "server/kernels/cuda/kernel_images.h"

#ifdef LOSSD_CUDA
// Between these two: what nvcc has made of a loss.
#define LOSSD_LOSS(name)                                            \
  extern "C" const unsigned char lossd_image_##name[];              \
  asm(".section .rodata\n.balign 64\n.globl lossd_image_" #name     \
      "\nlossd_image_" #name ":\n.incbin \"" LOSSD_IMAGES "/" #name \
      ".fatbin\"\n.byte 0\n.text\n");
#include "loss_rows.inc"
#undef LOSSD_LOSS
#endif

namespace lossd::cuda {

absl::Span<const KernelImage> KernelImages() {
#ifdef LOSSD_CUDA
  static const KernelImage kImages[] = {
#define LOSSD_LOSS(name) {#name, lossd_image_##name},
#include "loss_rows.inc"
#undef LOSSD_LOSS
  };
  return kImages;
#else
  return {};
#endif
}

}  // namespace lossd::cuda
