// SPDX-License-Identifier: Apache-2.0
//
// Stacks that a thread switches between by itself.

#ifndef LOSSD_TESTS_CUDA_SIMT_FIBER_H_
#define LOSSD_TESTS_CUDA_SIMT_FIBER_H_

#include <ucontext.h>

#include <cstddef>
#include <functional>

namespace lossd::simt {

// A function with a stack of its own, which runs in turns with whoever resumes
// it. It may be started again when it has returned, or been given up halfway:
// what is on its stack then is not destroyed. Not thread-safe.
class Fiber {
 public:
  static constexpr size_t kStackBytes = size_t{256} << 10;

  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Begins `body` at the next Resume. It must not throw.
  void Start(std::function<void()> body);
  // Runs until Suspend or the end; whether it has ended.
  bool Resume();
  // From inside.
  void Suspend();

 private:
  static void Enter(unsigned high, unsigned low);
  void Leave(bool forever);

  char* const stack_;
  std::function<void()> body_;
  bool ended_ = true;
#if defined(__x86_64__)
  void* own_ = nullptr;  // stack pointers
  void* resumer_ = nullptr;
#else
  ucontext_t own_;
  ucontext_t resumer_;
#endif
  // What AddressSanitizer is told of stacks.
  void* fake_stack_ = nullptr;
  const void* resumer_stack_ = nullptr;
  size_t resumer_bytes_ = 0;
};

}  // namespace lossd::simt

#endif  // LOSSD_TESTS_CUDA_SIMT_FIBER_H_
