// Pages as the tensor cores want them: every key turned to its position, every number as two halves.
//
// A tensor core multiplies halves. One half is too coarse here: Qwen2.5's keys carry biases of hundreds, and a score that is
// off by one is a weight that is off by two. So every number is two halves, what it rounds to and what that leaves out, and
// a product is three: of the first halves, and of each first with the other's second. Sums are F32. That is as good as F32
// throughout, at a third of the tensor cores' speed.
//
// Words lie at places that are shuffled by row, so that in shared memory neither writing a column nor reading a fragment
// meets the same bank twice.
#pragma once

#include "array.cuh"
#include "page.cuh"
#include "tensor.cuh"

constexpr int TILE_THREADS = 128;

/// Weights of values are powers of two of this and less, so that small ones keep their bits in a half.
constexpr float LARGEST_POWER = 10.0f;

/// Keys `[token][pair]`, or values `[channel][token / 2]`, of one head of a page; two numbers a word.
template <int HEAD_DIM>
struct UnpackedSide {
    static constexpr int WORDS = PAGE_TOKENS * HEAD_DIM / 2;

    /// What numbers round to.
    Array<unsigned, WORDS> first;
    /// What that leaves out.
    Array<unsigned, WORDS> second;
};

/// Where word `word` of row `row` lies among rows of `words`.
__device__ __forceinline__ int place_of(int row, int word, int words) {
    return row * words + (word ^ ((row & 7) << 2 | (row >> 3 & 3)));
}

__device__ __forceinline__ float half_at(unsigned word, int nth) {
    return __half2float(__ushort_as_half((unsigned short)(word >> 16 * nth)));
}

/// What two numbers round to, and what is left of them.
__device__ __forceinline__ void split_halves(float x, float y, unsigned& first, unsigned& second) {
    first = two_halves(x, y);
    second = two_halves(x - half_at(first, 0), y - half_at(first, 1));
}

/// Copies a side between shared memory and the device's, by all threads of a block.
template <int HEAD_DIM>
__device__ __forceinline__ void copy_side(uint4* to, const uint4* from) {
    constexpr int PIECES = sizeof(UnpackedSide<HEAD_DIM>) / sizeof(uint4);
    // As many at a time as there are registers for.
#pragma unroll 8
    for (int nth = 0; nth < PIECES / TILE_THREADS; nth++) {
        to[nth * TILE_THREADS + threadIdx.x] = from[nth * TILE_THREADS + threadIdx.x];
    }
}
