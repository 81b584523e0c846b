// Decodes pages for `prefill`, once for all rows that will attend to them.
//
// In: pages as in the cache's file. Out: keys with their bias, turned to their positions, and values, as `unpacked.cuh` says.
//
// Why not in `prefill` itself: a chunk of 256 tokens of a model with seven query heads a key/value head is 28 tiles of rows,
// each of which would decode every page anew, which took ten times as long as multiplying.
//
// grid (pages, kv_heads), 128 threads.

#include "rotation.cuh"
#include "unpacked.cuh"

struct Unpack {
    Rotation rotation;
    /// By page number.
    const Page* pages;
    /// The layer's key bias, `[kv_heads][head_dim]`.
    const float* bias;
    /// `[pages][kv_heads]` of keys, then values (`UnpackedSide`).
    uint4* to;
    int kv_heads;
    /// The first page that is decoded.
    int first_page;
    /// One beyond the last token that there is.
    int end;
};

template <int HEAD_DIM>
__device__ __forceinline__ void unpack_page(const Unpack& unpack, UnpackedSide<HEAD_DIM>& shared) {
    constexpr int PAIRS = HEAD_DIM / 2;
    constexpr int PIECES = sizeof(UnpackedSide<HEAD_DIM>) / sizeof(uint4);
    const int page = unpack.first_page + blockIdx.x;
    const int kv_head = blockIdx.y;
    const PageHead<HEAD_DIM> head(unpack.pages[page], unpack.kv_heads, kv_head);
    uint4* to = unpack.to + ((size_t)blockIdx.x * unpack.kv_heads + kv_head) * 2 * PIECES;
    // Behind the last token stands what was left there.
    const int filled = min(PAGE_TOKENS, unpack.end - page * PAGE_TOKENS);
    for (int at = threadIdx.x; at < PAIRS * PAGE_TOKENS; at += TILE_THREADS) {
        const int token = at % PAGE_TOKENS;
        const int pair = at / PAGE_TOKENS;
        const int2 channels = unpack.rotation.channels[pair];
        const float* bias = unpack.bias + kv_head * HEAD_DIM;
        float2 key = make_float2(0.0f, 0.0f);
        if (token < filled) {
            key = make_float2(head.key(channels.x, token) + bias[channels.x],
                              head.key(channels.y, token) + bias[channels.y]);
        }
        const float2 place = unpack.rotation.places[pair * PAGE_TOKENS + token];
        key = turn(turn(key, place), unpack.rotation.pages[(size_t)page * PAIRS + pair]);
        const int word = place_of(token, pair, PAIRS);
        split_halves(key.x, key.y, shared.first[word], shared.second[word]);
    }
    __syncthreads();  // keys are there
    copy_side<HEAD_DIM>(to, reinterpret_cast<const uint4*>(&shared));
    __syncthreads();  // keys are copied
    for (int at = threadIdx.x; at < HEAD_DIM * PAGE_TOKENS / 2; at += TILE_THREADS) {
        const int channel = at % HEAD_DIM;
        const int token = at / HEAD_DIM * 2;
        const float2 value = make_float2(token < filled ? head.value(channel, token) : 0.0f,
                                         token + 1 < filled ? head.value(channel, token + 1) : 0.0f);
        const int word = place_of(channel, token / 2, PAGE_TOKENS / 2);
        split_halves(value.x, value.y, shared.first[word], shared.second[word]);
    }
    __syncthreads();  // values are there
    copy_side<HEAD_DIM>(to + PIECES, reinterpret_cast<const uint4*>(&shared));
}

// registers <= 80
extern "C" __global__ void __launch_bounds__(128, 6) unpack_64(const Unpack unpack) {
    __shared__ UnpackedSide<64> shared;
    unpack_page<64>(unpack, shared);
}

// registers <= 80
extern "C" __global__ void __launch_bounds__(128, 6) unpack_128(const Unpack unpack) {
    __shared__ UnpackedSide<128> shared;
    unpack_page<128>(unpack, shared);
}
