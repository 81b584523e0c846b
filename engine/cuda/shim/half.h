// Half-precision numbers (IEEE 754 binary16), as `cuda_fp16.h` has them.
#pragma once

#include <cstdint>
#include <cstring>

struct __half {
    uint16_t bits;
};

inline __half __ushort_as_half(unsigned short bits) { return {bits}; }
inline unsigned short __half_as_ushort(__half half) { return half.bits; }

inline float __half2float(__half half) {
    const uint32_t sign = (half.bits & 0x8000u) << 16;
    const uint32_t exponent = half.bits >> 10 & 31;
    const uint32_t mantissa = half.bits & 0x3ffu;
    if (exponent == 0) {
        const float number = (float)mantissa * 0x1p-24f;
        return sign ? -number : number;
    }
    const uint32_t bits = exponent == 31 ? sign | 0x7f800000u | mantissa << 13
                                         : sign | (exponent + 112) << 23 | mantissa << 13;
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/// Rounds to nearest, ties to even. NaN becomes 0x7fff, as in hardware.
inline __half __float2half_rn(float number) {
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u;
    const int exponent = (int)(bits >> 23 & 255) - 112;
    const uint32_t mantissa = bits & 0x7fffffu;
    if (exponent == 143 && mantissa != 0) {
        return {0x7fffu};
    }
    if (exponent >= 31) {
        return {(uint16_t)(sign | 0x7c00u)};
    }
    if (exponent < -10) {
        return {(uint16_t)sign};
    }
    // Where the last bit that is kept stands, and the bits above it.
    const int dropped = exponent > 0 ? 13 : 14 - exponent;
    const uint32_t whole = exponent > 0 ? (uint32_t)exponent << 23 | mantissa : 0x800000u | mantissa;
    uint32_t kept = whole >> dropped;
    const uint32_t rest = whole & ((1u << dropped) - 1);
    const uint32_t half = 1u << (dropped - 1);
    // A carry out of the mantissa grows the exponent, up to infinity, as it should.
    kept += rest > half || (rest == half && (kept & 1));
    return {(uint16_t)(sign | kept)};
}
