// What ThreadSanitizer is told: each CUDA thread is a thread to it, and the only order between two is that of the barriers
// they both pass. So two threads that touch the same memory without one between them are found in whatever order they
// happened to run. An exchange of registers orders no memory, as on a GPU. Blocks come one after the other.
//
// Only kernels are instrumented (`CHECKED_FOR_RACES` is set for what surrounds them); otherwise all this is nothing.
#pragma once

#if defined(CHECKED_FOR_RACES)
#include <sanitizer/tsan_interface.h>
#endif

namespace cpu {

/// A thread as ThreadSanitizer sees it.
class Observed {
  public:
#if defined(CHECKED_FOR_RACES)
    Observed() : context(__tsan_create_fiber(0)) {}
    ~Observed() { __tsan_destroy_fiber(context); }
    /// From now on it is this one that does things.
    void acts() const { __tsan_switch_to_fiber(context, __tsan_switch_to_fiber_no_sync); }

  private:
    void* context;
#else
    Observed() = default;
    void acts() const {}
#endif
    Observed(const Observed&) = delete;
};

/// The process's own thread, which runs the others.
class Scheduler {
  public:
#if defined(CHECKED_FOR_RACES)
    void begins() { context = __tsan_get_current_fiber(); }
    void acts() const { __tsan_switch_to_fiber(context, __tsan_switch_to_fiber_no_sync); }

  private:
    void* context = nullptr;
#else
    void begins() {}
    void acts() const {}
#endif
};

/// Whoever is here after others saw all that they did before.
class Meeting {
  public:
#if defined(CHECKED_FOR_RACES)
    void came() { __tsan_release(this); }
    void goes() { __tsan_acquire(this); }
#else
    void came() {}
    void goes() {}
#endif

  private:
    char place = 0;
};

}  // namespace cpu
