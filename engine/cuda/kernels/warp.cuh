// Reductions over the 32 lanes of a warp; every lane gets the result.
#pragma once

constexpr unsigned ALL_LANES = 0xffffffffu;

__device__ __forceinline__ float warp_max(float number) {
    for (int step = 16; step > 0; step >>= 1) {
        number = fmaxf(number, __shfl_xor_sync(ALL_LANES, number, step));
    }
    return number;
}

__device__ __forceinline__ float warp_min(float number) {
    for (int step = 16; step > 0; step >>= 1) {
        number = fminf(number, __shfl_xor_sync(ALL_LANES, number, step));
    }
    return number;
}

__device__ __forceinline__ float warp_sum(float number) {
    for (int step = 16; step > 0; step >>= 1) {
        number += __shfl_xor_sync(ALL_LANES, number, step);
    }
    return number;
}

__device__ __forceinline__ int warp_max(int number) {
    for (int step = 16; step > 0; step >>= 1) {
        number = max(number, __shfl_xor_sync(ALL_LANES, number, step));
    }
    return number;
}
