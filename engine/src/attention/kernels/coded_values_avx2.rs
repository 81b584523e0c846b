//! [`super::coded_values`] with AVX2: products of neighbouring tokens added in 16 bits, of which eight fit
//! (`8 * 2 * 255 * 8`), then in 32 bits.

use super::avx2::grids;
use super::coded_values::{NOTHING, QUAD, QUADS, SpreadValues};
use super::even_tile;
use crate::kv::format::VALUE_GROUP;
use crate::kv::{BLOCK_TOKENS, Codes};
use std::arch::x86_64::*;

/// Rows taken together: by 16 channels 12 of the 16 registers, with the sums of 32 bits in memory meanwhile.
const TILE_ROWS: usize = 6;

/// Quads whose products fit 16 bits.
const PUT_OFF: usize = 8;

#[target_feature(enable = "avx2,f16c")]
pub(super) fn spread(codes: &Codes<'_>, channels: usize, values: &mut SpreadValues) {
    values.prepare(codes, channels);
    spread_grids(codes, values);
    let token_bytes = channels / 2;
    let (fifteen, eight) = (_mm256_set1_epi8(15), _mm256_set1_epi8(8));
    for quad in 0..QUADS {
        for pair in 0..channels / (2 * VALUE_GROUP) {
            // Two groups of 32 channels at a time, each in a half of the registers.
            let from = (quad * QUAD) * token_bytes + pair * 32;
            let token = |nth: usize| {
                let bytes = &codes.packed[from + nth * token_bytes..][..32];
                // SAFETY: 32 bytes.
                unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
            };
            let [a, b, c, d] = [token(0), token(1), token(2), token(3)];
            let (ab, ab_high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
            let (cd, cd_high) = (_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d));
            // Channels 0 to 3 and (high halves of bytes) 16 to 19 of both groups, then 4 to 7 and 20 to 23, and so on.
            let fours = [
                _mm256_unpacklo_epi16(ab, cd),
                _mm256_unpackhi_epi16(ab, cd),
                _mm256_unpacklo_epi16(ab_high, cd_high),
                _mm256_unpackhi_epi16(ab_high, cd_high),
            ];
            let [p, q, r, s] = fours;
            let groups = [
                [
                    _mm256_permute2x128_si256::<0x20>(p, q),
                    _mm256_permute2x128_si256::<0x20>(r, s),
                ],
                [
                    _mm256_permute2x128_si256::<0x31>(p, q),
                    _mm256_permute2x128_si256::<0x31>(r, s),
                ],
            ];
            for (nth, group) in groups.into_iter().enumerate() {
                let channel = (2 * pair + nth) * VALUE_GROUP;
                let to = &mut values.codes[(quad * channels + channel) * QUAD..][..128];
                for (half, codes) in group.into_iter().enumerate() {
                    let low = _mm256_and_si256(codes, fifteen);
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), fifteen);
                    // SAFETY: four times 32 bytes.
                    unsafe {
                        let to = to.as_mut_ptr().cast::<__m256i>().add(half);
                        _mm256_storeu_si256(to, _mm256_sub_epi8(low, eight));
                        _mm256_storeu_si256(to.add(2), _mm256_sub_epi8(high, eight));
                    }
                }
            }
        }
    }
}

/// Steps and middles of the grids, groups as rows.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn spread_grids(codes: &Codes<'_>, values: &mut SpreadValues) {
    // Channels are a multiple of two groups, so a token's grids are pairs.
    let (pairs, _) = codes.grids.of_two_bytes().as_flattened().as_chunks::<4>();
    let pairs_of_token = values.groups() / 2;
    for pair in 0..pairs_of_token {
        for first in (0..BLOCK_TOKENS).step_by(8) {
            let [a, b, c, d, e, f, g, h] = [0, 1, 2, 3, 4, 5, 6, 7]
                .map(|nth| i32::from_le_bytes(pairs[(first + nth) * pairs_of_token + pair]));
            let eight = _mm256_setr_epi32(a, b, c, d, e, f, g, h);
            let even = _mm256_and_si256(eight, _mm256_set1_epi32(0xffff));
            let packed = _mm256_packus_epi32(even, _mm256_srli_epi32::<16>(eight));
            let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(packed);
            let groups = [
                _mm256_castsi256_si128(packed),
                _mm256_extracti128_si256::<1>(packed),
            ];
            for (nth, eight) in groups.into_iter().enumerate() {
                let [steps, least] = grids(eight);
                let middles = _mm256_add_ps(_mm256_mul_ps(steps, _mm256_set1_ps(8.0)), least);
                let at = (2 * pair + nth) * BLOCK_TOKENS + first;
                // SAFETY: the slicing compares the end of the 8 numbers with the length.
                unsafe {
                    _mm256_storeu_ps(values.steps[at..][..8].as_mut_ptr(), steps);
                    _mm256_storeu_ps(values.middles[at..][..8].as_mut_ptr(), middles);
                }
            }
        }
    }
}

/// What a row's weights are for 32 channels. Aligned, since what is stored across two lines of the cache is waited for when
/// it is loaded in pieces: where it came to lie on the stack changed the time of all by half.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Factors {
    /// Four tokens in 32 bits.
    quads: [i32; QUADS],
    scale: f32,
    /// Weighted sum of the middles.
    middle: f32,
}

