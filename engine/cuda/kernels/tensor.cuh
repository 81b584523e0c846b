// The tensor cores' product: 16 rows by 16 columns, times 16 columns by 8 rows, added to 16 by 8 sums, by a whole warp.
//
// Lane l = 4 * g + t holds, two halves a word: of the left matrix columns 2t, 2t + 1 of row g (word 0) and row g + 8 (word
// 1), columns 2t + 8, 2t + 9 of both (words 2 and 3); of the right one columns 2t, 2t + 1 (word 0) and 2t + 8, 2t + 9 (word
// 1) of row g; of the sums (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1). See mma.sync in NVIDIA's PTX manual.
//
// On Turing, which has only products of half the columns, it is two of them. On the CPU lanes look at each other's words.
//
// What comes out of one product is not laid out as the next one wants its right side: `transposed` makes it so. And two
// halves at a time can be multiplied in a lane's own registers: `multiply_halves`.
#pragma once

#ifndef CUDA_ON_CPU
#include <cuda_fp16.h>
#endif

struct LeftWords {
    unsigned words[4];
};
struct RightWords {
    unsigned words[2];
};
struct TensorSums {
    float numbers[4];
};

/// The left and right side of a product of half the columns: words 0 and 1, and word 0, of the whole one's.
struct LeftHalf {
    unsigned words[2];
};
using RightHalf = unsigned;

#ifdef CUDA_ON_CPU

inline float half_of(unsigned word, int nth) { return __half2float(__ushort_as_half((unsigned short)(word >> 16 * nth))); }

/// What a lane brings to a product of 8 * HALVES columns, as numbers.
template <int HALVES>
struct LaneNumbers {
    float left[2 * HALVES][2];
    float right[HALVES][2];
};

template <int HALVES>
ONE_INSTRUCTION void multiply_add_of(TensorSums& sums, const unsigned* left, const unsigned* right) {
    LaneNumbers<HALVES> own;
    for (int half = 0; half < 2; half++) {
        for (int word = 0; word < 2 * HALVES; word++) {
            own.left[word][half] = half_of(left[word], half);
        }
        for (int word = 0; word < HALVES; word++) {
            own.right[word][half] = half_of(right[word], half);
        }
    }
    const LaneNumbers<HALVES>* all[32];
    cpu::exchange_all(&own, reinterpret_cast<const void**>(all), SITE);
    const int g = cpu::here.lane / 4;
    const int t = cpu::here.lane % 4;
    for (int word = 0; word < HALVES; word++) {
        for (int nth = 0; nth < 4; nth++) {
            for (int half = 0; half < 2; half++) {
                for (int column = 0; column < 2; column++) {
                    const float factor = all[4 * (2 * t + column) + nth]->right[word][half];
                    sums.numbers[column] += all[4 * g + nth]->left[2 * word][half] * factor;
                    sums.numbers[2 + column] += all[4 * g + nth]->left[2 * word + 1][half] * factor;
                }
            }
        }
    }
    __syncwarp();  // nobody looks at `own` any more
}

inline void multiply_add(TensorSums& sums, const LeftHalf& left, RightHalf right) {
    multiply_add_of<1>(sums, left.words, &right);
}

inline void multiply_add(TensorSums& sums, const LeftWords& left, const RightWords& right) {
    multiply_add_of<2>(sums, left.words, right.words);
}

__device__ __forceinline__ unsigned two_halves(float first, float second) {
    return (unsigned)__half_as_ushort(__float2half_rn(first)) | (unsigned)__half_as_ushort(__float2half_rn(second)) << 16;
}

ONE_INSTRUCTION inline unsigned transposed(unsigned word) {
    const int g = cpu::here.lane / 4;
    const int t = cpu::here.lane % 4;
    const unsigned first = cpu::shuffle(0xffffffffu, word, 4 * (2 * t) + g / 2, SITE);
    const unsigned second = cpu::shuffle(0xffffffffu, word, 4 * (2 * t + 1) + g / 2, SITE);
    return (first >> 16 * (g % 2) & 0xffffu) | (second >> 16 * (g % 2) & 0xffffu) << 16;
}

// Rounded twice here, first to F32; nothing rounds where these kernels use it.
inline unsigned multiply_halves(unsigned a, unsigned b, unsigned c) {
    return two_halves(half_of(a, 0) * half_of(b, 0) + half_of(c, 0), half_of(a, 1) * half_of(b, 1) + half_of(c, 1));
}

#else

__device__ __forceinline__ void multiply_add(TensorSums& sums, const LeftHalf& left, RightHalf right) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(sums.numbers[0]), "+f"(sums.numbers[1]), "+f"(sums.numbers[2]), "+f"(sums.numbers[3])
        : "r"(left.words[0]), "r"(left.words[1]), "r"(right));
}

__device__ __forceinline__ void multiply_add(TensorSums& sums, const LeftWords& left, const RightWords& right) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums.numbers[0]), "+f"(sums.numbers[1]), "+f"(sums.numbers[2]), "+f"(sums.numbers[3])
        : "r"(left.words[0]), "r"(left.words[1]), "r"(left.words[2]), "r"(left.words[3]), "r"(right.words[0]),
          "r"(right.words[1]));
#else
#pragma unroll
    for (int half = 0; half < 2; half++) {
        multiply_add(sums, LeftHalf{{left.words[2 * half], left.words[2 * half + 1]}}, right.words[half]);
    }
#endif
}

__device__ __forceinline__ unsigned two_halves(float first, float second) {
    const __half2 both = __floats2half2_rn(first, second);
    return *reinterpret_cast<const unsigned*>(&both);
}

/// Of 8 by 8 halves, of which lane 4 * g + t has (g, 2t) and (g, 2t + 1), the word of the same lane when rows are columns.
__device__ __forceinline__ unsigned transposed(unsigned word) {
    unsigned turned;
    asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(turned) : "r"(word));
    return turned;
}

/// `a * b + c`, of each of two halves, rounded once.
__device__ __forceinline__ unsigned multiply_halves(unsigned a, unsigned b, unsigned c) {
    unsigned result;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(c));
    return result;
}

#endif
