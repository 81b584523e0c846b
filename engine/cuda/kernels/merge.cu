// Makes one softmax of the splits that `decode` or `prefill` left.
//
// In: for each query row and split the largest score, the sum and the weighted values. Out: the attended values, and the
// row's largest score and sum over all its keys, from which `mass` computes probabilities.
//
// A channel's splits are shared among as many threads as there are for it; what each has is added in a fixed order: the same
// bits every time.
//
// grid (query_heads, tokens), 256 threads, or 1 a channel where there are few splits.

#include "array.cuh"
#include "warp.cuh"

constexpr int MERGE_THREADS = 256;

struct Merge {
    /// `[tokens][query_heads][splits][head_dim]`.
    const float* values;
    /// `[tokens][query_heads][splits]`.
    const float* largest;
    const float* sums;
    /// `[tokens][query_heads][head_dim]`.
    float* attended;
    /// `[tokens][query_heads]`.
    float* row_largest;
    float* row_sums;
    int splits;
    int head_dim;
};

struct MergeShared {
    /// Of each warp.
    Array<float, MERGE_THREADS / 32> largest;
    /// Of each thread.
    Array<float, MERGE_THREADS> sums;
    Array<float, MERGE_THREADS> values;
};

// registers <= 48
extern "C" __global__ void __launch_bounds__(MERGE_THREADS) merge(const Merge merge) {
    __shared__ MergeShared shared;
    const size_t row = (size_t)blockIdx.y * gridDim.x + blockIdx.x;
    const float* largest_of = merge.largest + row * merge.splits;
    const float* sum_of = merge.sums + row * merge.splits;
    float largest = -INFINITY;
    for (int split = threadIdx.x; split < merge.splits; split += blockDim.x) {
        largest = fmaxf(largest, largest_of[split]);
    }
    largest = warp_max(largest);
    if (threadIdx.x % 32 == 0) {
        shared.largest[threadIdx.x / 32] = largest;
    }
    __syncthreads();  // the warps' largest are there
    for (int warp = 0; warp < (int)blockDim.x / 32; warp++) {
        largest = fmaxf(largest, shared.largest[warp]);
    }
    const float base = largest == -INFINITY ? 0.0f : largest;
    const int channel = threadIdx.x % merge.head_dim;
    const int share = threadIdx.x / merge.head_dim;
    const int shares = blockDim.x / merge.head_dim;
    float sum = 0.0f;
    float value = 0.0f;
#pragma unroll 4
    for (int split = share; split < merge.splits; split += shares) {
        // A split without pages has a sum of 0 and nothing else.
        const float weight = exp2f(largest_of[split] - base);
        sum += sum_of[split] * weight;
        value += merge.values[(row * merge.splits + split) * merge.head_dim + channel] * weight;
    }
    shared.sums[threadIdx.x] = sum;
    shared.values[threadIdx.x] = value;
    __syncthreads();  // what all threads have is there
    if (share > 0) {
        return;
    }
    for (int other = 1; other < shares; other++) {
        sum += shared.sums[other * merge.head_dim + channel];
        value += shared.values[other * merge.head_dim + channel];
    }
    merge.attended[row * merge.head_dim + channel] = value / sum;
    if (channel == 0) {
        merge.row_largest[row] = largest;
        merge.row_sums[row] = sum;
    }
}
