// A stack of its own and a way there and back; tells AddressSanitizer about both.
#pragma once

#include <cstddef>

#if defined(__x86_64__)
#define FIBER_BY_HAND
#else
#include <ucontext.h>
#endif

namespace cpu {

/// A place to go on from.
struct Context {
#if defined(FIBER_BY_HAND)
    void* stack_pointer = nullptr;
#else
    ucontext_t context;
#endif
    void* fake_stack = nullptr;
};

class Fiber {
  public:
    Fiber();
    ~Fiber();
    Fiber(const Fiber&) = delete;

    /// The next `resume` begins `entry`, which must not return; whatever ran here before is forgotten.
    void restart(void (*entry)());
    /// From the scheduler to this fiber, until it yields.
    void resume(Context& scheduler);
    /// Back to the scheduler. `for_good`: it will not be resumed.
    void yield(Context& scheduler, bool for_good);
    /// First thing a fiber does.
    static void arrived();

  private:
    Context own;
    char* stack;
};

}  // namespace cpu
