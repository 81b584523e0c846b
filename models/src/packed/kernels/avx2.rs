//! AVX2: products of neighbouring columns added in 16 bits (`vpmaddubsw`), then in 32 bits (`vpmaddwd`).
//!
//! The second step is put off for as many groups as cannot overflow 16 bits: codes of 4 bits give at most
//! `2 * 15 * 127` a group, so eight groups, a whole block, fit; codes of 5 bits four groups, codes of 6 bits two.
//! Codes of 8 bits would overflow within one. They are taken as signed again and their sign is moved to the
//! activation, which gives at most `2 * 128 * 127`.

use std::arch::x86_64::*;

use super::{Kernels, Panel, Weights};
use crate::packed::activations::{self, RoundedPanel};
use crate::packed::layout::{BLOCK, GROUP_CODES, GROUPS, Layout, Scales, TILE_ROWS};
use crate::packed::rows;
use crate::packed::unpack::{self, Unpacked};

/// The set, if this processor has the instructions.
pub(super) fn kernels() -> Option<&'static Kernels> {
    static KERNELS: Kernels = Kernels {
        name: "avx2",
        panel_rows: 4,
        multiply: detected!(multiply, weights, panel, totals),
        unpack: detected!(unpack, layout, codes, scales, out),
        quantize: detected!(quantize, values, columns, out),
        rms_norm: detected!(rms_norm, values, weights, epsilon),
        swiglu: detected!(swiglu, gate, up),
    };
    is_x86_feature_detected!("avx2").then_some(&KERNELS)
}

#[target_feature(enable = "avx2")]
fn unpack(layout: Layout, codes: &[u8], scales: &[u8], out: &mut Unpacked) {
    unpack::unpack(layout, codes, scales, out);
}

#[target_feature(enable = "avx2")]
fn quantize(values: &[f32], columns: usize, out: RoundedPanel<'_>) {
    activations::quantize(values, columns, out);
}

#[target_feature(enable = "avx2")]
fn rms_norm(values: &mut [f32], weights: &[f32], epsilon: f32) {
    rows::rms_norm(values, weights, epsilon);
}

#[target_feature(enable = "avx2")]
fn swiglu(gate: &mut [f32], up: &[f32]) {
    rows::swiglu(gate, up);
}

#[target_feature(enable = "avx2")]
fn multiply(weights: &Weights<'_>, panel: &Panel<'_>, totals: &mut [[f32; TILE_ROWS]]) {
    weights.check(panel, totals);
    match panel.rows {
        1 => by_layout::<1>(weights, panel, totals),
        2 => by_layout::<2>(weights, panel, totals),
        3 => by_layout::<3>(weights, panel, totals),
        4 => by_layout::<4>(weights, panel, totals),
        rows => unreachable!("panels have at most four rows, not {rows}"),
    }
}

#[target_feature(enable = "avx2")]
fn by_layout<const ROWS: usize>(
    weights: &Weights<'_>,
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    match (weights.layout.scales, weights.layout.bits) {
        (Scales::Block, 4) => tile::<ROWS, 4, 1, false>(weights, panel, totals),
        (Scales::Block, 5) => tile::<ROWS, 5, 1, false>(weights, panel, totals),
        (Scales::Block, _) => tile::<ROWS, 8, 1, false>(weights, panel, totals),
        (Scales::NestedHalves, _) => tile::<ROWS, 6, 2, false>(weights, panel, totals),
        (_, 4) => tile::<ROWS, 4, 1, true>(weights, panel, totals),
        (_, _) => tile::<ROWS, 5, 1, true>(weights, panel, totals),
    }
}

