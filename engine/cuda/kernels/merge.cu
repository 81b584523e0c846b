// Makes one softmax of the splits that `decode` left.
//
// In: for each query row and split the largest score, the sum and the weighted values. Out: the attended values, and the
// row's largest score and sum over all its keys, from which `mass` computes probabilities.
//
// grid (query_heads, tokens), one thread a channel. Splits are taken from first to last: the same bits every time.

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
};

// registers <= 48
extern "C" __global__ void __launch_bounds__(128) merge(const Merge merge) {
    const size_t row = (size_t)blockIdx.y * gridDim.x + blockIdx.x;
    const float* largest_of = merge.largest + row * merge.splits;
    const float* sum_of = merge.sums + row * merge.splits;
    float largest = -INFINITY;
    for (int split = 0; split < merge.splits; split++) {
        largest = fmaxf(largest, largest_of[split]);
    }
    const float base = largest == -INFINITY ? 0.0f : largest;
    float sum = 0.0f;
    float value = 0.0f;
    for (int split = 0; split < merge.splits; split++) {
        // A split without pages has a sum of 0 and nothing else.
        const float weight = exp2f(largest_of[split] - base);
        sum += sum_of[split] * weight;
        value += merge.values[(row * merge.splits + split) * blockDim.x + threadIdx.x] * weight;
    }
    merge.attended[row * blockDim.x + threadIdx.x] = value / sum;
    if (threadIdx.x == 0) {
        merge.row_largest[row] = largest;
        merge.row_sums[row] = sum;
    }
}
