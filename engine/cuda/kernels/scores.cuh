// Scores of the query rows of one token and key/value head against the 64 keys of a page.
//
// 128 threads. Codes are brought to shared memory in pieces of 16 bytes; then a thread takes one key and every other
// pair of its channels: it turns the pair to its place in the page and multiplies it with all rows, which were turned
// back by the page's first position instead (few rows, many keys).
#pragma once

#include "array.cuh"
#include "page.cuh"
#include "query.cuh"

constexpr int SCORE_THREADS = 128;

template <int HEAD_DIM, int ROWS>
struct ScoreShared {
    /// Rows turned to their position, and then back by the page's first; (first, second) channel of a pair.
    Array<Array<float2, ROWS>, HEAD_DIM / 2> queries;
    Array<Array<float2, ROWS>, HEAD_DIM / 2> turned_back;
    Array<int2, HEAD_DIM / 2> channels;
    /// Step, and least key with the bias added, by channel.
    Array<float2, HEAD_DIM> key_grids;
    /// Codes of the keys, later of the values.
    Array<uint4, 4 * HEAD_DIM> codes;
    /// Over even pairs and over odd ones.
    Array<Array<Array<float, PAGE_TOKENS>, ROWS>, 2> scores;
};

/// Loads rows `first_row ..` of the head's group; rows beyond the group are zeros. Ends without a barrier.
template <int HEAD_DIM, int ROWS>
__device__ void load_queries(ScoreShared<HEAD_DIM, ROWS>& shared, const Queries& queries, const Rotation& rotation,
                             int token, int kv_head, int first_row) {
    constexpr int PAIRS = HEAD_DIM / 2;
    const int group = group_size(queries);
    for (int pair = threadIdx.x; pair < PAIRS; pair += SCORE_THREADS) {
        shared.channels[pair] = rotation.channels[pair];
    }
    for (int at = threadIdx.x; at < PAIRS * ROWS; at += SCORE_THREADS) {
        const int pair = at / ROWS;
        const int row = at % ROWS;
        float2 query = make_float2(0.0f, 0.0f);
        if (first_row + row < group) {
            const int head = kv_head * group + first_row + row;
            query = turned_query(queries, rotation.channels[pair], PAIRS, pair, token, head);
        }
        shared.queries[pair][row] = query;
    }
}

/// Copies whole pieces of 16 bytes.
template <int PIECES>
__device__ __forceinline__ void stage(Array<uint4, PIECES>& staged, const unsigned char* bytes, int length) {
    const uint4* pieces = reinterpret_cast<const uint4*>(bytes);
    for (int at = threadIdx.x; at < length / 16; at += SCORE_THREADS) {
        staged[at] = pieces[at];
    }
}

/// A byte of what was staged.
template <int PIECES>
__device__ __forceinline__ const unsigned char* staged_bytes(Array<uint4, PIECES>& staged, int offset) {
    CHECK_INDEX(offset, 16 * PIECES);
    return reinterpret_cast<const unsigned char*>(staged.items) + offset;
}

/// Fills `shared.scores`. Needs a barrier before it is read, and one before the next call.
template <int HEAD_DIM, int ROWS>
__device__ void score_page(ScoreShared<HEAD_DIM, ROWS>& shared, const PageHead<HEAD_DIM>& head,
                           const Rotation& rotation, const float* bias, int page) {
    constexpr int PAIRS = HEAD_DIM / 2;
    for (int at = threadIdx.x; at < PAIRS * ROWS; at += SCORE_THREADS) {
        const int pair = at / ROWS;
        const int row = at % ROWS;
        const float2 angle = rotation.pages[(size_t)page * PAIRS + pair];
        shared.turned_back[pair][row] = turn_back(shared.queries[pair][row], angle);
    }
    if (!head.in_halves()) {
        stage(shared.codes, head.keys, 2 * run_bytes(head.key_bits) * HEAD_DIM);
    }
    for (int channel = threadIdx.x; channel < HEAD_DIM; channel += SCORE_THREADS) {
        const Grid grid = head.in_halves() ? Grid{1.0f, 0.0f} : grid_at(head.key_grids, head.key_bits, channel);
        shared.key_grids[channel] = make_float2(grid.step, grid.least + bias[channel]);
    }
    __syncthreads();  // codes, grids and queries are there

    const int token = threadIdx.x % PAGE_TOKENS;
    const int parity = threadIdx.x / PAGE_TOKENS;
    const int channel_bytes = 2 * run_bytes(head.key_bits);
    const int run_offset = token / RUN * run_bytes(head.key_bits);
    float sums[ROWS];
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
        sums[row] = 0.0f;
    }
#pragma unroll 2
    for (int pair = parity; pair < PAIRS; pair += 2) {
        const int2 channels = shared.channels[pair];
        float2 key;
        if (head.in_halves()) {
            key = make_float2(head.key(channels.x, token), head.key(channels.y, token));
        } else {
            const unsigned char* first = staged_bytes(shared.codes, channels.x * channel_bytes + run_offset);
            const unsigned char* second = staged_bytes(shared.codes, channels.y * channel_bytes + run_offset);
            key = make_float2(code_in_run(first, head.key_bits, token % RUN),
                              code_in_run(second, head.key_bits, token % RUN));
        }
        const float2 first_grid = shared.key_grids[channels.x];
        const float2 second_grid = shared.key_grids[channels.y];
        key.x = key.x * first_grid.x + first_grid.y;
        key.y = key.y * second_grid.x + second_grid.y;
        key = turn(key, rotation.places[pair * PAGE_TOKENS + token]);
#pragma unroll
        for (int row = 0; row < ROWS; row++) {
            const float2 query = shared.turned_back[pair][row];
            sums[row] += query.x * key.x + query.y * key.y;
        }
    }
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
        shared.scores[parity][row][token] = sums[row];
    }
}
