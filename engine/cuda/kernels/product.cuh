// Products of the same activations with up to three matrices, in one launch.
#pragma once

#include "matrix.cuh"

struct Product {
    Matrix matrix;
    /// `[rows]`, or null.
    const float* bias;
    /// `[tokens][rows]`.
    float* to;
    /// Whether what stands there is added to.
    int adds;
    /// The first block (of grid x) that works on it.
    int first_block;
};

struct Products {
    Product items[3];
    /// `[tokens][columns]`, for few tokens.
    const float* numbers;
    /// The same in halves with their scales, for many.
    const __half* halves;
    const float* scales;
    int count;
    int tokens;
    /// Warps that share four rows in `few`: 1, 2 or 4.
    int shares;
};

/// The product that this block works on.
__device__ __forceinline__ const Product& product_of_block(const Products& products) {
    int nth = products.count - 1;
    while (nth > 0 && (int)blockIdx.x < products.items[nth].first_block) {
        nth--;
    }
    return products.items[nth];
}

__device__ __forceinline__ void put(const Product& product, int token, int row, float sum) {
    float* to = product.to + (size_t)token * product.matrix.rows + row;
    if (product.bias != nullptr) {
        sum += product.bias[row];
    }
    *to = product.adds ? *to + sum : sum;
}

struct alignas(16) FourNumbers {
    float numbers[4];
};

/// Of rows `first_row` to `first_row + 3`, a multiple of four; those beyond the last are left out.
__device__ __forceinline__ void put_four(const Product& product, int token, int first_row, FourNumbers sums) {
    const int rows = product.matrix.rows;
    float* to = product.to + (size_t)token * rows + first_row;
    if (first_row + FOUR <= rows && reinterpret_cast<size_t>(to) % sizeof sums == 0) {
        FourNumbers* whole = reinterpret_cast<FourNumbers*>(to);
        const FourNumbers before = product.adds ? *whole : FourNumbers{{0.0f, 0.0f, 0.0f, 0.0f}};
#pragma unroll
        for (int row = 0; row < FOUR; row++) {
            const float bias = product.bias != nullptr ? product.bias[first_row + row] : 0.0f;
            sums.numbers[row] = before.numbers[row] + (sums.numbers[row] + bias);
        }
        *whole = sums;
        return;
    }
#pragma unroll
    for (int row = 0; row < FOUR; row++) {
        if (first_row + row < rows) {
            put(product, token, first_row + row, sums.numbers[row]);
        }
    }
}
