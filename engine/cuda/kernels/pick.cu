// From estimates to pages: the first, the last four, and as many of the best others as the budget leaves, in order.
//
// In: estimates of `scan`. Out: `Chosen` lists. Each row's estimates are made shares of its attention first, so that no
// row's scale outweighs another's; a page is worth the sum of its shares (the query heads of a group load the same
// codes). Of equal pages the later one is taken.
//
// The best are found by their worth's bits, eight at a time from the highest (radix selection: Alabi et al. 2012); four
// passes over the pages whatever the budget.
// grid (kv_heads, tokens), 256 threads.

#include "array.cuh"
#include "warp.cuh"

struct Pick {
    /// `[tokens][query_heads][pages]`.
    const float* estimates;
    /// Scratch, `[tokens][kv_heads][pages]`.
    float* worth;
    /// `[tokens][kv_heads][room]`.
    int* chosen;
    /// `[tokens][kv_heads]`.
    int* counts;
    int pages;
    int query_heads;
    /// Pages to attend to.
    int budget;
    int room;
};

constexpr int SINK_PAGES = 1;
constexpr int WINDOW_PAGES = 4;
constexpr int PICK_THREADS = 256;
constexpr int PICK_WARPS = PICK_THREADS / 32;

struct PickShared {
    Array<float, PICK_WARPS> partial;
    Array<int, 256> counts;
    Array<int, PICK_WARPS> chosen_before;
    Array<int, PICK_WARPS> ties_before;
    /// Bits of the worth that separates chosen from not chosen, as far as they are known; how many of the pages that
    /// have just these bits are to be chosen; how many there are.
    int threshold;
    int wanted;
    int ties;
    int chosen;
    int ties_seen;
};

/// Over all threads of the block; `shared` is done with when it returns.
__device__ float block_max(PickShared& shared, float number) {
    number = warp_max(number);
    if (threadIdx.x % 32 == 0) {
        shared.partial[threadIdx.x / 32] = number;
    }
    __syncthreads();  // every warp's is there
    for (int warp = 0; warp < PICK_WARPS; warp++) {
        number = fmaxf(number, shared.partial[warp]);
    }
    __syncthreads();  // all have read
    return number;
}

__device__ float block_sum(PickShared& shared, float number) {
    number = warp_sum(number);
    if (threadIdx.x % 32 == 0) {
        shared.partial[threadIdx.x / 32] = number;
    }
    __syncthreads();  // every warp's is there
    float sum = 0.0f;
    for (int warp = 0; warp < PICK_WARPS; warp++) {
        sum += shared.partial[warp];
    }
    __syncthreads();  // all have read
    return sum;
}

__device__ __forceinline__ bool always(int page, int pages) {
    return page < SINK_PAGES || page >= pages - WINDOW_PAGES;
}

/// A worth as a number that orders likewise; at least 0, so its bits do.
__device__ __forceinline__ int bits_of(float worth) { return __float_as_int(worth); }

/// Narrows `threshold` to the bits of the `wanted`th best worth.
__device__ void find_threshold(const Pick& pick, PickShared& shared, const float* worth) {
    for (int shift = 24; shift >= 0; shift -= 8) {
        shared.counts[threadIdx.x] = 0;
        __syncthreads();  // counts are 0, the threshold so far is known
        const int known = shift == 24 ? 0 : (int)(~0u << (shift + 8));
        for (int page = threadIdx.x; page < pick.pages; page += PICK_THREADS) {
            const int bits = bits_of(worth[page]);
            if (!always(page, pick.pages) && (bits & known) == shared.threshold) {
                atomicAdd(&shared.counts[bits >> shift & 255], 1);
            }
        }
        __syncthreads();  // all are counted
        if (threadIdx.x == 0) {
            int digit = 255;
            while (shared.counts[digit] < shared.wanted) {
                shared.wanted -= shared.counts[digit];
                digit--;
            }
            shared.threshold |= digit << shift;
            shared.ties = shared.counts[digit];
        }
        __syncthreads();  // the digit is known
    }
}

