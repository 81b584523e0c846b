// Matrix times many tokens (a chunk that is read), on tensor cores.
//
// In: activations in halves with a scale a row (`halves.cuh`). Out: products in F32. Weights are decoded in F32, rounded to
// halves, and multiplied; sums are F32.
//
// A warp takes 32 rows by 128 or 64 tokens, a group of 32 columns at a time. Weights go from memory through registers to
// the tensor cores and nowhere else: each lane decodes what the tensor cores want of it, which is eight columns of four rows
// (`matrix.cuh`). In which order columns come does not matter if it is the same on both sides, so a lane also takes eight
// columns of a token, 16 bytes, and has them in the registers that the tensor cores read. Activations are shared by warps,
// and are brought to shared memory some groups ahead.
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
/// Of a warp: a four for each of the tensor cores' eight pairs of rows.
constexpr int WARP_ROWS = 8 * FOUR;
/// Products of the tensor cores in a four, of two rows each.
constexpr int PAIRS = FOUR / 2;
/// Steps of the tensor cores in a group, each with half of a lane's columns.
constexpr int HALVES = 2;
/// Of the tensor cores.
constexpr int TILE_TOKENS = 8;
/// Tiles that are multiplied together, so that no product waits for the one before.
constexpr int TILES_TOGETHER = 4;

/// What a block takes: so many tiles of eight tokens, and warps beside each other; weights are brought AHEAD steps ahead, in
/// registers, and activations STAGES - 1 steps.
template <int TOKEN_TILES_OF, int ROW_WARPS_OF, int AHEAD_OF, int STAGES_OF>
struct Tile {
    static constexpr int TOKEN_TILES = TOKEN_TILES_OF;
    static constexpr int ROW_WARPS = ROW_WARPS_OF;
    static constexpr int AHEAD = AHEAD_OF;
    static constexpr int STAGES = STAGES_OF;
    static constexpr int TOKENS = TILE_TOKENS * TOKEN_TILES;
    static constexpr int ROWS = WARP_ROWS * ROW_WARPS;
    /// Of the columns; a step is a group of each.
    static constexpr int SHARES = MANY_WARPS / ROW_WARPS;
    /// Pieces of 16 bytes of activations in a step.
    static constexpr int PIECES = SHARES * TOKENS * GROUP_LANES;
    /// Sums of a lane.
    static constexpr int SUMS = TOKEN_TILES * PAIRS * 4;

    union Shared {
        /// `[stage][share][token][lane]`, without gaps: eight lanes read 128 bytes beside each other.
        Array<Array<Words<4>, PIECES>, STAGES> tokens;
        /// Of all shares but the first.
        Array<Array<Array<float, 32>, SUMS>, SHARES == 1 ? 1 : (SHARES - 1) * ROW_WARPS> sums;
    };
};

/// A group's weights in halves, as the tensor cores take them.
struct Weights {
    LeftWords left[HALVES][PAIRS];
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
            unsigned(&words)[4] = weights.left[half][row / 2].words;
            words[row % 2] = two_halves(numbers[0], numbers[1]);
            words[2 + row % 2] = two_halves(numbers[2], numbers[3]);
        }
    }
}

template <class Tile>
struct Multiplication {
    /// Pieces of activations that a thread brings in a step.
    static constexpr int OWN_PIECES = Tile::PIECES / MANY_THREADS;
    static_assert(Tile::TOKENS * GROUP_LANES % MANY_THREADS == 0, "threads bring pieces of one share at a time");

    Matrix matrix;
    typename Tile::Shared& shared;
    /// Of this warp.
    int share;
    /// That this lane brings.
    int four;
    /// `[tokens][groups][lane]`, counted in 32 bits.
    const Words<4>* tokens;
    /// The thread's pieces of the first group.
    unsigned first_pieces[OWN_PIECES];

    __device__ __forceinline__ Multiplication(const Products& products, const Matrix& of, typename Tile::Shared& to,
                                              int first_token, int first_row, int own_share)
        : matrix(of),
          shared(to),
          share(own_share),
          tokens(reinterpret_cast<const Words<4>*>(products.halves)) {
        // Fours and tokens beyond the last are the last, and are not written.
        four = min(first_row / FOUR + (int)threadIdx.x % 32 / GROUP_LANES, (matrix.rows - 1) / FOUR);
#pragma unroll
        for (int nth = 0; nth < OWN_PIECES; nth++) {
            const int at = nth * MANY_THREADS + threadIdx.x;
            const unsigned token = min(first_token + at / GROUP_LANES % Tile::TOKENS, products.tokens - 1);
            first_pieces[nth] = token * matrix.groups * GROUP_LANES + at % GROUP_LANES;
        }
    }

    /// Asks for the activations of a step.
    __device__ __forceinline__ void bring_tokens(int step) const {
        if (step * Tile::SHARES < matrix.groups) {
#pragma unroll
            for (int nth = 0; nth < OWN_PIECES; nth++) {
                const int at = nth * MANY_THREADS + threadIdx.x;
                // All threads bring pieces of the same share. A group beyond the last is the last, times weights of zero.
                const int share_of = nth * MANY_THREADS / (Tile::TOKENS * GROUP_LANES);
                const int group = min(step * Tile::SHARES + share_of, matrix.groups - 1);
                copy_ahead(shared.tokens[step % Tile::STAGES][at], tokens + (first_pieces[nth] + group * GROUP_LANES));
            }
        }
        end_copies();
    }

