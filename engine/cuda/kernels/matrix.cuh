// Weight matrices on the device: the codes of the file they come from, with scales that are the file's own bits.
//
// A matrix is fours of rows, and these are groups of 32 columns; rows that fill up the last four are zeros. Lane l of the
// four that share a group takes its columns 8l to 8l + 7 of all four rows, and finds them beside each other. Of each (four,
// group), in this order, there are 64 bytes with the low four bits of the codes: word 4l + r is of row r, and byte i of it
// has column i of the lane's below and column 4 + i above. For codes of more bits there is a second plane:
//
//   5 bits   16 bytes: of word l, bit 8i + 2r + h is the fifth of row r's column 4h + i
//   6 bits   32 bytes: of word 2l + h, bits 8i + 2r and 8i + 2r + 1 are the upper two of row r's column 4h + i
//   8 bits   64 bytes, as the low plane
//
// and its grids, by which code c stands for `step * c + least`:
//
//   GRID     two halves a row: step and least number
//   NESTED   a factor's byte for each row, then a minimum's for each, and for eight groups two halves a row: step is
//            scale * factor, least is -(scale of minimums) * minimum
//   HALVED   a signed byte for each row and its first 16 columns, then for each and its others, and for eight groups a half
//            a row: step is scale * factor, least is -32 steps
//
// Rows are whole groups, also where they are not whole runs of eight. So what a lane needs at a time are up to 16 bytes of a
// plane, beside those of its neighbours.
#pragma once

#ifndef CUDA_ON_CPU
#include <cuda_fp16.h>
#endif

constexpr int GROUP = 32;
/// Rows that lie beside each other.
constexpr int FOUR = 4;
/// Lanes that share a group, and the columns of each.
constexpr int GROUP_LANES = 4;
constexpr int LANE_COLUMNS = GROUP / GROUP_LANES;
/// Groups under one scale where scales are nested.
constexpr int NESTED_GROUPS = 8;

constexpr int GRID = 0;
constexpr int NESTED = 1;
constexpr int HALVED = 2;

template <int BITS_OF, int KIND_OF>
struct Format {
    static constexpr int BITS = BITS_OF;
    static constexpr int KIND = KIND_OF;
    /// Words of the second plane that a lane has of a group.
    static constexpr int HIGH_WORDS = BITS == 5 ? 1 : BITS == 6 ? 2 : BITS == 8 ? 4 : 0;
    /// Words of grids that a lane looks at.
    static constexpr int GRID_WORDS = KIND == GRID ? 4 : KIND == NESTED ? 2 : 1;
};

/// Brought in one access.
template <int COUNT>
struct alignas(4 * COUNT) Words {
    unsigned words[COUNT];
};
template <>
struct Words<0> {};

struct Matrix {
    /// `[ceil(rows / 4)][groups]` of 64 bytes.
    const unsigned char* low;
    /// `[ceil(rows / 4)][groups]` of 0, 16, 32 or 64 bytes.
    const unsigned char* high;
    /// `[ceil(rows / 4)][groups]` of 16 bytes with GRID, otherwise 8.
    const unsigned char* grids;
    /// `[ceil(rows / 4)][ceil(groups / 8)][4]` of two halves (the second 0 with HALVED); null with GRID.
    const unsigned char* scales;
    int rows;
    int groups;
    /// 4, 5, 6 or 8.
    int bits;
    /// GRID, NESTED or HALVED.
    int kind;
};

/// What a lane has of a group: eight columns of four rows.
template <class Format>
struct Piece {
    Words<FOUR> low;
    Words<Format::HIGH_WORDS> high;
    Words<Format::GRID_WORDS> grids;
    Words<Format::KIND == GRID ? 0 : FOUR> scales;
};

template <int COUNT>
__device__ __forceinline__ void bring_words(Words<COUNT>& words, const unsigned char* plane, unsigned at) {
    words = reinterpret_cast<const Words<COUNT>*>(plane)[at];
}

/// Brings lane `lane`'s piece of a group of the four `four`. Pieces are counted in 32 bits, since no matrix has 2^37 weights.
template <class Format>
__device__ __forceinline__ void bring_piece(const Matrix& matrix, unsigned four, unsigned group, unsigned lane,
                                            Piece<Format>& piece) {
    const unsigned at = four * matrix.groups + group;
    bring_words(piece.low, matrix.low, GROUP_LANES * at + lane);
    if constexpr (Format::HIGH_WORDS > 0) {
        bring_words(piece.high, matrix.high, GROUP_LANES * at + lane);
    }
    bring_words(piece.grids, matrix.grids, Format::KIND == HALVED ? 2 * at + lane / 2 : at);
    if constexpr (Format::KIND != GRID) {
        const unsigned runs = ((unsigned)matrix.groups + NESTED_GROUPS - 1) / NESTED_GROUPS;
        bring_words(piece.scales, matrix.scales, four * runs + group / NESTED_GROUPS);
    }
}

