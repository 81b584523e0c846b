// Attention of few tokens (a question, an answer token by token), split over keys: Flash-Decoding (Dao et al. 2023).
//
// In: queries as the model gives them, the table of pages, which of them to attend to. Out: for each query row and split
// the largest score, the sum of weights relative to it, and the values weighted likewise; `merge` makes one of them.
//
// A block takes one token, one key/value head with up to ROWS of the query heads that share it (so that its codes are
// read once for all of them) and one share of the pages. Scores of one page exist at a time.
//
// grid (splits of this launch, kv_heads * slices, tokens), 128 threads; slices = query heads of a group / ROWS, rounded up.

#include "chosen.cuh"
#include "scores.cuh"
#include "warp.cuh"

struct Decode {
    Queries queries;
    Rotation rotation;
    Chosen chosen;
    /// By page number.
    const Page* pages;
    /// The layer's key bias, `[kv_heads][head_dim]`.
    const float* bias;
    /// `[tokens][query_heads][splits][head_dim]`.
    float* values;
    /// `[tokens][query_heads][splits]`.
    float* largest;
    /// `[tokens][query_heads][splits]`.
    float* sums;
    /// Splits in all, and the first that this launch makes: pages that do not fit the device together come in turns.
    int splits;
    int first_split;
};

template <int HEAD_DIM, int ROWS>
struct DecodeShared {
    ScoreShared<HEAD_DIM, ROWS> scoring;
    Array<float2, PAGE_TOKENS * HEAD_DIM / RUN> value_grids;
    Array<Array<float, ROWS>, PAGE_TOKENS> weights;
    /// What everything summed before is multiplied by, because the largest score has grown.
    Array<float, ROWS> keeps;
};

/// Brings grids and codes of the values to shared memory, where those of the keys were. Ends without a barrier.
template <int HEAD_DIM, int ROWS>
__device__ void stage_values(DecodeShared<HEAD_DIM, ROWS>& shared, const PageHead<HEAD_DIM>& head) {
    constexpr int GRIDS = PAGE_TOKENS * HEAD_DIM / RUN;
    if (head.in_halves()) {
        return;
    }
    stage(shared.scoring.codes, head.values, GRIDS * run_bytes(head.value_bits));
    for (int at = threadIdx.x; at < GRIDS; at += SCORE_THREADS) {
        const Grid grid = grid_at(head.value_grids, head.value_bits, at);
        shared.value_grids[at] = make_float2(grid.step, grid.least);
    }
}

template <int HEAD_DIM, int ROWS>
__device__ void attend_split(const Decode& decode, DecodeShared<HEAD_DIM, ROWS>& shared) {
    constexpr int WARPS = SCORE_THREADS / 32;
    constexpr int ROWS_OF_WARP = (ROWS + WARPS - 1) / WARPS;
    // With 64 channels, two threads share a channel and take turns with the tokens.
    constexpr int STRIDE = SCORE_THREADS / HEAD_DIM;
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int kv_head = blockIdx.y % decode.queries.kv_heads;
    const int first_row = blockIdx.y / decode.queries.kv_heads * ROWS;
    const int token = blockIdx.z;
    const int position = decode.queries.start + token;
    const PageList list(decode.chosen, token, decode.queries.kv_heads, kv_head, position);
    const int first_page = (int)((long long)list.length * blockIdx.x / gridDim.x);
    const int last_page = (int)((long long)list.length * (blockIdx.x + 1) / gridDim.x);
    const float* bias = decode.bias + kv_head * HEAD_DIM;
    const int channel = threadIdx.x % HEAD_DIM;
    const int first_token = threadIdx.x / HEAD_DIM;

    load_queries(shared.scoring, decode.queries, decode.rotation, token, kv_head, first_row);
    // A warp keeps the softmax of its rows in registers, the same in all lanes.
    float largest[ROWS_OF_WARP];
    float sums[ROWS_OF_WARP];
#pragma unroll
    for (int nth = 0; nth < ROWS_OF_WARP; nth++) {
        largest[nth] = -INFINITY;
        sums[nth] = 0.0f;
    }
    float values[ROWS];
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
        values[row] = 0.0f;
    }
    __syncthreads();  // queries are there

    for (int nth_page = first_page; nth_page < last_page; nth_page++) {
        const int page = list.at(nth_page);
        const PageHead<HEAD_DIM> head(decode.pages[page], decode.queries.kv_heads, kv_head);
        const int visible = min(PAGE_TOKENS, position + 1 - page * PAGE_TOKENS);
        score_page(shared.scoring, head, decode.rotation, bias, page);
        __syncthreads();  // scores are there, codes of keys are done with

        stage_values(shared, head);
#pragma unroll
        for (int nth = 0; nth < ROWS_OF_WARP; nth++) {
            const int row = warp + nth * WARPS;
            if (row >= ROWS) {
                break;
            }
            float scores[2];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int key = lane + 32 * half;
                const float score = shared.scoring.scores[0][row][key] + shared.scoring.scores[1][row][key];
                scores[half] = key < visible ? score : -INFINITY;
            }
            const float grown = fmaxf(largest[nth], warp_max(fmaxf(scores[0], scores[1])));
            // Nothing but -infinity so far: weights of 0 and not of NaN.
            const float base = grown == -INFINITY ? 0.0f : grown;
            const float keep = exp2f(largest[nth] - base);
            float sum = 0.0f;
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const float weight = exp2f(scores[half] - base);
                shared.weights[lane + 32 * half][row] = weight;
                sum += weight;
            }
            sums[nth] = sums[nth] * keep + warp_sum(sum);
            largest[nth] = grown;
            if (lane == 0) {
                shared.keeps[row] = keep;
            }
        }
        __syncthreads();  // weights and values are there

