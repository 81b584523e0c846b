// Weight matrices on the device: the codes of the file they come from, with scales that are the file's own bits.
//
// A matrix is rows of groups of 32 columns. Of each group there are 16 bytes with the low four bits of its codes (byte i:
// code i below, code 16 + i above) and, for codes of more bits, a second plane:
//
//   5 bits   4 bytes: bit i is the fifth of code i
//   6 bits   8 bytes: two bits a code, lowest first
//   8 bits   16 bytes, as the low plane
//
// and its grids, by which code c stands for `step * c + least`:
//
//   GRID     two halves a group: step and least number
//   NESTED   a byte each for factor and minimum, and for eight groups two halves: step is scale * factor, least is
//            -(scale of minimums) * minimum
//   HALVED   a signed byte for each 16 columns, and for eight groups a half: step is scale * factor, least is -32 steps
//
// Rows are whole groups, also where they are not whole runs of eight.
#pragma once

#ifndef CUDA_ON_CPU
#include <cuda_fp16.h>
#endif

constexpr int GROUP = 32;
/// Groups under one scale where scales are nested.
constexpr int NESTED_GROUPS = 8;

constexpr int GRID = 0;
constexpr int NESTED = 1;
constexpr int HALVED = 2;

template <int BITS_OF, int KIND_OF>
struct Format {
    static constexpr int BITS = BITS_OF;
    static constexpr int KIND = KIND_OF;
};

struct Matrix {
    /// `[rows][groups]` of 16 bytes.
    const unsigned char* low;
    /// `[rows][groups]` of 0, 4, 8 or 16 bytes.
    const unsigned char* high;
    /// `[rows][groups]`: two halves, or two bytes.
    const unsigned char* grids;
    /// `[rows][ceil(groups / 8)]` of two halves (the second 0 with HALVED); null with GRID.
    const __half* scales;
    int rows;
    int groups;
    /// 4, 5, 6 or 8.
    int bits;
    /// GRID, NESTED or HALVED.
    int kind;
};

/// How the codes of one half of a group become weights.
struct Level {
    float step;
    float least;
};

/// Of columns `16 * half` to `16 * half + 15` of a group.
template <int KIND>
__device__ __forceinline__ Level level_of(const Matrix& matrix, int row, int group, int half) {
    const size_t at = (size_t)row * matrix.groups + group;
    if (KIND == GRID) {
        const __half* grid = reinterpret_cast<const __half*>(matrix.grids) + 2 * at;
        return {__half2float(grid[0]), __half2float(grid[1])};
    }
    const int runs = (matrix.groups + NESTED_GROUPS - 1) / NESTED_GROUPS;
    const __half* scales = matrix.scales + 2 * ((size_t)row * runs + group / NESTED_GROUPS);
    const unsigned char* bytes = matrix.grids + 2 * at;
    if (KIND == NESTED) {
        return {__half2float(scales[0]) * bytes[0], -(__half2float(scales[1]) * bytes[1])};
    }
    const float step = __half2float(scales[0]) * (float)(signed char)bytes[half];
    return {step, -32.0f * step};
}

/// Codes `16 * half + 4 * nth` to `+ 3` of a group, a byte each. `low` is word `nth` of the group's first plane, `high` the
/// word of the second that holds their further bits: the only one (5 bits), word `half` (6 bits), word `nth` (8 bits).
template <int BITS>
__device__ __forceinline__ unsigned four_codes(unsigned low, unsigned high, int nth, int half) {
    const unsigned four = low >> 4 * half & 0x0f0f0f0fu;
    if (BITS == 5) {
        const unsigned bits = high >> (16 * half + 4 * nth) & 15u;
        return four | (bits & 1u) << 4 | (bits & 2u) << 11 | (bits & 4u) << 18 | (bits & 8u) << 25;
    }
    if (BITS == 6) {
        const unsigned bits = high >> 8 * nth & 255u;
        return four | (bits & 3u) << 4 | (bits & 12u) << 10 | (bits & 48u) << 16 | (bits & 192u) << 22;
    }
    if (BITS == 8) {
        return four | (high >> 4 * half & 0x0f0f0f0fu) << 4;
    }
    return four;
}

/// Words of the second plane that a group has.
__device__ __forceinline__ constexpr int high_words(int bits) {
    return bits == 5 ? 1 : bits == 6 ? 2 : bits == 8 ? 4 : 0;
}

/// Calls `work` with the format of a matrix as constants: every format that models come in.
template <class Work>
__device__ __forceinline__ void by_format(const Matrix& matrix, Work work) {
    if (matrix.kind == NESTED) {
        matrix.bits == 4 ? work(Format<4, NESTED>()) : work(Format<5, NESTED>());
    } else if (matrix.kind == HALVED) {
        work(Format<6, HALVED>());
    } else if (matrix.bits == 8) {
        work(Format<8, GRID>());
    } else {
        matrix.bits == 4 ? work(Format<4, GRID>()) : work(Format<5, GRID>());
    }
}
