#include "fiber.h"

#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace cpu {

constexpr size_t STACK_BYTES = 64 * 1024;

#if defined(__SANITIZE_ADDRESS__)
static const void* scheduler_stack;
static size_t scheduler_stack_bytes;
#endif

static void leaving(void** fake_stack, const void* stack, size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
#else
    (void)fake_stack, (void)stack, (void)bytes;
#endif
}

static void back(void* fake_stack) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#else
    (void)fake_stack;
#endif
}

#if defined(FIBER_BY_HAND)
extern "C" void cpu_switch_stack(void** save, void* to);
// What the System V calling convention lets a callee keep; everything else is saved by the compiler around the call.
asm(R"(.text
.globl cpu_switch_stack
.hidden cpu_switch_stack
.type cpu_switch_stack,@function
cpu_switch_stack:
    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret
)");

static void go(Context& from, Context& to) { cpu_switch_stack(&from.stack_pointer, to.stack_pointer); }
#else
static void go(Context& from, Context& to) { swapcontext(&from.context, &to.context); }
#endif

Fiber::Fiber() : stack((char*)aligned_alloc(64, STACK_BYTES)) {}

Fiber::~Fiber() { free(stack); }

void Fiber::restart(void (*entry)()) {
    own.fake_stack = nullptr;
#if defined(FIBER_BY_HAND)
    void** top = (void**)(stack + STACK_BYTES) - 1;
    *--top = (void*)entry;
    for (int registers = 0; registers < 6; registers++) {
        *--top = nullptr;
    }
    own.stack_pointer = top;
#else
    getcontext(&own.context);
    own.context.uc_stack.ss_sp = stack;
    own.context.uc_stack.ss_size = STACK_BYTES;
    own.context.uc_link = nullptr;
    makecontext(&own.context, entry, 0);
#endif
}

void Fiber::resume(Context& scheduler) {
    leaving(&scheduler.fake_stack, stack, STACK_BYTES);
    go(scheduler, own);
    back(scheduler.fake_stack);
}

void Fiber::yield(Context& scheduler, bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
    leaving(for_good ? nullptr : &own.fake_stack, scheduler_stack, scheduler_stack_bytes);
#else
    leaving(for_good ? nullptr : &own.fake_stack, nullptr, 0);
#endif
    go(own, scheduler);
    back(own.fake_stack);
}

void Fiber::arrived() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_bytes);
#endif
}

}  // namespace cpu
