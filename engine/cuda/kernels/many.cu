// Matrix times many tokens (a chunk that is read), on tensor cores.
//
// In: activations in halves with a scale a row (`halves.cuh`). Out: products in F32. Weights are decoded in F32, rounded to
// halves, and multiplied; sums are F32.
//
// A warp takes 128 or 64 tokens by 32 rows, a group of 32 columns at a time. Weights go from memory through registers to
// the tensor cores and nowhere else: each lane decodes what the tensor cores want of it, which is eight columns of four rows
// (`matrix.cuh`). In which order columns come does not matter if it is the same on both sides, so a lane also takes eight
// columns of each token: 16 bytes. Activations are shared, and are brought to shared memory some groups ahead.
//
// A block's four warps take rows beside each other, or, where rows are too few for all the GPU's blocks, shares of the
// columns, whose sums are added at the end in a fixed order: the same bits every time.
//
// grid (rows / Tile::ROWS of all matrices, tokens / Tile::TOKENS), 128 threads.

#include "ahead.cuh"
#include "array.cuh"
#include "product.cuh"
#include "tensor.cuh"

constexpr int MANY_THREADS = 128;
constexpr int MANY_WARPS = MANY_THREADS / 32;
/// Of a warp: eight fours, one for each row of the tensor cores' right matrix, and a tile for each row of a four.
constexpr int WARP_ROWS = 8 * FOUR;
/// Steps of the tensor cores in a group, each with half of a lane's columns.
constexpr int HALVES = 2;

/// What a block takes: so many tiles of 16 tokens, and warps beside each other; activations are brought STAGES - 1 steps
/// ahead.
template <int TOKEN_TILES_OF, int ROW_WARPS_OF, int STAGES_OF>
struct Tile {
    static constexpr int TOKEN_TILES = TOKEN_TILES_OF;
    static constexpr int ROW_WARPS = ROW_WARPS_OF;
    static constexpr int STAGES = STAGES_OF;
    static constexpr int TOKENS = 16 * TOKEN_TILES;
    static constexpr int ROWS = WARP_ROWS * ROW_WARPS;
    /// Of the columns; a step is a group of each.
    static constexpr int SHARES = MANY_WARPS / ROW_WARPS;
    /// Pieces of 16 bytes of activations in a step.
    static constexpr int PIECES = SHARES * TOKENS * GROUP_LANES;
    /// Sums of a lane.
    static constexpr int SUMS = TOKEN_TILES * FOUR * 4;

    union Shared {
        /// `[stage][share][token][lane]`, without gaps: eight lanes read 128 bytes beside each other.
        Array<Array<Words<4>, PIECES>, STAGES> tokens;
        /// Of all shares but the first.
        Array<Array<Array<float, 32>, SUMS>, SHARES == 1 ? 1 : (SHARES - 1) * ROW_WARPS> sums;
    };
};

/// A group's weights in halves, as the tensor cores take them.
struct Weights {
    RightWords right[HALVES][FOUR];
};

template <class Format>
__device__ __forceinline__ void decode_piece(const Piece<Format>& piece, Weights& weights) {
#pragma unroll
    for (int row = 0; row < FOUR; row++) {
        const Level level = level_of(piece, row);
#pragma unroll
        for (int half = 0; half < HALVES; half++) {
            float numbers[4];
            four_numbers(piece, row, half, numbers);
#pragma unroll
            for (int nth = 0; nth < 4; nth++) {
                // Exact before it is multiplied, so that a weight is rounded as if there were no `first_number`.
                numbers[nth] = level.step * (numbers[nth] - first_number<Format>()) + level.least;
            }
            weights.right[half][row] = {{two_halves(numbers[0], numbers[1]), two_halves(numbers[2], numbers[3])}};
        }
    }
}

template <class Tile>
struct Multiplication {
    const Products& products;
    const Matrix& matrix;
    typename Tile::Shared& shared;
    int first_token;
    /// Of this warp.
    int first_row;
    int share;

    /// Asks for the activations of a step.
    __device__ __forceinline__ void bring_tokens(int step) const {
        const size_t columns = (size_t)matrix.groups * GROUP;
#pragma unroll
        for (int nth = 0; nth < Tile::PIECES / MANY_THREADS; nth++) {
            const int at = nth * MANY_THREADS + threadIdx.x;
            const int group = step * Tile::SHARES + at / (Tile::TOKENS * GROUP_LANES);
            // A token beyond the last is the last, and is not written.
            const size_t token = min(first_token + at / GROUP_LANES % Tile::TOKENS, products.tokens - 1);
            if (group < matrix.groups) {
                const __half* from =
                    products.halves + token * columns + group * GROUP + at % GROUP_LANES * LANE_COLUMNS;
                copy_ahead(shared.tokens[step % Tile::STAGES][at], reinterpret_cast<const Words<4>*>(from));
            }
        }
        end_copies();
    }

    /// Brings this lane's weights of its share's group of a step.
    template <class Format>
    __device__ __forceinline__ void bring_weights(int step, Piece<Format>& piece) const {
        const int lane = threadIdx.x % 32;
        const int group = step * Tile::SHARES + share;
        // Fours beyond the last are the last, and are not written.
        const int four = min(first_row / FOUR + lane / GROUP_LANES, (matrix.rows - 1) / FOUR);
        if (group < matrix.groups) {
            bring_piece(matrix, four, group, lane % GROUP_LANES, piece);
        }
    }

