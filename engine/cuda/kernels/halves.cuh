// Activations for the tensor cores: rows in half precision, each divided by a power of two of its own.
//
// In half precision a number above 65,504 is infinite, and activations do come that large (Qwen2.5's, before the last
// projection of a block). Divided so that the largest of a row lies between 2^9 and 2^10 nothing overflows, and what is
// rounded away is at most 2^-11 of a number, or 2^-34 of the row's largest. A power of two itself rounds nothing.
#pragma once

#ifndef CUDA_ON_CPU
#include <cuda_fp16.h>
#endif

#include "warp.cuh"

constexpr int ROW_THREADS = 256;

/// Where rows go: as they are, or in halves with their scales, or both; null where nobody wants them.
struct Rows {
    /// `[rows][columns]`.
    float* plain;
    /// `[rows][columns]`.
    __half* halves;
    /// `[rows]`: a number is its half times its row's scale.
    float* scales;
};

/// What a row of this largest magnitude is divided by. Infinities and NaN give NaN, so that they stay visible.
__device__ __forceinline__ float scale_for(float largest) {
    if (largest == 0.0f) {
        return 1.0f;
    }
    // The exponent alone, ten lower; a magnitude whose exponent is too small for that is divided by the least normal.
    const int exponent = (__float_as_int(largest) >> 23 & 255) - 9;
    return exponent >= 246 ? largest - largest : __int_as_float(max(exponent, 1) << 23);
}

/// Over all threads of a block of ROW_THREADS; `shared` holds a number a warp.
__device__ __forceinline__ float block_max(float number, float* shared) {
    number = warp_max(number);
    __syncthreads();  // whoever read it before is done
    if (threadIdx.x % 32 == 0) {
        shared[threadIdx.x / 32] = number;
    }
    __syncthreads();  // all warps' maxima are there
    for (int warp = 0; warp < ROW_THREADS / 32; warp++) {
        number = fmaxf(number, shared[warp]);
    }
    return number;
}

__device__ __forceinline__ float block_sum(float number, float* shared) {
    number = warp_sum(number);
    __syncthreads();  // whoever read it before is done
    if (threadIdx.x % 32 == 0) {
        shared[threadIdx.x / 32] = number;
    }
    __syncthreads();  // all warps' sums are there
    number = 0.0f;
    for (int warp = 0; warp < ROW_THREADS / 32; warp++) {
        number += shared[warp];
    }
    return number;
}

/// Magnitude that no NaN hides in: `fmaxf` passes over NaN, but not over infinity.
__device__ __forceinline__ float magnitude(float number) { return isnan(number) ? INFINITY : fabsf(number); }

/// Writes row `row`, whose number in column `column` is `number(column)`. Called by all threads of a block.
template <class Number>
__device__ __forceinline__ void put_row(const Rows& rows, size_t row, int columns, float* shared, Number number) {
    float scale = 1.0f;
    if (rows.halves != nullptr) {
        float largest = 0.0f;
        for (int column = threadIdx.x; column < columns; column += ROW_THREADS) {
            largest = fmaxf(largest, magnitude(number(column)));
        }
        scale = scale_for(block_max(largest, shared));
        if (threadIdx.x == 0) {
            rows.scales[row] = scale;
        }
    }
    for (int column = threadIdx.x; column < columns; column += ROW_THREADS) {
        const float value = number(column);
        if (rows.plain != nullptr) {
            rows.plain[row * columns + column] = value;
        }
        if (rows.halves != nullptr) {
            rows.halves[row * columns + column] = __float2half_rn(value / scale);
        }
    }
}
