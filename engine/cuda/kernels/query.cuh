// The queries of one token and key/value head, as they come from the model and as attention wants them.
#pragma once

#include "rotation.cuh"

/// Query rows of a pass.
struct Queries {
    /// `[tokens][query_heads][head_dim]`: with bias, not turned, not scaled.
    const float* numbers;
    /// Cosine and sine of each token's position, `[tokens][head_dim / 2]`.
    const float2* turns;
    int query_heads;
    int kv_heads;
    /// Position of the first token.
    int start;
    /// The model's factor on `q . k`, times log2(e): the softmax is one of powers of two.
    float scale;
};

__device__ __forceinline__ int group_size(const Queries& queries) { return queries.query_heads / queries.kv_heads; }

/// One pair of a query, turned to its position and scaled.
__device__ __forceinline__ float2 turned_query(const Queries& queries, int2 channels, int pairs, int pair, int token,
                                               int query_head) {
    const float* row = queries.numbers + ((size_t)token * queries.query_heads + query_head) * 2 * pairs;
    const float2 plain = make_float2(row[channels.x] * queries.scale, row[channels.y] * queries.scale);
    return turn(plain, queries.turns[(size_t)token * pairs + pair]);
}
