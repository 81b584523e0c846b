// Attention of many tokens (a chunk that is read), in tiles on tensor cores: FlashAttention-2 (Dao 2023, arXiv 2307.08691).
//
// In: queries as the model gives them and pages that `unpack` decoded. Out: for each row and split the largest score, the sum
// of weights and the weighted values, as `decode` leaves them for `merge`. Every token sees all tokens up to itself. Pages
// come in runs of as many as were decoded: a later run goes on with what the run before left.
//
// A block takes 64 rows of one key/value head, 16 a warp; row t * group + g is token t of the pass and head g of the group.
// Pages come one after the other: keys to shared memory, then values in their place. Queries, scores and sums stay in
// registers, since what comes out of one product is laid out as the next one wants its left side (`tensor.cuh`).
//
// grid (tiles, kv_heads, splits), 128 threads.

#include "query.cuh"
#include "unpacked.cuh"

struct Prefill {
    Queries queries;
    Rotation rotation;
    /// `[pages][kv_heads]` of keys, then values (`UnpackedSide`).
    const uint4* unpacked;
    /// `[tokens][query_heads][splits][head_dim]`.
    float* values;
    /// `[tokens][query_heads][splits]`.
    float* largest;
    float* sums;
    int tokens;
    /// The first page that is decoded, and how many are.
    int first_page;
    int pages;
    /// Whether there is something from an earlier run.
    int goes_on;
};

constexpr int TILE_ROWS = 64;
constexpr int WARP_ROWS = 16;

/// Over the four lanes of a row.
__device__ __forceinline__ float row_max(float number) {
    number = fmaxf(number, __shfl_xor_sync(0xffffffffu, number, 1));
    return fmaxf(number, __shfl_xor_sync(0xffffffffu, number, 2));
}

__device__ __forceinline__ float row_sum(float number) {
    number += __shfl_xor_sync(0xffffffffu, number, 1);
    return number + __shfl_xor_sync(0xffffffffu, number, 2);
}

/// Adds the product of two sides, each in two halves.
template <int HEAD_DIM>
__device__ __forceinline__ void multiply_add_split(TensorSums& sums, const LeftWords& left, const LeftWords& left_rest,
                                                   UnpackedSide<HEAD_DIM>& shared, int row, int word, int words) {
    RightWords right;
    RightWords right_rest;
#pragma unroll
    for (int nth = 0; nth < 2; nth++) {
        const int place = place_of(row, word + 4 * nth, words);
        right.words[nth] = shared.first[place];
        right_rest.words[nth] = shared.second[place];
    }
    multiply_add(sums, left, right);
    multiply_add(sums, left_rest, right);
    multiply_add(sums, left, right_rest);
}

