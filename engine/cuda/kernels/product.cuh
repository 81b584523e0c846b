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