// registers <= 64
extern "C" __global__ void __launch_bounds__(PICK_THREADS) pick(const Pick pick) {
    __shared__ PickShared shared;
    const int kv_head = blockIdx.x;
    const int kv_heads = gridDim.x;
    const int token = blockIdx.y;
    const int group = pick.query_heads / kv_heads;
    const size_t nth = (size_t)token * kv_heads + kv_head;
    float* worth = pick.worth + nth * pick.pages;
    const float* first_row = pick.estimates + ((size_t)token * pick.query_heads + kv_head * group) * pick.pages;

    for (int row = 0; row < group; row++) {
        const float* estimates = first_row + (size_t)row * pick.pages;
        float largest = -INFINITY;
        for (int page = threadIdx.x; page < pick.pages; page += PICK_THREADS) {
            largest = fmaxf(largest, estimates[page]);
        }
        largest = block_max(shared, largest);
        float sum = 0.0f;
        for (int page = threadIdx.x; page < pick.pages; page += PICK_THREADS) {
            sum += exp2f(estimates[page] - largest);
        }
        const float share = 1.0f / block_sum(shared, sum);
        for (int page = threadIdx.x; page < pick.pages; page += PICK_THREADS) {
            const float weight = exp2f(estimates[page] - largest) * share;
            worth[page] = row == 0 ? weight : worth[page] + weight;
        }
    }

    const int others = max(pick.pages - SINK_PAGES - WINDOW_PAGES, 0);
    const int wanted = min(max(pick.budget - (pick.pages - others), 0), others);
    if (threadIdx.x == 0) {
        shared.threshold = 0;
        shared.wanted = wanted;
        shared.ties = 0;
        shared.chosen = 0;
        shared.ties_seen = 0;
    }
    __syncthreads();  // worths of all pages and the start of the search are there
    if (wanted > 0) {
        find_threshold(pick, shared, worth);
    }
    // Of the ties the first `ties - wanted` are left out.
    const int left_out = shared.ties - shared.wanted;
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    int* chosen = pick.chosen + nth * pick.room;
    for (int first = 0; first < pick.pages; first += PICK_THREADS) {
        const int page = first + threadIdx.x;
        const bool there = page < pick.pages;
        const bool kept = there && always(page, pick.pages);
        const int bits = there && !kept && wanted > 0 ? bits_of(worth[page]) : -1;
        const bool tie = bits >= 0 && bits == shared.threshold;
        const unsigned int ties = __ballot_sync(ALL_LANES, tie);
        if (lane == 0) {
            shared.ties_before[warp] = __popc(ties);
        }
        __syncthreads();  // ties of every warp are counted
        int tie_number = shared.ties_seen + __popc(ties & ((1u << lane) - 1));
        for (int before = 0; before < warp; before++) {
            tie_number += shared.ties_before[before];
        }
        const bool taken = kept || (bits >= 0 && bits > shared.threshold) || (tie && tie_number >= left_out);
        const unsigned int takers = __ballot_sync(ALL_LANES, taken);
        if (lane == 0) {
            shared.chosen_before[warp] = __popc(takers);
        }
        __syncthreads();  // takers of every warp are counted
        int place = shared.chosen + __popc(takers & ((1u << lane) - 1));
        for (int before = 0; before < warp; before++) {
            place += shared.chosen_before[before];
        }
        if (taken) {
            chosen[place] = page;
        }
        __syncthreads();  // all have read the totals
        if (threadIdx.x == 0) {
            for (int every = 0; every < PICK_WARPS; every++) {
                shared.chosen += shared.chosen_before[every];
                shared.ties_seen += shared.ties_before[every];
            }
        }
        __syncthreads();  // the totals are there
    }
    if (threadIdx.x == 0) {
        pick.counts[nth] = shared.chosen;
    }
}
