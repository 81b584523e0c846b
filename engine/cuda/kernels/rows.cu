// What happens to rows of activations between the products: norm, gate, rounding to halves.
//
// In: rows of F32. Out: rows, as the next product wants them (`halves.cuh`).
//
// grid (rows), 256 threads; of `gate_rows` to plain rows (rows, parts of a row). A row is read twice or three times, the
// second time from the cache.

#include "halves.cuh"

struct Norm {
    /// `[rows][columns]`.
    const float* numbers;
    /// `[columns]`.
    const float* weights;
    Rows to;
    int columns;
    float epsilon;
};

struct Gate {
    /// `[rows][columns]`.
    const float* gate;
    const float* up;
    Rows to;
    int columns;
};

struct Halve {
    /// `[rows][columns]`.
    const float* numbers;
    Rows to;
    int columns;
};

/// Root-mean-square norm (Zhang and Sennrich 2019, arXiv 1910.07467).
// registers <= 48
extern "C" __global__ void __launch_bounds__(256) norm_rows(const Norm norm) {
    __shared__ float shared[ROW_THREADS / 32];
    const float* row = norm.numbers + (size_t)blockIdx.x * norm.columns;
    float squares = 0.0f;
    for (int column = threadIdx.x; column < norm.columns; column += ROW_THREADS) {
        squares += row[column] * row[column];
    }
    const float mean = block_sum(squares, shared) / norm.columns;
    const float factor = 1.0f / sqrtf(mean + norm.epsilon);
    put_row(norm.to, blockIdx.x, norm.columns, shared,
            [&](int column) { return row[column] * factor * norm.weights[column]; });
}

/// `silu(gate) * up` (Shazeer 2020, arXiv 2002.05202).
// registers <= 48
extern "C" __global__ void __launch_bounds__(256) gate_rows(const Gate gate) {
    __shared__ float shared[ROW_THREADS / 32];
    const size_t first = (size_t)blockIdx.x * gate.columns;
    const auto gated = [&](int column) {
        const float number = gate.gate[first + column];
        return number / (1.0f + expf(-number)) * gate.up[first + column];
    };
    if (gate.to.halves != nullptr) {
        put_row(gate.to, blockIdx.x, gate.columns, shared, gated);
        return;
    }
    // Nothing of the whole row is needed, and where there are few rows a block for each leaves the GPU idle.
    for (int column = blockIdx.y * ROW_THREADS + threadIdx.x; column < gate.columns;
         column += gridDim.y * ROW_THREADS) {
        gate.to.plain[first + column] = gated(column);
    }
}

// registers <= 48
extern "C" __global__ void __launch_bounds__(256) halve_rows(const Halve halve) {
    __shared__ float shared[ROW_THREADS / 32];
    const float* row = halve.numbers + (size_t)blockIdx.x * halve.columns;
    put_row(halve.to, blockIdx.x, halve.columns, shared, [&](int column) { return row[column]; });
}
