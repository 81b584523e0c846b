// CUDA C++ for a C++ compiler: what our kernels use of the language and its intrinsics, and no more.
//
// Not here: textures, tensor cores, asynchronous copies, dynamic shared memory, shuffles of less than a warp. Blocks run
// one after the other, so a race between blocks is not seen unless their order matters.
#pragma once

#define CUDA_ON_CPU

#include <algorithm>
#include <cmath>

#include "block.h"
#include "half.h"

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("cuda_shared")))
/// What a warp does as one instruction, looking at its lanes' registers, which are stacks here: no race.
#define ONE_INSTRUCTION __attribute__((noinline, no_sanitize("thread")))
#define CHECK_INDEX(index, length) cpu::check_index(index, length)

#define threadIdx (cpu::here.thread)
#define blockIdx (cpu::here.block)
#define blockDim (cpu::here.block_size)
#define gridDim (cpu::here.grid_size)

// Tells one place in the source from another.
#define SITE (__COUNTER__ * 65536 + __LINE__)
#define __syncthreads() cpu::wait_for_block(SITE)
#define __syncwarp() cpu::wait_for_lanes(0xffffffffu, SITE)
#define __shfl_xor_sync(mask, number, lanes) cpu::shuffle(mask, number, cpu::here.lane ^ (lanes), SITE)
#define __shfl_down_sync(mask, number, lanes) cpu::shuffle(mask, number, cpu::here.lane + (lanes), SITE)
#define __ballot_sync(mask, for_it) cpu::vote(mask, for_it, SITE)
#define __any_sync(mask, for_it) (cpu::vote(mask, for_it, SITE) != 0)

namespace cpu {

template <class T>
T shuffle(unsigned mask, T number, int lane, int site) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "registers are exchanged");
    uint64_t brought = 0;
    memcpy(&brought, &number, sizeof number);
    const uint64_t got = exchange(mask, brought, lane, site);
    memcpy(&number, &got, sizeof number);
    return number;
}

}  // namespace cpu

struct alignas(8) float2 {
    float x, y;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

inline float2 make_float2(float x, float y) { return {x, y}; }
inline int __float_as_int(float number) {
    int bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}
inline float __int_as_float(int bits) {
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}
inline float __fdiv_rn(float a, float b) { return a / b; }
/// Bytes of `x` (0 to 3) and `y` (4 to 7) by the nibbles of `selector`, lowest first.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    const uint64_t both = (uint64_t)y << 32 | x;
    unsigned bytes = 0;
    for (int nth = 0; nth < 4; nth++) {
        bytes |= (unsigned)(both >> 8 * (selector >> 4 * nth & 7u) & 255u) << 8 * nth;
    }
    return bytes;
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
using std::isnan;

/// Products of four signed bytes each, added to `sum`.
inline int __dp4a(int a, int b, int sum) {
    for (int byte = 0; byte < 4; byte++) {
        sum += (int)(int8_t)(a >> 8 * byte) * (int)(int8_t)(b >> 8 * byte);
    }
    return sum;
}

inline int atomicAdd(int* number, int more) { return __atomic_fetch_add(number, more, __ATOMIC_RELAXED); }