template <int HEAD_DIM>
__device__ __forceinline__ void attend_tile(const Prefill& prefill, UnpackedSide<HEAD_DIM>& shared) {
    constexpr int PAIRS = HEAD_DIM / 2;
    /// Products of 16 columns each: of a query, and of a page's weights.
    constexpr int QUERY_STEPS = HEAD_DIM / 16;
    constexpr int KEY_STEPS = PAGE_TOKENS / 16;
    /// Tiles of 8 keys, and of 8 channels.
    constexpr int KEY_TILES = PAGE_TOKENS / 8;
    constexpr int CHANNEL_TILES = HEAD_DIM / 8;
    const int lane = threadIdx.x % 32;
    const int g = lane / 4;
    const int t = lane % 4;
    const int kv_head = blockIdx.y;
    const int group = group_size(prefill.queries);
    const int row_of_pass = blockIdx.x * TILE_ROWS;
    const int rows = min(TILE_ROWS, prefill.tokens * group - row_of_pass);
    // One beyond the last position that any row of the tile sees.
    const int end = prefill.queries.start + (row_of_pass + rows - 1) / group + 1;

    // This lane's two rows. One beyond the last is the last, and is not written.
    int own_rows[2];
    int positions[2];
#pragma unroll
    for (int nth = 0; nth < 2; nth++) {
        own_rows[nth] = threadIdx.x / 32 * WARP_ROWS + g + 8 * nth;
        positions[nth] = prefill.queries.start + (row_of_pass + min(own_rows[nth], rows - 1)) / group;
    }
    LeftWords queries[QUERY_STEPS];
    LeftWords queries_rest[QUERY_STEPS];
#pragma unroll
    for (int step = 0; step < QUERY_STEPS; step++) {
#pragma unroll
        for (int word = 0; word < 4; word++) {
            const int row = row_of_pass + min(own_rows[word % 2], rows - 1);
            const int pair = 8 * step + t + 4 * (word / 2);
            const float2 query = turned_query(prefill.queries, prefill.rotation.channels[pair], PAIRS, pair,
                                              row / group, kv_head * group + row % group);
            split_halves(query.x, query.y, queries[step].words[word], queries_rest[step].words[word]);
        }
    }
    const float unit = exp2f(-LARGEST_POWER);
    float largest[2];
    float sums[2];
    TensorSums values[CHANNEL_TILES];
#pragma unroll
    for (int nth = 0; nth < 2; nth++) {
        const int row = row_of_pass + min(own_rows[nth], rows - 1);
        const size_t head = (size_t)(row / group) * prefill.queries.query_heads + kv_head * group + row % group;
        const size_t split = head * gridDim.z + blockIdx.z;
        largest[nth] = prefill.goes_on ? prefill.largest[split] : -INFINITY;
        sums[nth] = prefill.goes_on ? prefill.sums[split] / unit : 0.0f;
#pragma unroll
        for (int tile = 0; tile < CHANNEL_TILES; tile++) {
            const float* from = prefill.values + split * HEAD_DIM + 8 * tile + 2 * t;
            values[tile].numbers[2 * nth] = prefill.goes_on ? from[0] / unit : 0.0f;
            values[tile].numbers[2 * nth + 1] = prefill.goes_on ? from[1] / unit : 0.0f;
        }
    }
    __syncthreads();  // what an earlier run left is read, also by lanes of another row that stand in for one beyond the last

    // Of the pages that are decoded those that a row of the tile sees, and of them this split's share.
    const int seen = min((end + PAGE_TOKENS - 1) / PAGE_TOKENS - prefill.first_page, prefill.pages);
    const int share = (prefill.pages + gridDim.z - 1) / gridDim.z;
    const int last = min(seen, (int)(blockIdx.z + 1) * share);
    constexpr int PIECES = sizeof(UnpackedSide<HEAD_DIM>) / sizeof(uint4);
    for (int nth = blockIdx.z * share; nth < last; nth++) {
        const int page = prefill.first_page + nth;
        const uint4* unpacked =
            prefill.unpacked + ((size_t)nth * prefill.queries.kv_heads + kv_head) * 2 * PIECES;
        __syncthreads();  // the values before are done with
        copy_side<HEAD_DIM>(reinterpret_cast<uint4*>(&shared), unpacked);
        __syncthreads();  // keys are there
        TensorSums scores[KEY_TILES];
#pragma unroll
        for (int tile = 0; tile < KEY_TILES; tile++) {
            scores[tile] = {{0.0f, 0.0f, 0.0f, 0.0f}};
#pragma unroll
            for (int step = 0; step < QUERY_STEPS; step++) {
                multiply_add_split(scores[tile], queries[step], queries_rest[step], shared, 8 * tile + g, 8 * step + t,
                                   PAIRS);
            }
        }

#pragma unroll
        for (int nth = 0; nth < 2; nth++) {
            const int visible = positions[nth] + 1 - page * PAGE_TOKENS;
            float grown = largest[nth];
#pragma unroll
            for (int tile = 0; tile < KEY_TILES; tile++) {
#pragma unroll
                for (int column = 0; column < 2; column++) {
                    float& score = scores[tile].numbers[2 * nth + column];
                    if (8 * tile + 2 * t + column >= visible) {
                        score = -INFINITY;
                    }
                    grown = fmaxf(grown, score);
                }
            }
            grown = row_max(grown);
            // Nothing but -infinity so far: weights of 0 and not of NaN.
            const float base = grown == -INFINITY ? 0.0f : grown;
            const float keep = exp2f(largest[nth] - base);
            float sum = 0.0f;
#pragma unroll
            for (int tile = 0; tile < KEY_TILES; tile++) {
#pragma unroll
                for (int column = 0; column < 2; column++) {
                    float& score = scores[tile].numbers[2 * nth + column];
                    score = exp2f(score - base + LARGEST_POWER);
                    sum += score;
                }
            }
            sums[nth] = sums[nth] * keep + row_sum(sum);
            largest[nth] = grown;
#pragma unroll
            for (int tile = 0; tile < CHANNEL_TILES; tile++) {
                values[tile].numbers[2 * nth] *= keep;
                values[tile].numbers[2 * nth + 1] *= keep;
            }
        }

        __syncthreads();  // the keys are done with
        copy_side<HEAD_DIM>(reinterpret_cast<uint4*>(&shared), unpacked + PIECES);
        __syncthreads();  // values are there
#pragma unroll
        for (int step = 0; step < KEY_STEPS; step++) {
            LeftWords weights;
            LeftWords weights_rest;
#pragma unroll
            for (int word = 0; word < 4; word++) {
                const TensorSums& from = scores[2 * step + word / 2];
                split_halves(from.numbers[2 * (word % 2)], from.numbers[2 * (word % 2) + 1], weights.words[word],
                             weights_rest.words[word]);
            }
#pragma unroll
            for (int tile = 0; tile < CHANNEL_TILES; tile++) {
                multiply_add_split(values[tile], weights, weights_rest, shared, 8 * tile + g, 8 * step + t,
                                   PAGE_TOKENS / 2);
            }
        }
    }

#pragma unroll
    for (int nth = 0; nth < 2; nth++) {
        if (own_rows[nth] >= rows) {
            continue;
        }
        const int row = row_of_pass + own_rows[nth];
        const size_t head = (size_t)(row / group) * prefill.queries.query_heads + kv_head * group + row % group;
        const size_t split = head * gridDim.z + blockIdx.z;
#pragma unroll
        for (int tile = 0; tile < CHANNEL_TILES; tile++) {
            float* to = prefill.values + split * HEAD_DIM + 8 * tile + 2 * t;
            to[0] = values[tile].numbers[2 * nth] * unit;
            to[1] = values[tile].numbers[2 * nth + 1] * unit;
        }
        if (t == 0) {
            prefill.largest[split] = largest[nth];
            prefill.sums[split] = sums[nth] * unit;
        }
    }
}

// registers <= 255
extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2) prefill_64(const Prefill prefill) {
    __shared__ UnpackedSide<64> shared;
    attend_tile<64>(prefill, shared);
}

// registers <= 255
extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2) prefill_128(const Prefill prefill) {
    __shared__ UnpackedSide<128> shared;
    attend_tile<128>(prefill, shared);
}
