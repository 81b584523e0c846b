// Matrix times few tokens (decoding): bound by reading the weights, each once.
//
// In: activations in F32. Out: products in F32. Weights are decoded in registers on their way to the sums; nothing is
// rounded but by F32 arithmetic.
//
// A block takes four rows; its four warps take turns at runs of eight groups. Four lanes share a group, four codes of
// each half a lane, so that a warp reads 128 bytes of a row at a time. Sums of lanes and of warps are added in a fixed
// order: the same bits every time.
//
// grid (rows / 4 of all matrices), 128 threads.

#include "array.cuh"
#include "product.cuh"
#include "warp.cuh"

constexpr int FEW_THREADS = 128;
constexpr int FEW_WARPS = FEW_THREADS / 32;
constexpr int FEW_ROWS = 4;
/// Groups that a warp takes at a time.
constexpr int TOGETHER = 8;

struct alignas(16) Four {
    float numbers[4];
};

template <int TOKENS>
using WarpSums = Array<Array<Array<float, TOKENS>, FEW_ROWS>, FEW_WARPS>;

template <class Format, int TOKENS>
__device__ __forceinline__ void add_up(const Products& products, const Matrix& matrix, int first_row,
                                       float (&sums)[FEW_ROWS][TOKENS]) {
    const int nth = threadIdx.x % 4;
    const int columns = matrix.groups * GROUP;
    for (int group = threadIdx.x / 32 * TOGETHER + threadIdx.x % 32 / 4; group < matrix.groups;
         group += FEW_WARPS * TOGETHER) {
        unsigned low[FEW_ROWS];
        unsigned high[FEW_ROWS][2];
        Level levels[FEW_ROWS][2];
#pragma unroll
        for (int row = 0; row < FEW_ROWS; row++) {
            // A row beyond the last is the last, and is not written.
            const int of = min(first_row + row, matrix.rows - 1);
            const size_t at = (size_t)of * matrix.groups + group;
            low[row] = reinterpret_cast<const unsigned*>(matrix.low)[4 * at + nth];
            const unsigned* further = reinterpret_cast<const unsigned*>(matrix.high) + high_words(Format::BITS) * at;
            if (Format::BITS == 6) {
                high[row][0] = further[0];
                high[row][1] = further[1];
            } else if (Format::BITS != 4) {
                high[row][0] = high[row][1] = further[Format::BITS == 8 ? nth : 0];
            } else {
                high[row][0] = high[row][1] = 0;
            }
            levels[row][0] = level_of<Format::KIND>(matrix, of, group, 0);
            levels[row][1] = Format::KIND == HALVED ? level_of<HALVED>(matrix, of, group, 1) : levels[row][0];
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            Four numbers[TOKENS];
#pragma unroll
            for (int token = 0; token < TOKENS; token++) {
                // A token beyond the last is the last likewise.
                const size_t of = min(token, products.tokens - 1);
                numbers[token] = *reinterpret_cast<const Four*>(products.numbers + of * columns + group * GROUP +
                                                                16 * half + 4 * nth);
            }
#pragma unroll
            for (int row = 0; row < FEW_ROWS; row++) {
                const unsigned codes = four_codes<Format::BITS>(low[row], high[row][half], nth, half);
#pragma unroll
                for (int byte = 0; byte < 4; byte++) {
                    const float code = (float)(codes >> 8 * byte & 255u);
                    const float weight = levels[row][half].step * code + levels[row][half].least;
#pragma unroll
                    for (int token = 0; token < TOKENS; token++) {
                        sums[row][token] += weight * numbers[token].numbers[byte];
                    }
                }
            }
        }
    }
}

template <int TOKENS>
__device__ __forceinline__ void multiply_few(const Products& products, WarpSums<TOKENS>& shared) {
    const Product& product = product_of_block(products);
    const int first_row = ((int)blockIdx.x - product.first_block) * FEW_ROWS;
    float sums[FEW_ROWS][TOKENS];
#pragma unroll
    for (int row = 0; row < FEW_ROWS; row++) {
#pragma unroll
        for (int token = 0; token < TOKENS; token++) {
            sums[row][token] = 0.0f;
        }
    }
    by_format(product.matrix, [&](auto format) {
        add_up<decltype(format), TOKENS>(products, product.matrix, first_row, sums);
    });
#pragma unroll
    for (int row = 0; row < FEW_ROWS; row++) {
#pragma unroll
        for (int token = 0; token < TOKENS; token++) {
            const float sum = warp_sum(sums[row][token]);
            if (threadIdx.x % 32 == 0) {
                shared[threadIdx.x / 32][row][token] = sum;
            }
        }
    }
    __syncthreads();  // sums of all warps are there
    const int row = threadIdx.x / TOKENS;
    const int token = threadIdx.x % TOKENS;
    if (row < FEW_ROWS && first_row + row < product.matrix.rows && token < products.tokens) {
        float sum = 0.0f;
        for (int warp = 0; warp < FEW_WARPS; warp++) {
            sum += shared[warp][row][token];
        }
        put(product, token, first_row + row, sum);
    }
}

// registers <= 128
extern "C" __global__ void __launch_bounds__(128, 6) few_1(const Products products) {
    __shared__ WarpSums<1> shared;
    multiply_few<1>(products, shared);
}

// registers <= 128
extern "C" __global__ void __launch_bounds__(128, 5) few_2(const Products products) {
    __shared__ WarpSums<2> shared;
    multiply_few<2>(products, shared);
}

// registers <= 128
extern "C" __global__ void __launch_bounds__(128, 4) few_4(const Products products) {
    __shared__ WarpSums<4> shared;
    multiply_few<4>(products, shared);
}

// registers <= 216
extern "C" __global__ void __launch_bounds__(128) few_8(const Products products) {
    __shared__ WarpSums<8> shared;
    multiply_few<8>(products, shared);
}