    /// Brings this lane's weights of its share's group of a step.
    template <class Format>
    __device__ __forceinline__ void bring_weights(int step, Piece<Format>& piece) const {
        const int group = step * Tile::SHARES + share;
        bring_piece(matrix, four, min(group, matrix.groups - 1), threadIdx.x % GROUP_LANES, piece);
        if (Tile::SHARES > 1 && group >= matrix.groups) {
            piece.grids = {};
        }
    }

    __device__ __forceinline__ void multiply(int step, const Weights& weights,
                                             TensorSums (&sums)[Tile::TOKEN_TILES][PAIRS]) const {
        // Lane 4g + t has lane t's columns of a tile's token g; all of a tile lie beside each other.
        const int first = share * Tile::TOKENS * GROUP_LANES + threadIdx.x % 32;
#pragma unroll
        for (int tile = 0; tile < Tile::TOKEN_TILES; tile += TILES_TOGETHER) {
            Words<4> tokens[TILES_TOGETHER];
#pragma unroll
            for (int nth = 0; nth < TILES_TOGETHER; nth++) {
                tokens[nth] = shared.tokens[step % Tile::STAGES][first + (tile + nth) * TILE_TOKENS * GROUP_LANES];
            }
#pragma unroll
            for (int half = 0; half < HALVES; half++) {
#pragma unroll
                for (int nth = 0; nth < TILES_TOGETHER; nth++) {
                    const RightWords right = {{tokens[nth].words[2 * half], tokens[nth].words[2 * half + 1]}};
#pragma unroll
                    for (int pair = 0; pair < PAIRS; pair++) {
                        multiply_add(sums[tile + nth][pair], weights.left[half][pair], right);
                    }
                }
            }
        }
    }

    template <class Format>
    __device__ __forceinline__ void add_up(TensorSums (&sums)[Tile::TOKEN_TILES][PAIRS]) const {
        const int steps = (matrix.groups + Tile::SHARES - 1) / Tile::SHARES;
        for (int step = 0; step < Tile::STAGES - 1; step++) {
            bring_tokens(step);
        }
        Piece<Format> pieces[Tile::AHEAD];
#pragma unroll
        for (int step = 0; step < Tile::AHEAD; step++) {
            bring_weights(step, pieces[step]);
        }
        for (int step = 0; step < steps; step++) {
            Weights weights;
            decode_piece(pieces[0], weights);
#pragma unroll
            for (int nth = 1; nth < Tile::AHEAD; nth++) {
                pieces[nth - 1] = pieces[nth];
            }
            bring_weights(step + Tile::AHEAD, pieces[Tile::AHEAD - 1]);
            wait_for_copies<Tile::STAGES - 2>();
            __syncthreads();  // the step's activations are there, and those of the one before are done with
            bring_tokens(step + Tile::STAGES - 1);
            multiply(step, weights, sums);
        }
    }
};

/// Adds the shares' sums to the first share's. Called by all threads.
template <class Tile>
__device__ __forceinline__ void add_shares(typename Tile::Shared& shared, TensorSums (&sums)[Tile::TOKEN_TILES][PAIRS]) {
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    __syncthreads();  // the last activations are done with
    if (warp >= Tile::ROW_WARPS) {
#pragma unroll
        for (int nth = 0; nth < Tile::SUMS; nth++) {
            shared.sums[warp - Tile::ROW_WARPS][nth][lane] = sums[nth / (4 * PAIRS)][nth / 4 % PAIRS].numbers[nth % 4];
        }
    }
    __syncthreads();  // sums of all shares are there
    if (warp < Tile::ROW_WARPS) {
        for (int share = 1; share < Tile::SHARES; share++) {
#pragma unroll
            for (int nth = 0; nth < Tile::SUMS; nth++) {
                sums[nth / (4 * PAIRS)][nth / 4 % PAIRS].numbers[nth % 4] +=
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
    const Multiplication<Tile> multiplication(products, product.matrix, shared, first_token, first_row, share);
    TensorSums sums[Tile::TOKEN_TILES][PAIRS];
#pragma unroll
    for (int tile = 0; tile < Tile::TOKEN_TILES; tile++) {
#pragma unroll
        for (int pair = 0; pair < PAIRS; pair++) {
            sums[tile][pair] = {{0.0f, 0.0f, 0.0f, 0.0f}};
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
        for (int nth = 0; nth < 2; nth++) {
            const int token = first_token + TILE_TOKENS * tile + 2 * t + nth;
            if (token < products.tokens) {
                const float scale = products.scales[token];
                FourNumbers four;
#pragma unroll
                for (int row = 0; row < FOUR; row++) {
                    four.numbers[row] = sums[tile][row / 2].numbers[2 * (row % 2) + nth] * scale;
                }
                put_four(product, token, first_row + FOUR * g, four);
            }
        }
    }
}

// registers <= 255
extern "C" __global__ void __launch_bounds__(128, 2) many_128_128(const Products products) {
    using Of = Tile<16, 4, 1, 4>;
    __shared__ Of::Shared shared;
    multiply_many<Of>(products, shared);
}

// registers <= 255
extern "C" __global__ void __launch_bounds__(128, 2) many_64_64(const Products products) {
    using Of = Tile<8, 2, 2, 4>;
    __shared__ Of::Shared shared;
    multiply_many<Of>(products, shared);
}

// registers <= 255
extern "C" __global__ void __launch_bounds__(128, 2) many_64_32(const Products products) {
    using Of = Tile<8, 1, 2, 3>;
    __shared__ Of::Shared shared;
    multiply_many<Of>(products, shared);
}
