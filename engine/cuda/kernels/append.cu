// Puts new tokens behind the others: keys and values of one layer, rounded to half precision, into open pages.
//
// In: keys and values as the model gives them. Out: their slots in pages of halves, and a copy if one is wanted. Beyond 65,504 numbers saturate: one
// infinite value would turn every later answer into NaN.
//
// grid (blocks of 256 numbers, 2), 256 threads; y = 0 for keys, 1 for values.

#include "page.cuh"

struct Append {
    /// `[tokens][kv_heads][head_dim]`.
    const float* keys;
    const float* values;
    /// The open pages from page number `first_page` on: halves, keys `[kv_heads][64][head_dim]`, then values.
    const Page* pages;
    /// Keys, then values, as they are, for who keeps them on the host; or null.
    float* kept;
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
    if (append.kept != nullptr) {
        append.kept[(size_t)blockIdx.y * append.tokens * row + at] = number;
    }
    const float largest = 65504.0f;
    // Written so that NaN stays NaN.
    const float saturated = number > largest ? largest : number < -largest ? -largest : number;
    const Page& open = append.pages[position / PAGE_TOKENS - append.first_page];
    __half* page = reinterpret_cast<__half*>(const_cast<unsigned char*>(open.bytes));
    page[((blockIdx.y * append.kv_heads + head) * PAGE_TOKENS + position % PAGE_TOKENS) * append.head_dim + channel] =
        __float2half_rn(saturated);
}
