// How much attention each cached token received, which citations are made from: the probabilities that recorded query
// heads pay, summed over the heads.
//
// In: what `decode` was given, and each row's largest score and sum from `merge`. Out: for each token of the pass and
// cached token a sum, added to what stands there. Scores are computed again, only for heads that are recorded: keeping
// them would take 4 bytes a head and key.
//
// One launch a key/value head, so that no two blocks write to one place and sums come in the same order every time.
// grid (any number, slices, tokens), 128 threads; slices = query heads of a group / 8, rounded up, launched one by one.

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

constexpr int MASS_ROWS = 8;

template <int HEAD_DIM>
__device__ void add_masses(const Mass& mass, ScoreShared<HEAD_DIM, MASS_ROWS>& shared) {
    const int token = blockIdx.z;
    const int position = mass.queries.start + token;
    const int group = group_size(mass.queries);
    const PageList list(mass.chosen, token, mass.queries.kv_heads, mass.kv_head, position);
    const size_t first_head = (size_t)token * mass.queries.query_heads + mass.kv_head * group + mass.first_row;
    load_queries(shared, mass.queries, mass.rotation, token, mass.kv_head, mass.first_row);
    for (int nth_page = blockIdx.x; nth_page < list.length; nth_page += gridDim.x) {
        const int page = list.at(nth_page);
        const PageHead<HEAD_DIM> head(mass.pages[page], mass.queries.kv_heads, mass.kv_head);
        __syncthreads();  // queries are there, scores of the page before are done with
        score_page(shared, head, mass.rotation, mass.bias + mass.kv_head * HEAD_DIM, page);
        __syncthreads();  // scores are there
        const int key = threadIdx.x;
        const int cached = page * PAGE_TOKENS + key;
        if (key < PAGE_TOKENS && cached <= position && cached < mass.room) {
            float sum = 0.0f;
            for (int row = 0; row < MASS_ROWS; row++) {
                if (mass.recorded >> row & 1) {
                    const float score = shared.scores[0][row][key] + shared.scores[1][row][key];
                    sum += exp2f(score - mass.row_largest[first_head + row]) / mass.row_sums[first_head + row];
                }
            }
            mass.masses[(size_t)token * mass.room + cached] += sum;
        }
    }
}

// registers <= 96
extern "C" __global__ void __launch_bounds__(SCORE_THREADS) mass_64(const Mass mass) {
    __shared__ ScoreShared<64, MASS_ROWS> shared;
    add_masses<64>(mass, shared);
}

// registers <= 96
extern "C" __global__ void __launch_bounds__(SCORE_THREADS) mass_128(const Mass mass) {
    __shared__ ScoreShared<128, MASS_ROWS> shared;
    add_masses<128>(mass, shared);
}
