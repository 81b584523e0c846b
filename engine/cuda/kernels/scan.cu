// Estimates what attention each page would get: the product of a query with the page's centre and with its best key, in
// whole numbers (codes of 7 bits times a query rounded to 8, four channels an instruction).
//
// In: queries as the model gives them and the index. Out: for each query row and page an estimate of the binary logarithm
// of the weight that the page would get, up to a constant a row.
//
// A warp takes one page at a time, a lane two of its 64 keys; the query rows of a group (up to 8 at a time) meet each
// word of codes together.
// grid (any number, kv_heads * slices, tokens), 128 threads; slices = query heads of a group / 8, rounded up.

#include "array.cuh"
#include "query.cuh"
#include "warp.cuh"

struct Scan {
    Queries queries;
    Rotation rotation;
    /// As in `Index`.
    const float* steps;
    const float* centres;
    const unsigned int* codes;
    /// `[tokens][query_heads][pages]`.
    float* estimates;
    int pages;
    int room;
};

constexpr int SCAN_ROWS = 8;
constexpr int SCAN_THREADS = 128;
constexpr int SCAN_WARPS = SCAN_THREADS / 32;
constexpr int PAGE_KEYS = 64;

template <int HEAD_DIM>
struct ScanShared {
    /// Turned rows in the order of pairs.
    Array<Array<float, HEAD_DIM>, SCAN_ROWS> queries;
    /// Rows times steps, rounded, four channels a word.
    Array<Array<int, SCAN_ROWS>, HEAD_DIM / 4> rounded;
    /// What one unit of a rounded row stands for.
    Array<float, SCAN_ROWS> units;
    /// The row's sum times the middle code.
    Array<int, SCAN_ROWS> offsets;
};

/// Turns and rounds the rows of the block. Ends without a barrier.
template <int HEAD_DIM>
__device__ void round_queries(const Scan& scan, ScanShared<HEAD_DIM>& shared, int token, int kv_head, int first_row) {
    constexpr int PAIRS = HEAD_DIM / 2;
    const int lane = threadIdx.x % 32;
    const int group = group_size(scan.queries);
    const float* steps = scan.steps + kv_head * HEAD_DIM;
    for (int row = threadIdx.x / 32; row < SCAN_ROWS; row += SCAN_WARPS) {
        const bool there = first_row + row < group;
        const int head = kv_head * group + first_row + row;
        float largest = 1.17549435e-38f;
        for (int pair = lane; pair < PAIRS; pair += 32) {
            float2 query = make_float2(0.0f, 0.0f);
            if (there) {
                query = turned_query(scan.queries, scan.rotation.channels[pair], PAIRS, pair, token, head);
            }
            shared.queries[row][pair] = query.x;
            shared.queries[row][PAIRS + pair] = query.y;
            largest = fmaxf(largest, fmaxf(fabsf(query.x * steps[pair]), fabsf(query.y * steps[PAIRS + pair])));
        }
        __syncwarp();
        const float unit = warp_max(largest) / 127.0f;
        int sum = 0;
        for (int quad = lane; quad < HEAD_DIM / 4; quad += 32) {
            unsigned int word = 0;
            for (int nth = 0; nth < 4; nth++) {
                const int channel = quad * 4 + nth;
                const int rounded = (int)(shared.queries[row][channel] * steps[channel] / unit + 127.5f) - 127;
                sum += rounded;
                word |= (unsigned int)(rounded & 255) << (8 * nth);
            }
            shared.rounded[quad][row] = (int)word;
        }
        sum = (int)warp_sum((float)sum);  // at most 128 * 127: exact
        if (lane == 0) {
            shared.units[row] = unit;
            shared.offsets[row] = 64 * sum;
        }
    }
}

template <int HEAD_DIM>
__device__ void estimate(const Scan& scan, ScanShared<HEAD_DIM>& shared) {
    constexpr int QUADS = HEAD_DIM / 4;
    const int lane = threadIdx.x % 32;
    const int kv_head = blockIdx.y % scan.queries.kv_heads;
    const int first_row = blockIdx.y / scan.queries.kv_heads * SCAN_ROWS;
    const int token = blockIdx.z;
    const int group = group_size(scan.queries);
    round_queries(scan, shared, token, kv_head, first_row);
    __syncthreads();  // rows are there

    for (int page = blockIdx.x * SCAN_WARPS + threadIdx.x / 32; page < scan.pages; page += gridDim.x * SCAN_WARPS) {
        const size_t entry = (size_t)kv_head * scan.room + page;
        const unsigned int* codes = scan.codes + entry * QUADS * PAGE_KEYS;
        int near[SCAN_ROWS];
        int far[SCAN_ROWS];
#pragma unroll
        for (int row = 0; row < SCAN_ROWS; row++) {
            near[row] = 0;
            far[row] = 0;
        }
#pragma unroll 2
        for (int quad = 0; quad < QUADS; quad++) {
            const int near_codes = (int)codes[quad * PAGE_KEYS + lane];
            const int far_codes = (int)codes[quad * PAGE_KEYS + lane + 32];
#pragma unroll
            for (int row = 0; row < SCAN_ROWS; row++) {
                near[row] = __dp4a(near_codes, shared.rounded[quad][row], near[row]);
                far[row] = __dp4a(far_codes, shared.rounded[quad][row], far[row]);
            }
        }
        const float* centres = scan.centres + entry * HEAD_DIM;
#pragma unroll
        for (int row = 0; row < SCAN_ROWS; row++) {
            float product = 0.0f;
            for (int channel = lane; channel < HEAD_DIM; channel += 32) {
                product += shared.queries[row][channel] * centres[channel];
            }
            product = warp_sum(product);
            const int best = warp_max(max(near[row], far[row]));
            if (lane == 0 && first_row + row < group) {
                const size_t head = (size_t)token * scan.queries.query_heads + kv_head * group + first_row + row;
                scan.estimates[head * scan.pages + page] = product + (best - shared.offsets[row]) * shared.units[row];
            }
        }
    }
}

// registers <= 96
extern "C" __global__ void __launch_bounds__(SCAN_THREADS) scan_64(const Scan scan) {
    __shared__ ScanShared<64> shared;
    estimate<64>(scan, shared);
}

// registers <= 96
extern "C" __global__ void __launch_bounds__(SCAN_THREADS) scan_128(const Scan scan) {
    __shared__ ScanShared<128> shared;
    estimate<128>(scan, shared);
}
