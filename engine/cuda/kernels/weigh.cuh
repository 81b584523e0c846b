// Values of a page, weighted by what the scores of eight query rows became, on tensor cores: of a warp's keys and channels.
//
// The left side of a product is values, 16 channels by 16 tokens, the right one weights, each as two halves. In codes of 4
// bits a value is (its code and its grid's offset) times its grid's step, and a step has four significant bits: both
// parts are halves without any rounding, two products each, and since a lane's channels are all of one run, the part with
// the offset is one product for all of them. In half precision a value is a half as it is. Only values of 8 bits need what
// a half leaves out.
//
// A sixteenth of a value of 4 bits is what is multiplied, so that nothing that fits a half overflows on the way; its
// weights are 16 times as large (`power_of`).
#pragma once

#include "scores.cuh"

/// Weights are powers of two of this and less.
__device__ __forceinline__ float power_of(int value_bits) { return value_bits == 4 ? LARGEST_POWER + 4.0f : LARGEST_POWER; }

/// Two tokens' numbers of 16 bits, the first below.
__device__ __forceinline__ unsigned low_halves(unsigned first, unsigned second) { return (first & 0xffffu) | second << 16; }
__device__ __forceinline__ unsigned high_halves(unsigned first, unsigned second) {
    return first >> 16 | (second & 0xffff0000u);
}

template <int HEAD_DIM>
struct Weighed {
    static constexpr int GROUPS = PageHead<HEAD_DIM>::GROUPS;
    /// Tiles of 16 channels: of lane group g channels `token_of(g, tile)` (rows 0 to 7 of a tile) and 16 more (8 to 15).
    static constexpr int TILES = WARP_CHANNELS / 16;

