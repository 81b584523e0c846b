// Scores of up to eight query rows of one token and key/value head against the keys of a page, on tensor cores: a warp takes
// a quarter of the keys and 64 of their channels, a block all of them.
//
// The left side of a product is keys, decoded and turned to their place in the page on their way from memory to registers;
// the right one is the rows, turned to their position and then back by the page's first instead (few rows, many keys). As
// in `unpacked.cuh` every number is two halves and every product three.
//
// A run of codes of 4 bits has eight tokens in each word, so a lane takes eight tokens whose codes are one word: lane
// 4 * g + t those of `token_of`, channels of pairs t, t + 4, ... Products are of 16 keys, which are tokens 2m and 2m + 1 of
// all lanes for warps m and 4 + m, by 4 pairs: more at a time would not leave registers for what is summed meanwhile. Which
// keys stand together does not matter to a softmax.
#pragma once

#include "array.cuh"
#include "eight.cuh"
#include "page.cuh"
#include "query.cuh"
#include "unpacked.cuh"

/// Warps that share the keys of a page, 16 each, and channels that a warp takes.
constexpr int KEY_WARPS = PAGE_TOKENS / 16;
constexpr int WARP_CHANNELS = 64;
template <int HEAD_DIM>
constexpr int SCORE_THREADS = 32 * KEY_WARPS * (HEAD_DIM / WARP_CHANNELS);

/// Which keys this warp takes, and which channels.
__device__ __forceinline__ int key_tile() { return threadIdx.x / 32 % KEY_WARPS; }
__device__ __forceinline__ int channel_part() { return threadIdx.x / 32 / KEY_WARPS; }

/// Query heads of a group that are taken together.
constexpr int ROWS = 8;

/// Two words of halves: what numbers round to, and what that leaves out.
struct alignas(8) Split {
    unsigned first;
    unsigned rest;
};

/// How codes of both channels of a pair become keys: factors and summands (`grid_from_one`).
struct alignas(16) PairGrid {
    float2 first;
    float2 second;
};

/// What all warps need of a page.
template <int HEAD_DIM>
struct Staged {
    /// The right side, by four pairs and lane.
    Array<Split, HEAD_DIM / 8 * 32> right;
    Array<PairGrid, HEAD_DIM / 2> grids;
};

template <int HEAD_DIM>
struct ScoreShared {
    /// Rows turned to their position, by four pairs and lane: pair 4 * i + lane % 4 of row lane / 4.
    Array<float2, HEAD_DIM / 8 * 32> rows;
    Array<int2, HEAD_DIM / 2> channels;
    /// Of this page and of the next.
    Array<Staged<HEAD_DIM>, 2> staged;
    /// Of each lane of each warp, where several warps have the same keys.
    Array<TensorSums, HEAD_DIM / WARP_CHANNELS == 1 ? 1 : SCORE_THREADS<HEAD_DIM>> parts;
};

/// Loads rows `first_row ..` of the head's group; rows beyond the group are zeros. Ends without a barrier: each thread loads what
/// it needs in `stage_page`.
template <int HEAD_DIM>
__device__ __forceinline__ void load_rows(ScoreShared<HEAD_DIM>& shared, const Queries& queries, const Rotation& rotation,
                                          int token, int kv_head, int first_row) {
    constexpr int PAIRS = HEAD_DIM / 2;
    const int group = group_size(queries);
    for (int pair = threadIdx.x; pair < PAIRS; pair += SCORE_THREADS<HEAD_DIM>) {
        shared.channels[pair] = rotation.channels[pair];
    }
    const int row = threadIdx.x % 32 / 4;
    for (int at = threadIdx.x; at < PAIRS * ROWS; at += SCORE_THREADS<HEAD_DIM>) {
        const int pair = at / 32 * 4 + at % 4;
        float2 query = make_float2(0.0f, 0.0f);
        if (first_row + row < group) {
            const int head = kv_head * group + first_row + row;
            query = turned_query(queries, rotation.channels[pair], PAIRS, pair, token, head);
        }
        shared.rows[at] = query;
    }
}

