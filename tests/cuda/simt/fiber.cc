// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/simt/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace lossd::simt {
namespace {

#if defined(__SANITIZE_ADDRESS__)
void BeginSwitch(void** fake, const void* stack, size_t bytes) {
  __sanitizer_start_switch_fiber(fake, stack, bytes);
}
void EndSwitch(void* fake, const void** stack, size_t* bytes) {
  __sanitizer_finish_switch_fiber(fake, stack, bytes);
}
void CleanStack(const void* stack, size_t bytes) {
  __asan_unpoison_memory_region(stack, bytes);
}
#else
void BeginSwitch(void**, const void*, size_t) {}
void EndSwitch(void*, const void**, size_t*) {}
void CleanStack(const void*, size_t) {}
#endif

}  // namespace

#if defined(__x86_64__)
// Saves what a function must preserve on the stack, leaves the stack's pointer
// in *from, and goes on with the stack `to`. glibc's swapcontext does the same
// with a system call for each switch.
extern "C" void LossdSwitchStacks(void** from, void* to);
asm(R"(
.text
.globl LossdSwitchStacks
.type LossdSwitchStacks, @function
LossdSwitchStacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size LossdSwitchStacks, . - LossdSwitchStacks
)");

namespace {
// What a new fiber enters with no arguments but this.
Fiber* entering = nullptr;
}  // namespace
#endif

Fiber::Fiber()
    : stack_(
          static_cast<char*>(mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
  if (stack_ == MAP_FAILED) std::abort();
}
Fiber::~Fiber() { munmap(stack_, kStackBytes); }

void Fiber::Start(std::function<void()> body) {
  body_ = std::move(body);
  // Whoever returns cleans the stack.
  if (!ended_) CleanStack(stack_, kStackBytes);
  ended_ = false;
  fake_stack_ = nullptr;
#if defined(__x86_64__)
  // The frame that LossdSwitchStacks takes down: six registers and where to go
  // on, with the stack as after a call.
  auto** top = reinterpret_cast<void**>(stack_ + kStackBytes - 16);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(+[]() { Enter(0, 0); });
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  own_ = top;
#else
  getcontext(&own_);
  own_.uc_stack.ss_sp = stack_;
  own_.uc_stack.ss_size = kStackBytes;
  own_.uc_link = nullptr;
  const auto self = reinterpret_cast<uintptr_t>(this);
  makecontext(&own_, reinterpret_cast<void (*)()>(&Fiber::Enter), 2,
              static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
#endif
}

void Fiber::Enter([[maybe_unused]] unsigned high,
                  [[maybe_unused]] unsigned low) {
#if defined(__x86_64__)
  Fiber* const self = entering;
#else
  auto* const self = reinterpret_cast<Fiber*>(
      static_cast<uintptr_t>(high) << 32 | static_cast<uintptr_t>(low));
#endif
  EndSwitch(nullptr, &self->resumer_stack_, &self->resumer_bytes_);
  self->body_();
  self->ended_ = true;
  self->Leave(true);
}

bool Fiber::Resume() {
  void* fake = nullptr;
  BeginSwitch(&fake, stack_, kStackBytes);
#if defined(__x86_64__)
  entering = this;
  LossdSwitchStacks(&resumer_, own_);
#else
  swapcontext(&resumer_, &own_);
#endif
  EndSwitch(fake, nullptr, nullptr);
  return ended_;
}

void Fiber::Suspend() { Leave(false); }

void Fiber::Leave(bool forever) {
  BeginSwitch(forever ? nullptr : &fake_stack_, resumer_stack_, resumer_bytes_);
#if defined(__x86_64__)
  LossdSwitchStacks(&own_, resumer_);
#else
  swapcontext(&own_, &resumer_);
#endif
  EndSwitch(fake_stack_, &resumer_stack_, &resumer_bytes_);
}

}  // namespace lossd::simt
