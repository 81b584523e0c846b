// One page (a block of 64 tokens) of one layer, byte for byte as in the cache's file; see `kv/format` of the engine.
//
// In half precision: keys `[kv_heads][64][head_dim]`, then values likewise. As codes, for each key/value head:
//
//   2 or 4 bytes a channel         its grid
//   8 * key_bits bytes a channel   its 64 keys, two runs of 32
//   2 or 4 a token and group       grid of 32 channels
//   4 * value_bits a token, group  its values, a run
//
// A run of 8 bits is in order; of 4 bits, byte i holds code i below and code 16 + i above. A grid of codes of 8 bits is
// step and least number in half precision; of 4 bits, an offset in half steps, then the step, a half without its sign and
// last bits.
#pragma once

#ifndef CUDA_ON_CPU
#include <cuda_fp16.h>
#endif

constexpr int PAGE_TOKENS = 64;
constexpr int RUN = 32;

/// Bits of a key or value in half precision: such a page has no grids.
constexpr int HALF_BITS = 16;

/// An entry of the table of pages. `bytes` is aligned to 64; null where the page is not on the device, which nobody may
/// then attend to.
struct Page {
    const unsigned char* bytes;
    int key_bits;
    int value_bits;
};

__device__ __forceinline__ int run_bytes(int bits) { return RUN * bits / 8; }

/// Code `nth` of a run.
__device__ __forceinline__ int code_in_run(const unsigned char* run, int bits, int nth) {
    return bits == 8 ? run[nth] : (run[nth & 15] >> ((nth & 16) >> 2)) & 15;
}

/// A grid of evenly spaced levels: code c stands for `least + c * step`.
struct Grid {
    float step;
    float least;
};

__device__ __forceinline__ int grid_bytes(int bits) { return bits == 8 ? 4 : 2; }

/// Offsets of a grid's least number a step.
constexpr float OFFSETS = 2.0f;

__device__ __forceinline__ Grid grid_at(const unsigned char* grids, int bits, int nth) {
    if (bits == 8) {
        const __half* halves = reinterpret_cast<const __half*>(grids) + 2 * nth;
        return {__half2float(halves[0]), __half2float(halves[1])};
    }
    const unsigned grid = reinterpret_cast<const unsigned short*>(grids)[nth];
    const float step = __half2float(__ushort_as_half((unsigned short)(grid >> 8 << 7)));
    return {step, (float)(signed char)(grid & 0xff) * (step / OFFSETS)};
}

/// One key/value head of a page. Where its parts lie is computed where it is asked for: four addresses that are kept are
/// registers that `decode` does not have.
template <int HEAD_DIM>
struct PageHead {
    static constexpr int GROUPS = HEAD_DIM / RUN;

    const unsigned char* bytes;
    int key_bits;
    int value_bits;
    int kv_heads;
    int kv_head;

    __device__ __forceinline__ PageHead(const Page& page, int kv_heads, int kv_head)
        : bytes(page.bytes), key_bits(page.key_bits), value_bits(page.value_bits), kv_heads(kv_heads), kv_head(kv_head) {}

    __device__ __forceinline__ bool in_halves() const { return key_bits == HALF_BITS; }

    /// Of grids and codes of one head.
    __device__ __forceinline__ static int side_bytes(int grids, int bits) {
        return grids * grid_bytes(bits) + PAGE_TOKENS * HEAD_DIM / 8 * bits;
    }

    __device__ __forceinline__ const unsigned char* key_grids() const {
        return bytes + (size_t)kv_head * (side_bytes(HEAD_DIM, key_bits) + side_bytes(PAGE_TOKENS * GROUPS, value_bits));
    }
    __device__ __forceinline__ const unsigned char* keys() const {
        return key_grids() + grid_bytes(key_bits) * HEAD_DIM;
    }
    __device__ __forceinline__ const unsigned char* value_grids() const {
        return key_grids() + side_bytes(HEAD_DIM, key_bits);
    }
    __device__ __forceinline__ const unsigned char* values() const {
        return value_grids() + grid_bytes(value_bits) * PAGE_TOKENS * GROUPS;
    }

    /// `[64][head_dim]`.
    __device__ __forceinline__ const __half* key_halves() const {
        return reinterpret_cast<const __half*>(bytes) + kv_head * PAGE_TOKENS * HEAD_DIM;
    }
    __device__ __forceinline__ const __half* value_halves() const {
        return key_halves() + kv_heads * PAGE_TOKENS * HEAD_DIM;
    }

    /// A key as it was projected: without bias, not turned.
    __device__ __forceinline__ float key(int channel, int token) const {
        if (in_halves()) {
            return __half2float(key_halves()[token * HEAD_DIM + channel]);
        }
        const Grid grid = grid_at(key_grids(), key_bits, channel);
        const unsigned char* run = keys() + (2 * channel + token / RUN) * run_bytes(key_bits);
        return grid.least + code_in_run(run, key_bits, token % RUN) * grid.step;
    }

    __device__ __forceinline__ float value(int channel, int token) const {
        if (in_halves()) {
            return __half2float(value_halves()[token * HEAD_DIM + channel]);
        }
        const int nth = token * GROUPS + channel / RUN;
        const Grid grid = grid_at(value_grids(), value_bits, nth);
        const unsigned char* run = values() + nth * run_bytes(value_bits);
        return grid.least + code_in_run(run, value_bits, channel % RUN) * grid.step;
    }
};