/// `PARTS` of a block have scales of their own.
#[inline]
#[target_feature(enable = "avx2")]
fn tile<const ROWS: usize, const BITS: usize, const PARTS: usize, const MINIMUMS: bool>(
    weights: &Weights<'_>,
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    // Groups whose sums fit 16 bits.
    let together = match BITS {
        4 => GROUPS,
        5 => GROUPS / 2,
        6 => 2,
        _ => 1,
    };
    for (block, codes) in weights.codes.iter().enumerate() {
        let activations = &panel.codes[block * ROWS * BLOCK..][..ROWS * BLOCK];
        for part in 0..PARTS {
            let at = block * PARTS + part;
            let corrections = &panel.corrections[at * ROWS..][..ROWS];
            let groups = GROUPS / PARTS;
            let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
            if !MINIMUMS && BITS != 8 {
                for row in 0..ROWS {
                    sums[row] = [_mm256_set1_epi32(corrections[row]); 2];
                }
            }
            for first in (part * groups..(part + 1) * groups).step_by(together) {
                let mut pairs = [[_mm256_setzero_si256(); 2]; ROWS];
                for group in first..first + together {
                    let codes = halves(&codes[group * GROUP_CODES..][..GROUP_CODES]);
                    for (row, pairs) in pairs.iter_mut().enumerate() {
                        // SAFETY: `group` is below 8, so the four lie within the row's 32 of `activations`.
                        let four = unsafe {
                            let four = activations.as_ptr().add(row * BLOCK + group * 4);
                            _mm256_set1_epi32(four.cast::<i32>().read_unaligned())
                        };
                        for half in 0..2 {
                            let products = if BITS == 8 {
                                signed_pairs(codes[half], four)
                            } else {
                                _mm256_maddubs_epi16(codes[half], four)
                            };
                            pairs[half] = _mm256_add_epi16(pairs[half], products);
                        }
                    }
                }
                let ones = _mm256_set1_epi16(1);
                for row in 0..ROWS {
                    for half in 0..2 {
                        let fours = _mm256_madd_epi16(pairs[row][half], ones);
                        sums[row][half] = _mm256_add_epi32(sums[row][half], fours);
                    }
                }
            }
            for row in 0..ROWS {
                let activation_scale = _mm256_set1_ps(panel.scales[block * ROWS + row]);
                for (half, &sums) in sums[row].iter().enumerate() {
                    let scales = eight(&weights.scales[at], half);
                    let mut product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scales);
                    if MINIMUMS {
                        let sum = _mm256_set1_ps(corrections[row] as f32);
                        let minimums = eight(&weights.minimums[block], half);
                        product = _mm256_add_ps(product, _mm256_mul_ps(sum, minimums));
                    }
                    let product = _mm256_mul_ps(product, activation_scale);
                    let total = _mm256_add_ps(eight(&totals[row], half), product);
                    // SAFETY: eight of the sixteen numbers.
                    unsafe { _mm256_storeu_ps(totals[row].as_mut_ptr().add(half * 8), total) };
                }
            }
        }
    }
}

/// Codes of rows 0 to 7 and 8 to 15.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(codes: &[u8]) -> [__m256i; 2] {
    assert_eq!(codes.len(), GROUP_CODES);
    let codes = codes.as_ptr().cast::<__m256i>();
    // SAFETY: 64 bytes.
    unsafe { [_mm256_loadu_si256(codes), _mm256_loadu_si256(codes.add(1))] }
}

#[inline]
#[target_feature(enable = "avx2")]
fn eight(numbers: &[f32; TILE_ROWS], half: usize) -> __m256 {
    assert!(half < 2);
    // SAFETY: eight of sixteen.
    unsafe { _mm256_loadu_ps(numbers.as_ptr().add(half * 8)) }
}

/// Sums of two products of codes less 128.
#[inline]
#[target_feature(enable = "avx2")]
fn signed_pairs(codes: __m256i, activations: __m256i) -> __m256i {
    let signed = _mm256_xor_si256(codes, _mm256_set1_epi8(i8::MIN));
    _mm256_maddubs_epi16(
        _mm256_abs_epi8(signed),
        _mm256_sign_epi8(activations, signed),
    )
}
