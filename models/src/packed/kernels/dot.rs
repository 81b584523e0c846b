//! How 256-bit kernels multiply and add: the one step in which AVX2 and AVX-VNNI differ.
//!
//! AVX-VNNI (`vpdpbusd`) adds four products to a sum of 32 bits in one instruction. AVX2 adds products of neighbouring
//! columns in 16 bits (`vpmaddubsw`), then in 32 bits (`vpmaddwd`). The second step is put off for as many groups as
//! cannot overflow 16 bits: codes of 4 bits give at most `2 * 15 * 127` a group, so eight groups, a whole block, fit;
//! codes of 5 bits four groups, codes of 6 bits two. Codes of 8 bits would overflow within one. They are taken as
//! signed again and their sign is moved to the activation, which gives at most `2 * 128 * 127`.

use std::arch::x86_64::*;

/// Sums of eight rows, as they are being added.
///
/// All functions need a processor with AVX2 and what the implementation names, and are inlined into functions that are
/// compiled for it.
pub(super) trait Dot {
    /// The sums, and what has not been added to them yet.
    type Sums: Copy;

    /// Whether codes of 8 bits are multiplied as they are, 128 too large.
    const OFFSET_BYTES: bool;

    /// Every sum begins at `value`.
    unsafe fn begin(value: i32) -> Self::Sums;

    /// Adds the products of four columns: `codes` of `BITS` bits, the same `four` activations in every lane.
    unsafe fn add<const BITS: usize>(sums: Self::Sums, codes: __m256i, four: __m256i)
    -> Self::Sums;

    /// To be called after every `group`; adds what cannot be put off longer.
    unsafe fn settle<const BITS: usize>(sums: Self::Sums, group: usize) -> Self::Sums;

    /// The sums.
    unsafe fn end(sums: Self::Sums) -> __m256i;
}

/// With the instructions of AVX2.
pub(super) struct Pairs;

impl Dot for Pairs {
    /// Sums in 32 bits, sums of pairs in 16.
    type Sums = [__m256i; 2];

    const OFFSET_BYTES: bool = false;

    #[inline(always)]
    unsafe fn begin(value: i32) -> [__m256i; 2] {
        // SAFETY: the caller's processor has AVX2; so below.
        unsafe { [_mm256_set1_epi32(value), _mm256_setzero_si256()] }
    }

    #[inline(always)]
    unsafe fn add<const BITS: usize>(
        [sums, pairs]: [__m256i; 2],
        codes: __m256i,
        four: __m256i,
    ) -> [__m256i; 2] {
        // SAFETY: see `begin`.
        unsafe {
            let products = if BITS == 8 {
                let signed = _mm256_xor_si256(codes, _mm256_set1_epi8(i8::MIN));
                _mm256_maddubs_epi16(_mm256_abs_epi8(signed), _mm256_sign_epi8(four, signed))
            } else {
                _mm256_maddubs_epi16(codes, four)
            };
            [sums, _mm256_add_epi16(pairs, products)]
        }
    }

    #[inline(always)]
    unsafe fn settle<const BITS: usize>([sums, pairs]: [__m256i; 2], group: usize) -> [__m256i; 2] {
        let together = match BITS {
            4 => 8,
            5 => 4,
            6 => 2,
            _ => 1,
        };
        if !(group + 1).is_multiple_of(together) {
            return [sums, pairs];
        }
        // SAFETY: see `begin`.
        unsafe {
            let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
            [_mm256_add_epi32(sums, fours), _mm256_setzero_si256()]
        }
    }

    #[inline(always)]
    unsafe fn end([sums, _]: [__m256i; 2]) -> __m256i {
        sums
    }
}

/// Implements [`Dot`] with one instruction for four products.
macro_rules! fours {
    ($(#[$about:meta])* $name:ident, $instruction:ident) => {
        $(#[$about])*
        pub(super) struct $name;

        impl Dot for $name {
            type Sums = __m256i;

            const OFFSET_BYTES: bool = true;

            #[inline(always)]
            unsafe fn begin(value: i32) -> __m256i {
                // SAFETY: the caller's processor has AVX2.
                unsafe { _mm256_set1_epi32(value) }
            }

            #[inline(always)]
            unsafe fn add<const BITS: usize>(sums: __m256i, codes: __m256i, four: __m256i) -> __m256i {
                // SAFETY: the caller's processor has the instruction.
                unsafe { $instruction(sums, codes, four) }
            }

            #[inline(always)]
            unsafe fn settle<const BITS: usize>(sums: __m256i, _: usize) -> __m256i {
                sums
            }

            #[inline(always)]
            unsafe fn end(sums: __m256i) -> __m256i {
                sums
            }
        }
    };
}

fours! {
    /// With AVX-VNNI.
    Fours, _mm256_dpbusd_avx_epi32
}

#[cfg(test)]
fours! {
    /// The same instruction as AVX-512 VNNI and VL encode it: what tests run on processors that have these, but not
    /// AVX-VNNI.
    FoursOfAvx512, _mm256_dpbusd_epi32
}
