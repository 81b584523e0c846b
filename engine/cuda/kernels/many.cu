// Matrix times many tokens (a chunk that is read), on tensor cores.
//
// In: activations in halves with a scale a row (`halves.cuh`). Out: products in F32. Weights are decoded in F32, rounded to
// halves, and multiplied; sums are F32.
//
// A block takes 64 tokens by 64 rows, 64 columns at a time, in two buffers: while one is multiplied, what comes next is on
// its way from memory to registers. Four warps take 32 tokens by 32 rows each. A row of a buffer is four words longer than
// 64 halves, so that the lanes of a warp read from different banks.
//
// grid (rows / 64 of all matrices, tokens / 64), 128 threads.

#include "array.cuh"
#include "product.cuh"
#include "tensor.cuh"

/// Tokens and rows of a block.
constexpr int SIDE = 64;
constexpr int STEP_GROUPS = 2;
constexpr int STEP_COLUMNS = STEP_GROUPS * GROUP;
/// Words of a row of a buffer.
constexpr int STRIDE = STEP_COLUMNS / 2 + 4;
/// Of a warp, in tiles of the tensor cores.
constexpr int TOKEN_TILES = 2;
constexpr int ROW_TILES = 4;

struct ManyShared {
    Array<Array<unsigned, SIDE * STRIDE>, 2> tokens;
    Array<Array<unsigned, SIDE * STRIDE>, 2> weights;
};

/// What a thread brings of one step: a group of weights and half a token's columns.
struct Brought {
    uint4 tokens[4];
    uint4 low;
    unsigned high[4];
    Level levels[2];
};

template <class Format>
struct Multiplication {
    const Products& products;
    const Product& product;
    int first_row;
    int first_token;
    /// Row (or token) and group of the step that this thread brings.
    int line;
    int group;

    __device__ __forceinline__ void bring(int first_group, Brought& brought) const {
        const Matrix& matrix = product.matrix;
        const int of = first_group + group;
        if (of >= matrix.groups) {
            // Halves of zero, whatever stands on the other side.
            for (int nth = 0; nth < 4; nth++) {
                brought.tokens[nth] = uint4{0, 0, 0, 0};
                brought.high[nth] = 0;
            }
            brought.low = uint4{0, 0, 0, 0};
            brought.levels[0] = brought.levels[1] = {0.0f, 0.0f};
            return;
        }
        // A row or token beyond the last is the last, and is not written.
        const int row = min(first_row + line, matrix.rows - 1);
        const int token = min(first_token + line, products.tokens - 1);
        const size_t at = (size_t)row * matrix.groups + of;
        brought.low = reinterpret_cast<const uint4*>(matrix.low)[at];
        const unsigned* further = reinterpret_cast<const unsigned*>(matrix.high) + high_words(Format::BITS) * at;
#pragma unroll
        for (int nth = 0; nth < high_words(Format::BITS); nth++) {
            brought.high[nth] = further[nth];
        }
        brought.levels[0] = level_of<Format::KIND>(matrix, row, of, 0);
        brought.levels[1] = Format::KIND == HALVED ? level_of<HALVED>(matrix, row, of, 1) : brought.levels[0];
        const uint4* halves =
            reinterpret_cast<const uint4*>(products.halves + ((size_t)token * matrix.groups + of) * GROUP);
#pragma unroll
        for (int nth = 0; nth < 4; nth++) {
            brought.tokens[nth] = halves[nth];
        }
    }

    __device__ __forceinline__ void put_down(const Brought& brought, ManyShared& shared, int buffer) const {
        const int at = line * STRIDE + group * GROUP / 2;
        uint4* tokens = reinterpret_cast<uint4*>(&shared.tokens[buffer][at]);
        uint4* weights = reinterpret_cast<uint4*>(&shared.weights[buffer][at]);
#pragma unroll
        for (int nth = 0; nth < 4; nth++) {
            tokens[nth] = brought.tokens[nth];
        }
        const unsigned low[4] = {brought.low.x, brought.low.y, brought.low.z, brought.low.w};
#pragma unroll
        for (int half = 0; half < 2; half++) {
            unsigned words[8];
#pragma unroll
            for (int nth = 0; nth < 4; nth++) {
                const int further = Format::BITS == 6 ? half : Format::BITS == 8 ? nth : 0;
                const unsigned high = Format::BITS == 4 ? 0 : brought.high[further];
                const unsigned codes = four_codes<Format::BITS>(low[nth], high, nth, half);
                float numbers[4];
#pragma unroll
                for (int byte = 0; byte < 4; byte++) {
                    const float code = (float)(codes >> 8 * byte & 255u);
                    numbers[byte] = brought.levels[half].step * code + brought.levels[half].least;
                }
                words[2 * nth] = two_halves(numbers[0], numbers[1]);
                words[2 * nth + 1] = two_halves(numbers[2], numbers[3]);
            }
            weights[2 * half] = uint4{words[0], words[1], words[2], words[3]};
            weights[2 * half + 1] = uint4{words[4], words[5], words[6], words[7]};
        }
    }
};