#pragma unroll
        for (int row = 0; row < ROWS; row++) {
            values[row] *= shared.keeps[row];
        }
        for (int key = first_token; key < visible; key += STRIDE) {
            float value;
            if (head.in_halves()) {
                value = head.value(channel, key);
            } else {
                const int nth = key * PageHead<HEAD_DIM>::GROUPS + channel / RUN;
                const unsigned char* run = staged_bytes(shared.scoring.codes, nth * run_bytes(head.value_bits));
                const float2 grid = shared.value_grids[nth];
                value = grid.y + code_in_run(run, head.value_bits, channel % RUN) * grid.x;
            }
#pragma unroll
            for (int row = 0; row < ROWS; row++) {
                values[row] += shared.weights[key][row] * value;
            }
        }
        __syncthreads();  // codes, weights and scores are done with
    }

    // Threads that shared a channel add up.
    if (STRIDE > 1) {
#pragma unroll
        for (int row = 0; row < ROWS; row++) {
            shared.scoring.scores[first_token][row][channel % PAGE_TOKENS] = values[row];
        }
        __syncthreads();  // all sums are there
#pragma unroll
        for (int row = 0; row < ROWS; row++) {
            values[row] = shared.scoring.scores[0][row][channel % PAGE_TOKENS] +
                          shared.scoring.scores[1][row][channel % PAGE_TOKENS];
        }
    }
    const int group = group_size(decode.queries);
    const int rows = min(ROWS, group - first_row);
    const size_t first_head = (size_t)token * decode.queries.query_heads + kv_head * group + first_row;
#pragma unroll
    for (int row = 0; row < ROWS; row++) {
        if (row < rows && first_token == 0) {
            const size_t split = (first_head + row) * decode.splits + decode.first_split + blockIdx.x;
            decode.values[split * HEAD_DIM + channel] = values[row];
        }
    }
#pragma unroll
    for (int nth = 0; nth < ROWS_OF_WARP; nth++) {
        const int row = warp + nth * WARPS;
        if (row < rows && lane == 0) {
            const size_t split = (first_head + row) * decode.splits + decode.first_split + blockIdx.x;
            decode.largest[split] = largest[nth];
            decode.sums[split] = sums[nth];
        }
    }
}

// registers <= 96
extern "C" __global__ void __launch_bounds__(SCORE_THREADS, 5) decode_64_4(const Decode decode) {
    __shared__ DecodeShared<64, 4> shared;
    attend_split<64, 4>(decode, shared);
}

// registers <= 96
extern "C" __global__ void __launch_bounds__(SCORE_THREADS, 5) decode_64_8(const Decode decode) {
    __shared__ DecodeShared<64, 8> shared;
    attend_split<64, 8>(decode, shared);
}

// registers <= 96
extern "C" __global__ void __launch_bounds__(SCORE_THREADS, 5) decode_128_4(const Decode decode) {
    __shared__ DecodeShared<128, 4> shared;
    attend_split<128, 4>(decode, shared);
}

// registers <= 96
extern "C" __global__ void __launch_bounds__(SCORE_THREADS, 5) decode_128_8(const Decode decode) {
    __shared__ DecodeShared<128, 8> shared;
    attend_split<128, 8>(decode, shared);
}
