// Matrix times few tokens (decoding): bound by reading the weights, each once.
//
// In: activations in F32. Out: products in F32. Weights are decoded in registers on their way to the sums; nothing is
// rounded but by F32 arithmetic.
//
// A warp takes four rows, eight groups at a time, four lanes a group: 512 bytes of the first plane that lie beside each
// other. What comes next is on its way while one piece is multiplied. `shares` warps take turns at the groups of the same
// rows, where there are too few rows for all the GPU's warps. Sums of lanes and of warps are added in a fixed order: the
// same bits every time.
//
// grid (rows / (16 / shares) of all matrices), 128 threads.

#include "array.cuh"
#include "product.cuh"
#include "warp.cuh"

constexpr int FEW_THREADS = 128;
constexpr int FEW_WARPS = FEW_THREADS / 32;
/// Groups that a warp takes at a time.
constexpr int TOGETHER = 32 / GROUP_LANES;

template <int TOKENS>
using WarpSums = Array<Array<Array<float, TOKENS>, FOUR>, FEW_WARPS>;

template <class Format, int TOKENS>
__device__ __forceinline__ void multiply_piece(const Products& products, const Piece<Format>& piece, unsigned columns,
                                               unsigned column, float (&sums)[FOUR][TOKENS]) {
    // Of one token or two, codes are multiplied as they are, and their sums by the step: fewer operations than to make
    // weights first, which pays where a weight serves more.
    constexpr bool AS_CODES = TOKENS <= 2;
    Level levels[FOUR];
    float of_codes[FOUR][TOKENS];
    float of_activations[TOKENS];
#pragma unroll
    for (int token = 0; token < TOKENS; token++) {
        of_activations[token] = 0.0f;
    }
#pragma unroll
    for (int row = 0; row < FOUR; row++) {
        levels[row] = level_of(piece, row);
        levels[row].least -= first_number<Format>() * levels[row].step;
#pragma unroll
        for (int token = 0; token < TOKENS; token++) {
            of_codes[row][token] = 0.0f;
        }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        FourNumbers activations[TOKENS];
#pragma unroll
        for (int token = 0; token < TOKENS; token++) {
            // A token beyond the last is the last, and is not written.
            const unsigned of = min(token, products.tokens - 1);
            const unsigned at = (of * columns + column) / 4 + half;
            activations[token] = reinterpret_cast<const FourNumbers*>(products.numbers)[at];
            const float(&four)[4] = activations[token].numbers;
            of_activations[token] += (four[0] + four[1]) + (four[2] + four[3]);
        }
#pragma unroll
        for (int row = 0; row < FOUR; row++) {
            float numbers[4];
            four_numbers(piece, row, half, numbers);
#pragma unroll
            for (int nth = 0; nth < 4; nth++) {
                const float weight = AS_CODES ? numbers[nth] : levels[row].step * numbers[nth] + levels[row].least;
#pragma unroll
                for (int token = 0; token < TOKENS; token++) {
                    const float product = weight * activations[token].numbers[nth];
                    (AS_CODES ? of_codes : sums)[row][token] += product;
                }
            }
        }
    }
    if (AS_CODES) {
#pragma unroll
        for (int row = 0; row < FOUR; row++) {
#pragma unroll
            for (int token = 0; token < TOKENS; token++) {
                sums[row][token] += levels[row].step * of_codes[row][token];
                sums[row][token] += levels[row].least * of_activations[token];
            }
        }
    }
}

template <class Format, int TOKENS>
__device__ __forceinline__ void add_up(const Products& products, const Matrix& matrix, int four,
                                       float (&sums)[FOUR][TOKENS]) {
    const int lane = threadIdx.x % GROUP_LANES;
    const int stride = products.shares * TOGETHER;
    int group = threadIdx.x / 32 % products.shares * TOGETHER + threadIdx.x % 32 / GROUP_LANES;
    Piece<Format> next;
    if (group < matrix.groups) {
        bring_piece(matrix, four, group, lane, next);
    }
    while (group < matrix.groups) {
        const Piece<Format> piece = next;
        const unsigned column = group * GROUP + lane * LANE_COLUMNS;
        group += stride;
        if (group < matrix.groups) {
            bring_piece(matrix, four, group, lane, next);
        }
        multiply_piece<Format, TOKENS>(products, piece, matrix.groups * GROUP, column, sums);
    }
}

template <int TOKENS>
__device__ __forceinline__ void multiply_few(const Products& products, WarpSums<TOKENS>& shared) {
    const Product& product = product_of_block(products);
    const Matrix matrix = product.matrix;
    const int first_four = ((int)blockIdx.x - product.first_block) * (FEW_WARPS / products.shares);
    // Fours beyond the last are the last, and are not written.
    const int four = min(first_four + (int)threadIdx.x / 32 / products.shares, (matrix.rows - 1) / FOUR);
    float sums[FOUR][TOKENS];
#pragma unroll
    for (int row = 0; row < FOUR; row++) {
#pragma unroll
        for (int token = 0; token < TOKENS; token++) {
            sums[row][token] = 0.0f;
        }
    }
    by_format(matrix, [&](auto format) { add_up<decltype(format), TOKENS>(products, matrix, four, sums); });
#pragma unroll
    for (int row = 0; row < FOUR; row++) {
#pragma unroll
        for (int token = 0; token < TOKENS; token++) {
            const float sum = warp_sum(sums[row][token]);
            if (threadIdx.x % 32 == 0) {
                shared[threadIdx.x / 32][row][token] = sum;
            }
        }
    }
    __syncthreads();  // sums of all warps are there
    const int nth_row = threadIdx.x / TOKENS;
    const int token = threadIdx.x % TOKENS;
    const int first_warp = nth_row / FOUR * products.shares;
    const int row = first_four * FOUR + nth_row;
    if (first_warp < FEW_WARPS && row < matrix.rows && token < products.tokens) {
        float sum = 0.0f;
        for (int warp = first_warp; warp < first_warp + products.shares; warp++) {
            sum += shared[warp][nth_row % FOUR][token];
        }
        put(product, token, row, sum);
    }
}

// registers <= 64
extern "C" __global__ void __launch_bounds__(128, 8) few_1(const Products products) {
    __shared__ WarpSums<1> shared;
    multiply_few<1>(products, shared);
}

// registers <= 80
extern "C" __global__ void __launch_bounds__(128, 6) few_2(const Products products) {
    __shared__ WarpSums<2> shared;
    multiply_few<2>(products, shared);
}

// registers <= 128
extern "C" __global__ void __launch_bounds__(128, 4) few_4(const Products products) {
    __shared__ WarpSums<4> shared;
    multiply_few<4>(products, shared);
}

// registers <= 168
extern "C" __global__ void __launch_bounds__(128, 3) few_8(const Products products) {
    __shared__ WarpSums<8> shared;
    multiply_few<8>(products, shared);
}
