// Attention of many tokens (a chunk that is read), in tiles: FlashAttention (Dao et al. 2022, arXiv 2205.14135) without
// tensor cores.
//
// In: queries as the model gives them and the table of pages. Out: the attended values and, for each row, the largest
// score and the sum of weights. Every token sees all tokens up to itself.
//
// A block takes 32 rows of one key/value head; row t * group + g is token t of the pass and head g of the group. Pages
// come one after the other, 16 pairs of channels at a time: decoded, given their bias and turned to their positions in
// shared memory once for all rows. A thread holds 4 rows by 4 keys of scores and 4 rows by 1/16 of the channels of sums.
//
// grid (tiles, kv_heads), 128 threads.

#include "array.cuh"
#include "page.cuh"
#include "query.cuh"

struct Prefill {
    Queries queries;
    Rotation rotation;
    /// By page number; all are attended to.
    const Page* pages;
    /// The layer's key bias, `[kv_heads][head_dim]`.
    const float* bias;
    /// `[tokens][query_heads][head_dim]`.
    float* attended;
    /// `[tokens][query_heads]`.
    float* row_largest;
    float* row_sums;
    int tokens;
};

constexpr int TILE_THREADS = 128;
constexpr int TILE_ROWS = 32;
/// Pairs of channels of keys, or half as many channels of values, in shared memory at a time.
constexpr int CHUNK_PAIRS = 16;
/// Threads across a row; each takes every 16th key and 2 of 32 channels.
constexpr int ACROSS = 16;
/// Rows of a thread.
constexpr int DEEP = TILE_ROWS / (TILE_THREADS / ACROSS);
constexpr int KEYS_OF_THREAD = PAGE_TOKENS / ACROSS;

template <int HEAD_DIM>
struct PrefillShared {
    Array<Array<float2, TILE_ROWS>, HEAD_DIM / 2> queries;
    /// Keys `[pair][token]`; then values, two channels each, `[token][channels / 2]`.
    Array<float2, CHUNK_PAIRS * PAGE_TOKENS> chunk;
    /// One more than the keys, so that rows fall on different banks.
    Array<Array<float, PAGE_TOKENS + 1>, TILE_ROWS> weights;
};

/// Over the 16 threads of a row.
__device__ __forceinline__ float row_max(float number) {
    for (int step = ACROSS / 2; step > 0; step >>= 1) {
        number = fmaxf(number, __shfl_xor_sync(0xffffffffu, number, step));
    }
    return number;
}

__device__ __forceinline__ float row_sum(float number) {
    for (int step = ACROSS / 2; step > 0; step >>= 1) {
        number += __shfl_xor_sync(0xffffffffu, number, step);
    }
    return number;
}

