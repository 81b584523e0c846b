//! [`super::coded_values`] with AVX-512 VNNI: products of four tokens and sixteen channels in one instruction.

use super::avx512::in_halves;
use super::coded_values::{NOTHING, QUAD, QUADS, SpreadValues};
use super::even_tile;
use crate::kv::BLOCK_TOKENS;
use crate::kv::format::VALUE_GROUP;
use std::arch::x86_64::*;

/// Rows taken together: by 64 channels 24 of the 32 registers.
const TILE_ROWS: usize = 6;

/// Channels taken together: two groups.
const CHANNELS: usize = 2 * VALUE_GROUP;

/// What a row's weights are for two groups of channels. Aligned, as in `coded_values_avx2`.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Factors {
    /// Four tokens in 32 bits; quad `4 a + b` stands at `4 b + a`.
    quads: [[i32; QUADS]; 2],
    /// Of the first group in the first eight, of the second in the others.
    scales: [f32; 16],
    /// Weighted sums of the middles, likewise.
    middles: [f32; 16],
}

impl Factors {
    const NONE: Factors = Factors {
        quads: [[0; QUADS]; 2],
        scales: [0.0; 16],
        middles: [0.0; 16],
    };
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
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

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn row_tile<const ROWS: usize>(weights: &[f32], values: &SpreadValues, sums: &mut [f32]) {
    let channels = values.channels;
    let weights = weights.as_chunks::<BLOCK_TOKENS>().0;
    for first in (0..channels).step_by(CHANNELS) {
        let mut factors = [Factors::NONE; ROWS];
        for (factors, weights) in factors.iter_mut().zip(weights) {
            *factors = round(weights, values, first / VALUE_GROUP);
        }
        let mut totals = [[_mm512_setzero_si512(); 4]; ROWS];
        for quad in 0..QUADS {
            let codes = &values.codes[(quad * channels + first) * QUAD..][..CHANNELS * QUAD];
            let codes = [0, 64, 128, 192].map(|at| {
                // SAFETY: 64 of 256 bytes.
                unsafe { _mm512_loadu_si512(codes[at..][..64].as_ptr().cast()) }
            });
            for (totals, factors) in totals.iter_mut().zip(&factors) {
                for (nth, codes) in codes.into_iter().enumerate() {
                    let at = 4 * (quad % 4) + quad / 4;
                    let four = _mm512_set1_epi32(factors.quads[nth / 2][at]);
                    totals[nth] = _mm512_dpbusd_epi32(totals[nth], four, codes);
                }
            }
        }
        for (row, (totals, factors)) in totals.into_iter().zip(&factors).enumerate() {
            let sums = &mut sums[row * channels + first..][..CHANNELS];
            for (nth, total) in totals.into_iter().enumerate() {
                let scale = _mm512_set1_ps(factors.scales[nth / 2 * 8]);
                let middle = _mm512_set1_ps(factors.middles[nth / 2 * 8]);
                let more = _mm512_fmadd_ps(_mm512_cvtepi32_ps(total), scale, middle);
                let sums = &mut sums[16 * nth..][..16];
                // SAFETY: sixteen numbers.
                unsafe {
                    let sum = _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr()), more);
                    _mm512_storeu_ps(sums.as_mut_ptr(), sum);
                }
            }
        }
    }
}

/// Rounds a row's weights, times the steps of two groups of channels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn round(weights: &[f32; BLOCK_TOKENS], values: &SpreadValues, group: usize) -> Factors {
    let grids = group * BLOCK_TOKENS..(group + 2) * BLOCK_TOKENS;
    let (steps, middles) = (&values.steps[grids.clone()], &values.middles[grids]);
    let load = |numbers: &[f32], at: usize| {
        // SAFETY: the slicing compares the end of the 16 numbers with the length.
        unsafe { _mm512_loadu_ps(numbers[at..][..16].as_ptr()) }
    };
    let mut products = [[_mm512_setzero_ps(); 2]; 4];
    let mut largest = [_mm512_setzero_ps(); 2];
    let mut sums = [_mm512_setzero_ps(); 2];
    for (sixteen, products) in products.iter_mut().enumerate() {
        let weights = load(weights, 16 * sixteen);
        for nth in 0..2 {
            let at = nth * BLOCK_TOKENS + 16 * sixteen;
            let product = _mm512_mul_ps(weights, load(steps, at));
            products[nth] = product;
            largest[nth] = _mm512_max_ps(product, largest[nth]);
            sums[nth] = _mm512_fmadd_ps(weights, load(middles, at), sums[nth]);
        }
    }
    let largest = in_halves(largest, |a, b| _mm512_max_ps(a, b));
    let sums = in_halves(sums, |a, b| _mm512_add_ps(a, b));
    let something = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(largest, _mm512_set1_ps(NOTHING));
    let reciprocals = _mm512_maskz_div_ps(something, _mm512_set1_ps(255.0), largest);
    let scales = _mm512_maskz_mul_ps(something, largest, _mm512_set1_ps(1.0 / 255.0));
    let mut factors = Factors::NONE;
    // SAFETY: both hold sixteen numbers.
    unsafe {
        _mm512_storeu_ps(factors.scales.as_mut_ptr(), scales);
        _mm512_storeu_ps(factors.middles.as_mut_ptr(), sums);
    }
    let reciprocals = [
        _mm512_shuffle_f32x4::<0b00_00_00_00>(reciprocals, reciprocals),
        _mm512_shuffle_f32x4::<0b10_10_10_10>(reciprocals, reciprocals),
    ];
    for (nth, (reciprocal, quads)) in reciprocals.into_iter().zip(&mut factors.quads).enumerate() {
        let [a, b, c, d] =
            products.map(|product| _mm512_cvtps_epi32(_mm512_mul_ps(product[nth], reciprocal)));
        // Packing works within quarters of registers, which is how quads come to stand as they do.
        let bytes = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
        // SAFETY: sixteen quads are 64 bytes.
        unsafe { _mm512_storeu_si512(quads.as_mut_ptr().cast(), bytes) };
    }
    factors
}
