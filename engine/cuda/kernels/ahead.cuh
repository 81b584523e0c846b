// Copies from global to shared memory that run ahead of the thread that asks for them.
//
// Before Ampere, and on the CPU, they are plain copies, which are over when they were asked for. Only the thread that asked
// waits for them here; others see them behind a barrier after that.
#pragma once

/// Asks for 16 bytes; both addresses are multiples of 16.
template <class Sixteen>
__device__ __forceinline__ void copy_ahead(Sixteen& to, const Sixteen* from) {
    static_assert(sizeof(Sixteen) == 16, "copies are of 16 bytes");
#if !defined(CUDA_ON_CPU) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 :
                 : "r"((unsigned)__cvta_generic_to_shared(&to)), "l"(from)
                 : "memory");
#else
    to = *from;
#endif
}

/// Ends a set of copies, which may be empty.
__device__ __forceinline__ void end_copies() {
#if !defined(CUDA_ON_CPU) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" : : : "memory");
#endif
}

/// Waits until all sets are there but the last `COUNT`.
template <int COUNT>
__device__ __forceinline__ void wait_for_copies() {
#if !defined(CUDA_ON_CPU) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" : : "n"(COUNT) : "memory");
#endif
}