    __device__ __forceinline__ void multiply(int step, const Weights& weights,
                                             TensorSums (&sums)[Tile::TOKEN_TILES][FOUR]) const {
        // Lane 4g + t has column t's eight of tokens g and g + 8 of a tile, which are beside each other in the buffer.
        const int first = share * Tile::TOKENS * GROUP_LANES + threadIdx.x % 32;
        // Two tiles at a time, so that eight products wait for nothing.
#pragma unroll
        for (int tile = 0; tile < Tile::TOKEN_TILES; tile += 2) {
            LeftWords left[2][HALVES];
#pragma unroll
            for (int other = 0; other < 2; other++) {
                const int at = first + 16 * (tile + other) * GROUP_LANES;
                const Words<4> upper = shared.tokens[step % Tile::STAGES][at];
                const Words<4> lower = shared.tokens[step % Tile::STAGES][at + 8 * GROUP_LANES];
#pragma unroll
                for (int half = 0; half < HALVES; half++) {
                    left[other][half] = {{upper.words[2 * half], lower.words[2 * half], upper.words[2 * half + 1],
                                          lower.words[2 * half + 1]}};
                }
            }
#pragma unroll
            for (int half = 0; half < HALVES; half++) {
#pragma unroll
                for (int other = 0; other < 2; other++) {
#pragma unroll
                    for (int row = 0; row < FOUR; row++) {
                        multiply_add(sums[tile + other][row], left[other][half], weights.right[half][row]);
                    }
                }
            }
        }
    }

    template <class Format>
    __device__ __forceinline__ void add_up(TensorSums (&sums)[Tile::TOKEN_TILES][FOUR]) const {
        const int steps = (matrix.groups + Tile::SHARES - 1) / Tile::SHARES;
        for (int step = 0; step < Tile::STAGES - 1; step++) {
            bring_tokens(step);
        }
        Piece<Format> next;
        bring_weights(0, next);
        for (int step = 0; step < steps; step++) {
            const bool is_there = step * Tile::SHARES + share < matrix.groups;
            Weights weights;
            if (is_there) {
                decode_piece(next, weights);
            }
            bring_weights(step + 1, next);
            wait_for_copies<Tile::STAGES - 2>();
            __syncthreads();  // the step's activations are there, and those of the one before are done with
            bring_tokens(step + Tile::STAGES - 1);
            if (is_there) {
                multiply(step, weights, sums);
            }
        }
    }
};

/// Adds the shares' sums to the first share's. Called by all threads.
template <class Tile>
__device__ __forceinline__ void add_shares(typename Tile::Shared& shared, TensorSums (&sums)[Tile::TOKEN_TILES][FOUR]) {
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    __syncthreads();  // the last activations are done with
    if (warp >= Tile::ROW_WARPS) {
#pragma unroll
        for (int nth = 0; nth < Tile::SUMS; nth++) {
            shared.sums[warp - Tile::ROW_WARPS][nth][lane] = sums[nth / 16][nth / 4 % 4].numbers[nth % 4];
        }
    }
    __syncthreads();  // sums of all shares are there
    if (warp < Tile::ROW_WARPS) {
        for (int share = 1; share < Tile::SHARES; share++) {
#pragma unroll
            for (int nth = 0; nth < Tile::SUMS; nth++) {
                sums[nth / 16][nth / 4 % 4].numbers[nth % 4] +=
                    shared.sums[(share - 1) * Tile::ROW_WARPS + warp][nth][lane];
            }
        }
    }
}

template <class Tile>
__device__ __forceinline__ void multiply_many(const Products& products, typename Tile::Shared& shared) {
    const Product& product = product_of_block(products);
    const int warp = threadIdx.x / 32;
    const int share = warp / Tile::ROW_WARPS;
    const int first_token = blockIdx.y * Tile::TOKENS;
    const int first_row =
        ((int)blockIdx.x - product.first_block) * Tile::ROWS + warp % Tile::ROW_WARPS * WARP_ROWS;
    const Multiplication<Tile> multiplication = {products, product.matrix, shared, first_token, first_row, share};
    TensorSums sums[Tile::TOKEN_TILES][FOUR];
#pragma unroll
    for (int tile = 0; tile < Tile::TOKEN_TILES; tile++) {
#pragma unroll
        for (int row = 0; row < FOUR; row++) {
            sums[tile][row] = {{0.0f, 0.0f, 0.0f, 0.0f}};
        }
    }
    by_format(product.matrix, [&](auto format) { multiplication.template add_up<decltype(format)>(sums); });
    if (Tile::SHARES > 1) {
        add_shares<Tile>(shared, sums);
    }
    if (share > 0) {
        return;
    }
    const int g = threadIdx.x % 32 / 4;
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int tile = 0; tile < Tile::TOKEN_TILES; tile++) {
#pragma unroll
        for (int nth = 0; nth < 4; nth++) {
            const int token = first_token + 16 * tile + g + 8 * (nth / 2);
            if (token < products.tokens) {
                const float scale = products.scales[token];
                FourNumbers four;
#pragma unroll
                for (int row = 0; row < FOUR; row++) {
                    four.numbers[row] = sums[tile][row].numbers[nth] * scale;
                }
                put_four(product, token, first_row + FOUR * (2 * t + nth % 2), four);
            }
        }
    }
}

// registers <= 255
extern "C" __global__ void __launch_bounds__(128, 2) many_128_128(const Products products) {
    using Of = Tile<8, 4, 4>;
    __shared__ Of::Shared shared;
    multiply_many<Of>(products, shared);
}

// registers <= 168
extern "C" __global__ void __launch_bounds__(128, 3) many_64_64(const Products products) {
    using Of = Tile<4, 2, 4>;
    __shared__ Of::Shared shared;
    multiply_many<Of>(products, shared);
}

// registers <= 255
extern "C" __global__ void __launch_bounds__(128, 2) many_64_32(const Products products) {
    using Of = Tile<4, 1, 3>;
    __shared__ Of::Shared shared;
    multiply_many<Of>(products, shared);
}
