// Turning queries and keys to their positions (rotary embedding, Su et al. 2021, arXiv 2104.09864).
//
// Angles are computed on the host in double precision, so their error does not grow with the position. A turned vector
// stands in the order of pairs: the first channels of all pairs, then the second ones.
#pragma once

/// Tables on the device. Channels that a model does not turn are pairs whose angle is 0.
struct Rotation {
    /// The two channels of each pair, `[head_dim / 2]`.
    const int2* channels;
    /// Cosine and sine by pair and place in a page, `[head_dim / 2][64]`.
    const float2* places;
    /// Cosine and sine of each page's first position, `[pages][head_dim / 2]`.
    const float2* pages;
    /// Those of `places` as lanes want them (`scores.cuh`), `[head_dim / 8][8][32]`: pair 4 * i + lane % 4, and of the
    /// tokens that the lane takes the nth.
    const float2* lanes;
};

__device__ __forceinline__ float2 turn(float2 pair, float2 angle) {
    return make_float2(pair.x * angle.x - pair.y * angle.y, pair.x * angle.y + pair.y * angle.x);
}

__device__ __forceinline__ float2 turn_back(float2 pair, float2 angle) {
    return make_float2(pair.x * angle.x + pair.y * angle.y, pair.y * angle.x - pair.x * angle.y);
}