    TensorSums values[TILES];
    /// What offsets add to all of a lane group's channels (numbers 0 and 1), and the weights themselves (2 and 3), which are
    /// weighed like another channel whose values are 1.
    TensorSums further;

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
            values[tile] = {{0.0f, 0.0f, 0.0f, 0.0f}};
        }
        further = {{0.0f, 0.0f, 0.0f, 0.0f}};
    }

    /// What was summed is multiplied, because the largest score has grown; of rows 2t and 2t + 1.
    __device__ __forceinline__ void keep(const float (&keeps)[2]) {
#pragma unroll
        for (int nth = 0; nth < 4; nth++) {
#pragma unroll
            for (int tile = 0; tile < TILES; tile++) {
                values[tile].numbers[nth] *= keeps[nth % 2];
            }
            further.numbers[nth] *= keeps[nth % 2];
        }
    }

    /// Adds values of a warp's keys and channels, weighted as `score_tile` laid out their scores.
    __device__ __forceinline__ void add(const TensorSums& weights, const PageHead<HEAD_DIM>& head, int visible) {
        RightWords right;
        RightWords right_rest;
#pragma unroll
        for (int nth = 0; nth < 2; nth++) {
            unsigned first;
            unsigned rest;
            split_halves(weights.numbers[2 * nth], weights.numbers[2 * nth + 1], first, rest);
            right.words[nth] = transposed(first);
            right_rest.words[nth] = transposed(rest);
        }
        // The tokens whose weights a lane has now: this one, and `later` ones.
        const int token = token_of(threadIdx.x % 4 * 2, 2 * key_tile());
        if (head.value_bits == 4) {
            add_codes(head, token, right, right_rest);
        } else if (head.value_bits == 8) {
            add_ones(right, right_rest);
            add_numbers(head, token, right, right_rest);
        } else {
            add_ones(right, right_rest);
            add_halves(head, token, visible, right, right_rest);
        }
    }

    /// Sum of the weights of row 2t + `row`.
    __device__ __forceinline__ float sum(int row) const { return further.numbers[2 + row] * exp2f(-LARGEST_POWER); }

    /// Calls `to` with each of this lane's channels and its value, of row 2t + `row`.
    template <class To>
    __device__ __forceinline__ void put(int row, To to) const {
        const float unit = exp2f(-LARGEST_POWER);
        const int first = channel_part() * WARP_CHANNELS + token_of(threadIdx.x % 32 / 4, 0);
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                to(first + tile + 16 * half, (values[tile].numbers[2 * half + row] + further.numbers[row]) * unit);
            }
        }
    }

   private:
    /// Of the two words of a product's right side, how much later than the first token of all is the token of half `of` of
    /// word `nth`.
    __device__ __forceinline__ static constexpr int later(int nth, int of) { return nth + 4 * of; }

    /// Of a token the run that this lane's channels are of, and the word of it.
    __device__ __forceinline__ static int run_of(int token) {
        return token * GROUPS + channel_part() * (WARP_CHANNELS / RUN) + threadIdx.x % 32 / 16;
    }
    __device__ __forceinline__ static int word_of_run() { return threadIdx.x % 16 / 4; }

    /// Adds values that are halves as they are: `two_of(tile, word)` is word `word` of a tile's left side.
    template <class TwoOf>
    __device__ __forceinline__ void add_exact(const RightWords& right, const RightWords& right_rest, TwoOf two_of) {
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
            const LeftWords left = {{two_of(tile, 0), two_of(tile, 1), two_of(tile, 2), two_of(tile, 3)}};
            multiply_add(values[tile], left, right);
            multiply_add(values[tile], left, right_rest);
        }
    }

    /// The weights themselves, where there are no offsets.
    __device__ __forceinline__ void add_ones(const RightWords& right, const RightWords& right_rest) {
        const LeftWords ones = {{0, 0x3c003c00u, 0, 0x3c003c00u}};
        multiply_add(further, ones, right);
        multiply_add(further, ones, right_rest);
    }

    __device__ __forceinline__ void add_codes(const PageHead<HEAD_DIM>& head, int token, const RightWords& right,
                                              const RightWords& right_rest) {
        const unsigned short* grids = reinterpret_cast<const unsigned short*>(head.value_grids()) + run_of(token);
        const unsigned char* runs = head.values() + run_of(token) * run_bytes(4);
        unsigned codes[2][2];
        unsigned steps[2];
        LeftWords least = {{0, 0x2c002c00u, 0, 0x2c002c00u}};
#pragma unroll
        for (int nth = 0; nth < 2; nth++) {
            unsigned both[2];
#pragma unroll
            for (int of = 0; of < 2; of++) {
                const int run = later(nth, of) * GROUPS;
                both[of] = grids[run];
                codes[nth][of] = eight_of_run<4>(runs + run * run_bytes(4), word_of_run()).words[0];
            }
            // As `grid_at`, two at a time. Offsets are bytes with a sign: 1024 + 128 + offset, over 32, less 36.
            const unsigned two = both[0] | both[1] << 16;
            steps[nth] = (two & 0xff00ff00u) >> 1;
            const unsigned offset = multiply_halves(((two & 0x00ff00ffu) ^ 0x00800080u) | 0x64006400u, 0x28002800u, 0xd080d080u);
            least.words[2 * nth] = multiply_halves(offset, steps[nth], 0);
        }
        multiply_add(further, least, right);
        multiply_add(further, least, right_rest);
        add_exact(right, right_rest, [&](int tile, int word) {
            const unsigned* both = codes[word / 2];
            const unsigned two = tile < 2 ? low_halves(both[0], both[1]) : high_halves(both[0], both[1]);
            // 1 and a sixteenth of the code, times the step, less the step.
            const unsigned code = (moved<6>(two, 8 * (tile % 2) + 4 * (word % 2)) & 0x03c003c0u) | 0x3c003c00u;
            return multiply_halves(code, steps[word / 2], steps[word / 2] ^ 0x80008000u);
        });
    }

    __device__ __forceinline__ void add_numbers(const PageHead<HEAD_DIM>& head, int token, const RightWords& right,
                                                const RightWords& right_rest) {
        Eight<8> codes[2][2];
        float2 grids[2][2];
#pragma unroll
        for (int nth = 0; nth < 4; nth++) {
            const int run = run_of(token + later(nth / 2, nth % 2));
            codes[nth / 2][nth % 2] = eight_of_run<8>(head.values() + run * run_bytes(8), word_of_run());
            grids[nth / 2][nth % 2] = grid_from_one<8>(head.value_grids(), run, 0.0f);
        }
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
            LeftWords left;
            LeftWords left_rest;
#pragma unroll
            for (int word = 0; word < 4; word++) {
                float numbers[2];
#pragma unroll
                for (int nth = 0; nth < 2; nth++) {
                    const float2 grid = grids[word / 2][nth];
                    numbers[nth] = codes[word / 2][nth].from_one(tile + 4 * (word % 2)) * grid.x + grid.y;
                }
                split_halves(numbers[0], numbers[1], left.words[word], left_rest.words[word]);
            }
            multiply_add(values[tile], left, right);
            multiply_add(values[tile], left_rest, right);
            multiply_add(values[tile], left, right_rest);
        }
    }

    __device__ __forceinline__ void add_halves(const PageHead<HEAD_DIM>& head, int token, int visible,
                                               const RightWords& right, const RightWords& right_rest) {
        const int channel = channel_part() * WARP_CHANNELS + token_of(threadIdx.x % 32 / 4, 0);
        const unsigned short* halves =
            reinterpret_cast<const unsigned short*>(head.value_halves()) + token * HEAD_DIM + channel;
        add_exact(right, right_rest, [&](int tile, int word) {
            unsigned two[2];
#pragma unroll
            for (int nth = 0; nth < 2; nth++) {
                // Behind the last token stands what was left there, and a weight of 0 does not undo a NaN.
                const int more = later(word / 2, nth);
                two[nth] = token + more < visible ? halves[more * HEAD_DIM + tile + 16 * (word % 2)] : 0;
            }
            return two[0] | two[1] << 16;
        });
    }
};
