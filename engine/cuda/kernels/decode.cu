// Attention of few tokens (a question, an answer token by token), split over keys: Flash-Decoding (Dao et al. 2023).
//
// In: queries as the model gives them, the table of pages, which of them to attend to. Out: for each query row and split
// the largest score, the sum of weights relative to it, and the values weighted likewise; `merge` makes one of them.
//
// A block takes one token, one key/value head with up to ROWS of the query heads that share it (so that its codes are
// read once for all of them) and one share of the pages, a warp 16 keys of each and 64 channels. While a page is attended to,
// what all warps need of the next is made; each quarter of the keys has a softmax of its own, and only at the end they become
// one.
//
// grid (splits of this launch, kv_heads, tokens), two threads a channel; slices of ROWS query heads are launched one by one.

#include "chosen.cuh"
#include "scores.cuh"
#include "weigh.cuh"

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
    /// First of each group's query heads that the launch takes.
    int first_row;
};

/// What was found of each quarter of the keys.
template <int HEAD_DIM>
struct QuarterResults {
    Array<Array<float, ROWS>, KEY_WARPS> largest;
    Array<Array<float, ROWS>, KEY_WARPS> sums;
    Array<Array<Array<float, HEAD_DIM>, ROWS>, KEY_WARPS> values;
};

template <int HEAD_DIM>
union DecodeShared {
    ScoreShared<HEAD_DIM> scoring;
    /// When the pages are done with.
    QuarterResults<HEAD_DIM> results;
};

/// The largest of a row's numbers, over the lanes that have its other tokens.
__device__ __forceinline__ float max_of_row(float number) {
#pragma unroll
    for (int step = 4; step < 32; step <<= 1) {
        number = fmaxf(number, __shfl_xor_sync(0xffffffffu, number, step));
    }
    return number;
}

template <int HEAD_DIM>
__device__ __forceinline__ void attend_split(const Decode& decode, DecodeShared<HEAD_DIM>& shared) {
    const int kv_head = blockIdx.y;
    const int token = blockIdx.z;
    const int position = decode.queries.start + token;
    const PageList list(decode.chosen, token, decode.queries.kv_heads, kv_head, position);
    const int first_page = (int)((long long)list.length * blockIdx.x / gridDim.x);
    const int last_page = (int)((long long)list.length * (blockIdx.x + 1) / gridDim.x);
    const float* bias = decode.bias + kv_head * HEAD_DIM;
    const auto head_of = [&](int page) {
        return PageHead<HEAD_DIM>(decode.pages[page], decode.queries.kv_heads, kv_head);
    };
    load_rows<HEAD_DIM>(shared.scoring, decode.queries, decode.rotation, token, kv_head, decode.first_row);

    // Of rows 2t and 2t + 1.
    float largest[2] = {-INFINITY, -INFINITY};
    Weighed<HEAD_DIM> weighed;
    weighed.clear();
    // No barrier: each thread makes of a page what it loaded the rows for itself.
    int nth_page = first_page;
    if (nth_page < last_page) {
        const int page = list.at(nth_page);
        stage_page<HEAD_DIM>(shared.scoring, shared.scoring.staged[0], head_of(page), decode.rotation, bias, page);
    }
    int buffer = 0;
    for (; nth_page < last_page; nth_page++) {
        __syncthreads();  // this page is staged, and the one before is done with
        if (nth_page + 1 < last_page) {
            const int next = list.at(nth_page + 1);
            stage_page<HEAD_DIM>(shared.scoring, shared.scoring.staged[1 - buffer], head_of(next), decode.rotation, bias, next);
        }
        const int page = list.at(nth_page);
        const PageHead<HEAD_DIM> head = head_of(page);
        const int visible = min(PAGE_TOKENS, position + 1 - page * PAGE_TOKENS);
        TensorSums scores =
            score_tile<HEAD_DIM>(shared.scoring, shared.scoring.staged[buffer], head, decode.rotation, visible);
        float keeps[2];
#pragma unroll
        for (int row = 0; row < 2; row++) {
            const float grown = fmaxf(largest[row], max_of_row(fmaxf(scores.numbers[row], scores.numbers[2 + row])));
            // Nothing but -infinity so far: weights of 0 and not of NaN.
            const float base = grown == -INFINITY ? 0.0f : grown;
            keeps[row] = exp2f(largest[row] - base);
            scores.numbers[row] = exp2f(scores.numbers[row] - base + power_of(head.value_bits));
            scores.numbers[2 + row] = exp2f(scores.numbers[2 + row] - base + power_of(head.value_bits));
            largest[row] = grown;
        }
        weighed.keep(keeps);
        weighed.add(scores, head, visible);
        buffer ^= 1;
    }

    const int lane = threadIdx.x % 32;
    const int quarter = key_tile();
    __syncthreads();  // the pages are done with
#pragma unroll
    for (int row = 0; row < 2; row++) {
        const int of = 2 * (lane % 4) + row;
        if (lane < 4 && channel_part() == 0) {
            shared.results.largest[quarter][of] = largest[row];
            shared.results.sums[quarter][of] = weighed.sum(row);
        }
        weighed.put(row, [&](int channel, float value) { shared.results.values[quarter][of][channel] = value; });
    }
    __syncthreads();  // what was found of all keys is there
    const int rows = min(ROWS, group_size(decode.queries) - decode.first_row);
    const size_t first_head = (size_t)token * decode.queries.query_heads + kv_head * group_size(decode.queries) + decode.first_row;
    const int channel = threadIdx.x % HEAD_DIM;
    for (int row = threadIdx.x / HEAD_DIM; row < rows; row += SCORE_THREADS<HEAD_DIM> / HEAD_DIM) {
        float grown = -INFINITY;
        for (int of = 0; of < KEY_WARPS; of++) {
            grown = fmaxf(grown, shared.results.largest[of][row]);
        }
        const float base = grown == -INFINITY ? 0.0f : grown;
        float sum = 0.0f;
        float value = 0.0f;
        for (int of = 0; of < KEY_WARPS; of++) {
            const float keep = exp2f(shared.results.largest[of][row] - base);
            sum += shared.results.sums[of][row] * keep;
            value += shared.results.values[of][row][channel] * keep;
        }
        const size_t split = (first_head + row) * decode.splits + decode.first_split + blockIdx.x;
        decode.values[split * HEAD_DIM + channel] = value;
        if (channel == 0) {
            decode.largest[split] = grown;
            decode.sums[split] = sum;
        }
    }
}

// registers <= 96
extern "C" __global__ void __launch_bounds__(128, 5) decode_64(const Decode decode) {
    __shared__ DecodeShared<64> shared;
    attend_split<64>(decode, shared);
}

// Bounds of 256 threads would give 80 registers, too few, or 128.
// threads 256
// registers <= 96
extern "C" __global__ void __launch_bounds__(320, 2) decode_128(const Decode decode) {
    __shared__ DecodeShared<128> shared;
    attend_split<128>(decode, shared);
}