impl Factors {
    const NONE: Factors = Factors {
        quads: [0; QUADS],
        scale: 0.0,
        middle: 0.0,
    };
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn weigh(weights: &[f32], values: &SpreadValues, sums: &mut [f32]) {
    let rows = values.check(weights, sums);
    let tile = even_tile(rows, TILE_ROWS).max(1);
    let weights = weights.chunks(tile * BLOCK_TOKENS);
    for (weights, sums) in weights.zip(sums.chunks_mut(tile * values.channels)) {
        match weights.len() / BLOCK_TOKENS {
            1 => row_tile::<1>(weights, values, sums),
            2 => row_tile::<2>(weights, values, sums),
            3 => row_tile::<3>(weights, values, sums),
            4 => row_tile::<4>(weights, values, sums),
            5 => row_tile::<5>(weights, values, sums),
            _ => row_tile::<6>(weights, values, sums),
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn row_tile<const ROWS: usize>(weights: &[f32], values: &SpreadValues, sums: &mut [f32]) {
    let channels = values.channels;
    let weights = weights.as_chunks::<BLOCK_TOKENS>().0;
    let ones = _mm256_set1_epi16(1);
    for group in 0..values.groups() {
        let mut factors = [Factors::NONE; ROWS];
        for (factors, weights) in factors.iter_mut().zip(weights) {
            *factors = round(weights, values, group);
        }
        for first in (group * VALUE_GROUP..(group + 1) * VALUE_GROUP).step_by(16) {
            let mut totals = [[_mm256_setzero_si256(); 2]; ROWS];
            let mut quad = 0;
            // By rows of codes, whose number the compiler does not know: unrolled, this takes a third longer.
            for codes in values.codes.chunks_exact(PUT_OFF * channels * QUAD) {
                let mut pairs = [[_mm256_setzero_si256(); 2]; ROWS];
                for codes in codes.chunks_exact(channels * QUAD) {
                    // SAFETY: `first + 16` is at most `channels`, each of which has four codes here.
                    let codes = unsafe {
                        let codes = codes.as_ptr().add(first * QUAD).cast::<__m256i>();
                        [_mm256_loadu_si256(codes), _mm256_loadu_si256(codes.add(1))]
                    };
                    for (pairs, factors) in pairs.iter_mut().zip(&factors) {
                        let four = _mm256_set1_epi32(factors.quads[quad]);
                        for (pairs, codes) in pairs.iter_mut().zip(codes) {
                            *pairs = _mm256_add_epi16(*pairs, _mm256_maddubs_epi16(four, codes));
                        }
                    }
                    quad += 1;
                }
                for (totals, pairs) in totals.iter_mut().zip(pairs) {
                    for (total, pairs) in totals.iter_mut().zip(pairs) {
                        *total = _mm256_add_epi32(*total, _mm256_madd_epi16(pairs, ones));
                    }
                }
            }
            for (row, (totals, factors)) in totals.into_iter().zip(&factors).enumerate() {
                let sums = &mut sums[row * channels + first..][..16];
                let (scale, middle) = (
                    _mm256_set1_ps(factors.scale),
                    _mm256_set1_ps(factors.middle),
                );
                for (total, sums) in totals.into_iter().zip(sums.chunks_exact_mut(8)) {
                    let more = _mm256_fmadd_ps(_mm256_cvtepi32_ps(total), scale, middle);
                    // SAFETY: the chunk holds 8 numbers.
                    unsafe {
                        let sum = _mm256_add_ps(_mm256_loadu_ps(sums.as_ptr()), more);
                        _mm256_storeu_ps(sums.as_mut_ptr(), sum);
                    }
                }
            }
        }
    }
}

/// Rounds a row's weights, times the steps of a group of channels.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn round(weights: &[f32; BLOCK_TOKENS], values: &SpreadValues, group: usize) -> Factors {
    let grids = group * BLOCK_TOKENS..(group + 1) * BLOCK_TOKENS;
    let (steps, middles) = (&values.steps[grids.clone()], &values.middles[grids]);
    let load = |numbers: &[f32], nth: usize| {
        // SAFETY: the slicing compares the end of the 8 numbers with the length.
        unsafe { _mm256_loadu_ps(numbers[8 * nth..][..8].as_ptr()) }
    };
    let mut products = [_mm256_setzero_ps(); 8];
    let mut largest = _mm256_setzero_ps();
    let mut middle = _mm256_setzero_ps();
    for (nth, product) in products.iter_mut().enumerate() {
        let weights = load(weights, nth);
        *product = _mm256_mul_ps(weights, load(steps, nth));
        largest = _mm256_max_ps(*product, largest);
        middle = _mm256_fmadd_ps(weights, load(middles, nth), middle);
    }
    let largest = super::avx2::largest_of_eight(largest);
    let (scale, reciprocal) = if largest < NOTHING {
        (0.0, 0.0)
    } else {
        (largest * (1.0 / 255.0), 255.0 / largest)
    };
    let reciprocal = _mm256_set1_ps(reciprocal);
    let whole = |nth: usize| _mm256_cvtps_epi32(_mm256_mul_ps(products[nth], reciprocal));
    let mut quads = [0; QUADS];
    for half in 0..2 {
        let at = 4 * half;
        let words = [
            _mm256_packs_epi32(whole(at), whole(at + 1)),
            _mm256_packs_epi32(whole(at + 2), whole(at + 3)),
        ];
        // Packing works within halves of registers; in order again by quads.
        let bytes = _mm256_packus_epi16(words[0], words[1]);
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let bytes = _mm256_permutevar8x32_epi32(bytes, order);
        // SAFETY: eight of sixteen quads.
        unsafe { _mm256_storeu_si256(quads[8 * half..].as_mut_ptr().cast(), bytes) };
    }
    Factors {
        quads,
        scale,
        middle: super::avx2::sum_of_eight(middle),
    }
}
