// How much attention each cached token received, which citations are made from: the probabilities that recorded query
// heads pay, summed over the heads.
//
// In: what `decode` was given, and each row's largest score and sum from `merge`. Out: for each token of the pass and
// cached token a sum, added to what stands there. Scores are computed again, only for heads that are recorded: keeping
// them would take 4 bytes a head and key.
//
// One launch a key/value head, so that no two blocks write to one place and sums come in the same order every time.
// grid (any number, 1, tokens), two threads a channel; slices of ROWS query heads are launched one by one.

#include "chosen.cuh"
#include "scores.cuh"

struct Mass {
    Queries queries;
    Rotation rotation;
    Chosen chosen;
    const Page* pages;
    const float* bias;
    /// `[tokens][query_heads]`.
    const float* row_largest;
    const float* row_sums;
    /// `[tokens][room]`.
    float* masses;
    int room;
    int kv_head;
    /// First of the group's query heads that the launch takes.
    int first_row;
    /// One bit a query head from `first_row` on: whether it is recorded.
    unsigned int recorded;
};

template <int HEAD_DIM>
__device__ __forceinline__ void add_masses(const Mass& mass, ScoreShared<HEAD_DIM>& shared) {
    const int token = blockIdx.z;
    const int position = mass.queries.start + token;
    const int group = group_size(mass.queries);
    const int lane = threadIdx.x % 32;
    const PageList list(mass.chosen, token, mass.queries.kv_heads, mass.kv_head, position);
    const size_t first_head = (size_t)token * mass.queries.query_heads + mass.kv_head * group + mass.first_row;
    const float* bias = mass.bias + mass.kv_head * HEAD_DIM;
    load_rows<HEAD_DIM>(shared, mass.queries, mass.rotation, token, mass.kv_head, mass.first_row);
    // Of rows 2t and 2t + 1; a row that is not recorded weighs nothing.
    float largest[2];
    float part[2];
#pragma unroll
    for (int nth = 0; nth < 2; nth++) {
        const int row = 2 * (lane % 4) + nth;
        const bool is_recorded = mass.recorded >> row & 1;
        largest[nth] = is_recorded ? mass.row_largest[first_head + row] : INFINITY;
        part[nth] = is_recorded ? 1.0f / mass.row_sums[first_head + row] : 0.0f;
    }
    for (int nth_page = blockIdx.x; nth_page < list.length; nth_page += gridDim.x) {
        const int page = list.at(nth_page);
        const PageHead<HEAD_DIM> head(mass.pages[page], mass.queries.kv_heads, mass.kv_head);
        const int first = page * PAGE_TOKENS;
        const int visible = min(PAGE_TOKENS, min(position + 1, mass.room) - first);
        Staged<HEAD_DIM>& staged = shared.staged[nth_page / gridDim.x % 2];
        stage_page<HEAD_DIM>(shared, staged, head, mass.rotation, bias, page);
        // The page before has the other room, and the one before that was done with before this one was reached by all.
        __syncthreads();  // the page is staged
        const TensorSums scores = score_tile<HEAD_DIM>(shared, staged, head, mass.rotation, visible);
#pragma unroll
        for (int nth = 0; nth < 2; nth++) {
            float sum = exp2f(scores.numbers[2 * nth] - largest[0]) * part[0] +
                        exp2f(scores.numbers[2 * nth + 1] - largest[1]) * part[1];
            // Over the four lanes of a token.
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            const int key = token_of(lane / 4, key_tile() * 2 + nth);
            if (lane % 4 == 0 && channel_part() == 0 && key < visible) {
                mass.masses[(size_t)token * mass.room + first + key] += sum;
            }
        }
    }
}

// registers <= 96
extern "C" __global__ void __launch_bounds__(128) mass_64(const Mass mass) {
    __shared__ ScoreShared<64> shared;
    add_masses<64>(mass, shared);
}

// registers <= 96
extern "C" __global__ void __launch_bounds__(256, 3) mass_128(const Mass mass) {
    __shared__ ScoreShared<128> shared;
    add_masses<128>(mass, shared);
}
