// Puts new tokens behind the others: keys and values of one layer, rounded to half precision, into open pages.
//
// In: keys and values as the model gives them. Out: their slots in pages of halves. Beyond 65,504 numbers saturate: one
// infinite value would turn every later answer into NaN.
//
// grid (blocks of 256 numbers, 2), 256 threads; y = 0 for keys, 1 for values.

#ifndef CUDA_ON_CPU
#include <cuda_fp16.h>
#endif

struct Append {
    /// `[tokens][kv_heads][head_dim]`.
    const float* keys;
    const float* values;
    /// Addresses of open pages, by page number from `first_page` on; each keys `[kv_heads][64][head_dim]`, then values.
    __half* const* pages;
    int first_page;
    /// Position of the first token.
    int start;
    int tokens;
    int kv_heads;
    int head_dim;
};

// registers <= 48
extern "C" __global__ void __launch_bounds__(256) append(const Append append) {
    const int row = append.kv_heads * append.head_dim;
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= append.tokens * row) {
        return;
    }
    const int position = append.start + at / row;
    const int head = at % row / append.head_dim;
    const int channel = at % append.head_dim;
    const float number = (blockIdx.y == 0 ? append.keys : append.values)[at];
    const float largest = 65504.0f;
    // Written so that NaN stays NaN.
    const float saturated = number > largest ? largest : number < -largest ? -largest : number;
    __half* page = append.pages[position / 64 - append.first_page];
    page[((blockIdx.y * append.kv_heads + head) * 64 + position % 64) * append.head_dim + channel] =
        __float2half_rn(saturated);
}
