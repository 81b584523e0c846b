// Eight numbers of a run that a lane takes together: four in a row, and the four that come sixteen later.
//
// In a run of codes of 4 bits these are one word (`page.cuh`), in one of 8 bits two; in half precision there are no runs, and
// they stay in memory until they are wanted. A code leaves its word as a number from 1 up to 2: its bits are those of a
// mantissa already, so that nothing has to be converted, and one multiplication and addition make a number of it
// (`grid_from_one`).
#pragma once

#include "page.cuh"

/// Number `nth` of lane group `g` (0 to 7) is token (or channel) `token_of(g, nth)` of 64.
__device__ __forceinline__ constexpr int token_of(int g, int nth) {
    return 32 * (g / 4) + 4 * (g % 4) + nth % 4 + 16 * (nth / 4);
}

/// A word whose bit `from` comes to stand at bit TO.
template <int TO>
__device__ __forceinline__ unsigned moved(unsigned word, int from) {
    return from > TO ? word >> (from - TO) : word << (TO - from);
}

template <int BITS>
struct Eight {
    unsigned words[BITS / 4];

    /// Code `nth`, c, as 1 + c / 2^BITS.
    __device__ __forceinline__ float from_one(int nth) const {
        const unsigned word = BITS == 4 || nth < 4 ? words[0] : words[BITS / 4 - 1];
        // Where the code begins; the mantissa has 23 bits.
        const int from = BITS == 4 ? 8 * (nth % 4) + 4 * (nth / 4) : 8 * (nth % 4);
        return __int_as_float((int)(moved<23 - BITS>(word, from) & ((1u << BITS) - 1) << (23 - BITS) | 0x3f800000u));
    }
};

/// Keys of one channel, `stride` halves from token to token.
template <>
struct Eight<HALF_BITS> {
    const __half* first;
    int stride;

    /// The half as it is.
    __device__ __forceinline__ float from_one(int nth) const { return __half2float(first[token_of(0, nth) * stride]); }
};

/// Of the run (of 32) at `run`, those of word `word` of four.
template <int BITS>
__device__ __forceinline__ Eight<BITS> eight_of_run(const unsigned char* run, int word) {
    static_assert(BITS != HALF_BITS, "halves have no runs");
    Eight<BITS> eight;
    const unsigned* words = reinterpret_cast<const unsigned*>(run);
#pragma unroll
    for (int nth = 0; nth < BITS / 4; nth++) {
        eight.words[nth] = words[4 * nth + word];
    }
    return eight;
}

/// What turns `from_one` into numbers: factor and summand, the second with `more` added to it.
template <int BITS>
__device__ __forceinline__ float2 grid_from_one(const unsigned char* grids, int nth, float more) {
    if (BITS == HALF_BITS) {
        return make_float2(1.0f, more);
    }
    const Grid grid = grid_at(grids, BITS, nth);
    const float factor = grid.step * (float)(1 << BITS);
    return make_float2(factor, grid.least + more - factor);
}

/// Keys of a channel, tokens `token_of(g, ..)`.
template <int HEAD_DIM, int BITS>
__device__ __forceinline__ Eight<BITS> keys_of(const PageHead<HEAD_DIM>& head, int channel, int g) {
    if constexpr (BITS == HALF_BITS) {
        return {head.key_halves() + token_of(g, 0) * HEAD_DIM + channel, HEAD_DIM};
    } else {
        return eight_of_run<BITS>(head.keys() + (2 * channel + g / 4) * run_bytes(BITS), g % 4);
    }
}