__device__ __forceinline__ void multiply_buffer(ManyShared& shared, int buffer, int warp_token, int warp_row,
                                                TensorSums (&sums)[TOKEN_TILES][ROW_TILES]) {
    const int g = threadIdx.x % 32 / 4;
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int word = 0; word < STEP_COLUMNS / 2; word += 8) {
        LeftWords left[TOKEN_TILES];
        RightWords right[ROW_TILES];
#pragma unroll
        for (int tile = 0; tile < TOKEN_TILES; tile++) {
            const int at = (warp_token + 16 * tile + g) * STRIDE + word + t;
            left[tile].words[0] = shared.tokens[buffer][at];
            left[tile].words[1] = shared.tokens[buffer][at + 8 * STRIDE];
            left[tile].words[2] = shared.tokens[buffer][at + 4];
            left[tile].words[3] = shared.tokens[buffer][at + 8 * STRIDE + 4];
        }
#pragma unroll
        for (int tile = 0; tile < ROW_TILES; tile++) {
            const int at = (warp_row + 8 * tile + g) * STRIDE + word + t;
            right[tile].words[0] = shared.weights[buffer][at];
            right[tile].words[1] = shared.weights[buffer][at + 4];
        }
#pragma unroll
        for (int token_tile = 0; token_tile < TOKEN_TILES; token_tile++) {
#pragma unroll
            for (int row_tile = 0; row_tile < ROW_TILES; row_tile++) {
                multiply_add(sums[token_tile][row_tile], left[token_tile], right[row_tile]);
            }
        }
    }
}

template <class Format>
__device__ __forceinline__ void multiply_many(const Products& products, const Product& product, ManyShared& shared,
                                              TensorSums (&sums)[TOKEN_TILES][ROW_TILES]) {
    const int warp = threadIdx.x / 32;
    const Multiplication<Format> multiplication = {products,
                                                   product,
                                                   ((int)blockIdx.x - product.first_block) * SIDE,
                                                   (int)blockIdx.y * SIDE,
                                                   (int)threadIdx.x / STEP_GROUPS,
                                                   (int)threadIdx.x % STEP_GROUPS};
    Brought brought;
    multiplication.bring(0, brought);
    multiplication.put_down(brought, shared, 0);
    __syncthreads();  // the first step is there
    int buffer = 0;
    for (int first = 0; first < product.matrix.groups; first += STEP_GROUPS) {
        const bool more = first + STEP_GROUPS < product.matrix.groups;
        if (more) {
            multiplication.bring(first + STEP_GROUPS, brought);
        }
        multiply_buffer(shared, buffer, warp / 2 * 32, warp % 2 * 32, sums);
        buffer ^= 1;
        if (more) {
            multiplication.put_down(brought, shared, buffer);
        }
        __syncthreads();  // the next step is there, and this one is done with
    }
}

// registers <= 128
extern "C" __global__ void __launch_bounds__(128, 4) many(const Products products) {
    __shared__ ManyShared shared;
    const Product& product = product_of_block(products);
    TensorSums sums[TOKEN_TILES][ROW_TILES];
#pragma unroll
    for (int token_tile = 0; token_tile < TOKEN_TILES; token_tile++) {
#pragma unroll
        for (int row_tile = 0; row_tile < ROW_TILES; row_tile++) {
            sums[token_tile][row_tile] = {{0.0f, 0.0f, 0.0f, 0.0f}};
        }
    }
    by_format(product.matrix, [&](auto format) {
        multiply_many<decltype(format)>(products, product, shared, sums);
    });
    const int warp = threadIdx.x / 32;
    const int first_token = blockIdx.y * SIDE + warp / 2 * 32 + threadIdx.x % 32 / 4;
    const int first_row = ((int)blockIdx.x - product.first_block) * SIDE + warp % 2 * 32 + 2 * (threadIdx.x % 4);
#pragma unroll
    for (int token_tile = 0; token_tile < TOKEN_TILES; token_tile++) {
#pragma unroll
        for (int row_tile = 0; row_tile < ROW_TILES; row_tile++) {
#pragma unroll
            for (int nth = 0; nth < 4; nth++) {
                const int token = first_token + 16 * token_tile + 8 * (nth / 2);
                const int row = first_row + 8 * row_tile + nth % 2;
                if (token < products.tokens && row < product.matrix.rows) {
                    put(product, token, row, sums[token_tile][row_tile].numbers[nth] * products.scales[token]);
                }
            }
        }
    }
}