/// Puts into `staged` what `score_tile` needs of a page, by all threads of a block. Needs rows and channels; ends without a
/// barrier.
template <int HEAD_DIM>
__device__ __forceinline__ void stage_page(ScoreShared<HEAD_DIM>& shared, Staged<HEAD_DIM>& staged,
                                           const PageHead<HEAD_DIM>& head, const Rotation& rotation, const float* bias,
                                           int page) {
    constexpr int PAIRS = HEAD_DIM / 2;
    const float2* angles = rotation.pages + (size_t)page * PAIRS;
#pragma unroll
    for (int nth = 0; nth < PAIRS * ROWS / SCORE_THREADS<HEAD_DIM>; nth++) {
        const int at = nth * SCORE_THREADS<HEAD_DIM> + threadIdx.x;
        const float2 query = turn_back(shared.rows[at], angles[at / 32 * 4 + at % 4]);
        Split split;
        split_halves(query.x, query.y, split.first, split.rest);
        staged.right[at] = split;
    }
    for (int pair = threadIdx.x; pair < PAIRS; pair += SCORE_THREADS<HEAD_DIM>) {
        const int2 channels = shared.channels[pair];
        float2 grids[2] = {{1.0f, bias[channels.x]}, {1.0f, bias[channels.y]}};
        if (head.key_bits == 4) {
            grids[0] = grid_from_one<4>(head.key_grids(), channels.x, grids[0].y);
            grids[1] = grid_from_one<4>(head.key_grids(), channels.y, grids[1].y);
        } else if (head.key_bits == 8) {
            grids[0] = grid_from_one<8>(head.key_grids(), channels.x, grids[0].y);
            grids[1] = grid_from_one<8>(head.key_grids(), channels.y, grids[1].y);
        }
        staged.grids[pair] = {grids[0], grids[1]};
    }
}

/// The scores that codes of BITS give.
template <int HEAD_DIM, int BITS>
__device__ __forceinline__ void add_scores(TensorSums& scores, ScoreShared<HEAD_DIM>& shared, Staged<HEAD_DIM>& staged,
                                           const PageHead<HEAD_DIM>& head, const Rotation& rotation) {
    const int lane = threadIdx.x % 32;
    const int tile = key_tile();
    const float2* places = rotation.lanes + 2 * tile * 32 + lane;
    constexpr int QUADS = WARP_CHANNELS / 8;
#pragma unroll 2
    for (int nth = 0; nth < QUADS; nth++) {
        const int quad = channel_part() * QUADS + nth;
        const int pair = 4 * quad + lane % 4;
        const int2 channels = shared.channels[pair];
        const PairGrid grid = staged.grids[pair];
        const Split right = staged.right[32 * quad + lane];
        const Eight<BITS> first = keys_of<HEAD_DIM, BITS>(head, channels.x, lane / 4);
        const Eight<BITS> second = keys_of<HEAD_DIM, BITS>(head, channels.y, lane / 4);
        LeftHalf left;
        LeftHalf left_rest;
#pragma unroll
        for (int word = 0; word < 2; word++) {
            const float2 plain = make_float2(first.from_one(2 * tile + word) * grid.first.x + grid.first.y,
                                             second.from_one(2 * tile + word) * grid.second.x + grid.second.y);
            const float2 key = turn(plain, places[(8 * quad + word) * 32]);
            split_halves(key.x, key.y, left.words[word], left_rest.words[word]);
        }
        multiply_add(scores, left, right.first);
        multiply_add(scores, left_rest, right.first);
        multiply_add(scores, left, right.rest);
    }
}

/// Scores of a warp's keys of a page that was staged, by a whole block: of this lane's tokens 2m (numbers 0 and 1) and 2m + 1
/// (2 and 3), rows 2t and 2t + 1. Of tokens from `visible` on they are -infinity. With more than 64 channels it has a barrier.
template <int HEAD_DIM>
__device__ __forceinline__ TensorSums score_tile(ScoreShared<HEAD_DIM>& shared, Staged<HEAD_DIM>& staged,
                                                 const PageHead<HEAD_DIM>& head, const Rotation& rotation, int visible) {
    TensorSums scores = {{0.0f, 0.0f, 0.0f, 0.0f}};
    if (head.key_bits == 4) {
        add_scores<HEAD_DIM, 4>(scores, shared, staged, head, rotation);
    } else if (head.key_bits == 8) {
        add_scores<HEAD_DIM, 8>(scores, shared, staged, head, rotation);
    } else {
        add_scores<HEAD_DIM, HALF_BITS>(scores, shared, staged, head, rotation);
    }
    if (HEAD_DIM > WARP_CHANNELS) {
        shared.parts[threadIdx.x] = scores;
        __syncthreads();  // scores of all channels are there
        const TensorSums other = shared.parts[threadIdx.x ^ 32 * KEY_WARPS];
#pragma unroll
        for (int nth = 0; nth < 4; nth++) {
            scores.numbers[nth] += other.numbers[nth];
        }
    }
#pragma unroll
    for (int nth = 0; nth < 4; nth++) {
        if (token_of(threadIdx.x % 32 / 4, key_tile() * 2 + nth / 2) >= visible) {
            scores.numbers[nth] = -INFINITY;
        }
    }
    return scores;
}