/// How the codes of a row's piece become weights.
struct Level {
    float step;
    float least;
};

__device__ __forceinline__ float half_at(unsigned word, int nth) {
    return __half2float(__ushort_as_half((unsigned short)(word >> 16 * nth)));
}

/// Byte `nth` of a word, exactly. Behind 2^23 a number of F32 has room for whole numbers only.
__device__ __forceinline__ float byte_at(unsigned word, int nth) {
    return __int_as_float((int)__byte_perm(word, 0x4b000000u, 0x7540 + nth)) - 8388608.0f;
}

template <class Format>
__device__ __forceinline__ Level level_of(const Piece<Format>& piece, int row) {
    if constexpr (Format::KIND == GRID) {
        const unsigned grid = piece.grids.words[row];
        return {half_at(grid, 0), half_at(grid, 1)};
    } else {
        const unsigned scales = piece.scales.words[row];
        if constexpr (Format::KIND == NESTED) {
            const float factor = byte_at(piece.grids.words[0], row);
            const float minimum = byte_at(piece.grids.words[1], row);
            return {half_at(scales, 0) * factor, -(half_at(scales, 1) * minimum)};
        } else {
            // A signed byte plus 128 is its bits with the first one turned.
            const float factor = byte_at(piece.grids.words[0] ^ 0x80808080u, row) - 128.0f;
            const float step = half_at(scales, 0) * factor;
            return {step, -32.0f * step};
        }
    }
}

/// What numbers of codes begin with, as `four_numbers` makes them: a power of two that the codes are below, so that their
/// bits need only be put behind its own. It is 0 where codes are converted.
template <class Format>
__device__ __forceinline__ constexpr float first_number() {
    return Format::BITS == 8 ? 0.0f : (float)(1 << Format::BITS);
}

/// The codes of columns 4 * half to 4 * half + 3 of a row's piece, plus `first_number`; exact.
template <class Format>
__device__ __forceinline__ void four_numbers(const Piece<Format>& piece, int row, int half, float (&numbers)[4]) {
    const unsigned low = piece.low.words[row];
    if constexpr (Format::BITS == 8) {
        const unsigned codes = (low >> 4 * half & 0x0f0f0f0fu) | (piece.high.words[row] >> 4 * half & 0x0f0f0f0fu) << 4;
#pragma unroll
        for (int byte = 0; byte < 4; byte++) {
            numbers[byte] = byte_at(codes, byte);
        }
    } else {
        // Codes stand in bits 7 - BITS to 6 of a byte, which is the third of a number of F32: its mantissa's first seven
        // bits, below the last one of its exponent.
        constexpr int UP = 7 - Format::BITS;
        constexpr unsigned LOW_BITS = 0x0f0f0f0fu << UP;
        constexpr int EXPONENT = 127 + Format::BITS;
        constexpr unsigned LAST = EXPONENT % 2 == 1 ? 0x80808080u : 0;
        unsigned codes = ((half == 0 ? low << UP : low >> (4 - UP)) & LOW_BITS) | LAST;
        if constexpr (Format::BITS == 5) {
            // The fifth bit is bit 6.
            const int from = 2 * row + half;
            codes |= (from < 6 ? piece.high.words[0] << (6 - from) : piece.high.words[0] >> (from - 6)) & 0x40404040u;
        }
        if constexpr (Format::BITS == 6) {
            // The upper two are bits 5 and 6.
            const int from = 2 * row;
            const unsigned high = piece.high.words[half];
            codes |= (from < 5 ? high << (5 - from) : high >> (from - 5)) & 0x60606060u;
        }
#pragma unroll
        for (int byte = 0; byte < 4; byte++) {
            numbers[byte] = __int_as_float((int)__byte_perm(codes, (unsigned)(EXPONENT / 2) << 24, 0x7055 + (byte << 8)));
        }
    }
}

/// Calls `work` with the format of a matrix as constants: every format that models come in.
template <class Work>
__device__ __forceinline__ void by_format(const Matrix& matrix, Work work) {
    if (matrix.kind == NESTED) {
        matrix.bits == 4 ? work(Format<4, NESTED>()) : work(Format<5, NESTED>());
    } else if (matrix.kind == HALVED) {
        work(Format<6, HALVED>());
    } else if (matrix.bits == 8) {
        work(Format<8, GRID>());
    } else {
        matrix.bits == 4 ? work(Format<4, GRID>()) : work(Format<5, GRID>());
    }
}