template <int HEAD_DIM>
__device__ void attend_tile(const Prefill& prefill, PrefillShared<HEAD_DIM>& shared) {
    constexpr int PAIRS = HEAD_DIM / 2;
    constexpr int CHUNKS = HEAD_DIM / 32;
    const int across = threadIdx.x % ACROSS;
    const int first_row = threadIdx.x / ACROSS * DEEP;
    const int kv_head = blockIdx.y;
    const int group = group_size(prefill.queries);
    const int rows = min(TILE_ROWS, prefill.tokens * group - (int)blockIdx.x * TILE_ROWS);
    const int row_of_pass = blockIdx.x * TILE_ROWS;
    // One beyond the last position that any row of the tile sees.
    const int end = prefill.queries.start + (row_of_pass + rows - 1) / group + 1;

    for (int at = threadIdx.x; at < PAIRS * TILE_ROWS; at += TILE_THREADS) {
        const int pair = at / TILE_ROWS;
        const int row = at % TILE_ROWS;
        float2 query = make_float2(0.0f, 0.0f);
        if (row < rows) {
            const int token = (row_of_pass + row) / group;
            const int head = kv_head * group + (row_of_pass + row) % group;
            query = turned_query(prefill.queries, prefill.rotation.channels[pair], PAIRS, pair, token, head);
        }
        shared.queries[pair][row] = query;
    }
    int positions[DEEP];
    float largest[DEEP];
    float sums[DEEP];
    float2 values[DEEP][CHUNKS];
#pragma unroll
    for (int deep = 0; deep < DEEP; deep++) {
        // A row beyond the last sees what the last sees, and is not written.
        positions[deep] = prefill.queries.start + (row_of_pass + min(first_row + deep, rows - 1)) / group;
        largest[deep] = -INFINITY;
        sums[deep] = 0.0f;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
            values[deep][chunk] = make_float2(0.0f, 0.0f);
        }
    }

    for (int page = 0; page * PAGE_TOKENS < end; page++) {
        const PageHead<HEAD_DIM> head(prefill.pages[page], prefill.queries.kv_heads, kv_head);
        // Behind the last token stands what was left there.
        const int filled = min(PAGE_TOKENS, end - page * PAGE_TOKENS);
        float scores[DEEP][KEYS_OF_THREAD];
#pragma unroll
        for (int deep = 0; deep < DEEP; deep++) {
#pragma unroll
            for (int key = 0; key < KEYS_OF_THREAD; key++) {
                scores[deep][key] = 0.0f;
            }
        }
        for (int first_pair = 0; first_pair < PAIRS; first_pair += CHUNK_PAIRS) {
            __syncthreads();  // the chunk before is done with; queries are there
            for (int at = threadIdx.x; at < CHUNK_PAIRS * PAGE_TOKENS; at += TILE_THREADS) {
                const int token = at % PAGE_TOKENS;
                const int pair = first_pair + at / PAGE_TOKENS;
                const int2 channels = prefill.rotation.channels[pair];
                const float* bias = prefill.bias + kv_head * HEAD_DIM;
                const float2 key = make_float2(head.key(channels.x, token) + bias[channels.x],
                                               head.key(channels.y, token) + bias[channels.y]);
                const float2 place = prefill.rotation.places[pair * PAGE_TOKENS + token];
                shared.chunk[at] = turn(turn(key, place), prefill.rotation.pages[(size_t)page * PAIRS + pair]);
            }
            __syncthreads();  // the chunk is there
#pragma unroll 4
            for (int pair = 0; pair < CHUNK_PAIRS; pair++) {
                float2 keys[KEYS_OF_THREAD];
#pragma unroll
                for (int key = 0; key < KEYS_OF_THREAD; key++) {
                    keys[key] = shared.chunk[pair * PAGE_TOKENS + across + key * ACROSS];
                }
#pragma unroll
                for (int deep = 0; deep < DEEP; deep++) {
                    const float2 query = shared.queries[first_pair + pair][first_row + deep];
#pragma unroll
                    for (int key = 0; key < KEYS_OF_THREAD; key++) {
                        scores[deep][key] += query.x * keys[key].x + query.y * keys[key].y;
                    }
                }
            }
        }

#pragma unroll
        for (int deep = 0; deep < DEEP; deep++) {
            const int visible = positions[deep] + 1 - page * PAGE_TOKENS;
            float grown = largest[deep];
#pragma unroll
            for (int key = 0; key < KEYS_OF_THREAD; key++) {
                if (across + key * ACROSS >= visible) {
                    scores[deep][key] = -INFINITY;
                }
                grown = fmaxf(grown, scores[deep][key]);
            }
            grown = row_max(grown);
            // Nothing but -infinity so far: weights of 0 and not of NaN.
            const float base = grown == -INFINITY ? 0.0f : grown;
            const float keep = exp2f(largest[deep] - base);
            float sum = 0.0f;
#pragma unroll
            for (int key = 0; key < KEYS_OF_THREAD; key++) {
                const float weight = exp2f(scores[deep][key] - base);
                shared.weights[first_row + deep][across + key * ACROSS] = weight;
                sum += weight;
            }
            sums[deep] = sums[deep] * keep + row_sum(sum);
            largest[deep] = grown;
#pragma unroll
            for (int chunk = 0; chunk < CHUNKS; chunk++) {
                values[deep][chunk].x *= keep;
                values[deep][chunk].y *= keep;
            }
        }

#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
            __syncthreads();  // the chunk before is done with; weights are there
            for (int at = threadIdx.x; at < CHUNK_PAIRS * PAGE_TOKENS; at += TILE_THREADS) {
                const int token = at / CHUNK_PAIRS;
                const int channel = chunk * 32 + 2 * (at % CHUNK_PAIRS);
                shared.chunk[at] = token < filled
                                       ? make_float2(head.value(channel, token), head.value(channel + 1, token))
                                       : make_float2(0.0f, 0.0f);
            }
            __syncthreads();  // the chunk is there
#pragma unroll 4
            for (int token = 0; token < PAGE_TOKENS; token++) {
                const float2 value = shared.chunk[token * CHUNK_PAIRS + across];
#pragma unroll
                for (int deep = 0; deep < DEEP; deep++) {
                    const float weight = shared.weights[first_row + deep][token];
                    values[deep][chunk].x += weight * value.x;
                    values[deep][chunk].y += weight * value.y;
                }
            }
        }
    }

#pragma unroll
    for (int deep = 0; deep < DEEP; deep++) {
        const int row = first_row + deep;
        if (row >= rows) {
            break;
        }
        const int token = (row_of_pass + row) / group;
        const size_t head = (size_t)token * prefill.queries.query_heads + kv_head * group + (row_of_pass + row) % group;
#pragma unroll
        for (int chunk = 0; chunk < CHUNKS; chunk++) {
            float* attended = prefill.attended + head * HEAD_DIM + chunk * 32 + 2 * across;
            attended[0] = values[deep][chunk].x / sums[deep];
            attended[1] = values[deep][chunk].y / sums[deep];
        }
        if (across == 0) {
            prefill.row_largest[head] = largest[deep];
            prefill.row_sums[head] = sums[deep];
        }
    }
}

// registers <= 128
extern "C" __global__ void __launch_bounds__(TILE_THREADS, 4) prefill_64(const Prefill prefill) {
    __shared__ PrefillShared<64> shared;
    attend_tile<64>(prefill, shared);
}

// registers <= 128
extern "C" __global__ void __launch_bounds__(TILE_THREADS, 4) prefill_128(const Prefill prefill) {
    __shared__ PrefillShared<128> shared;
    attend_tile<128>(prefill, shared);
}
