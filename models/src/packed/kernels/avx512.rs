//! AVX-512 with VNNI: four products of each of sixteen rows in one instruction (`vpdpbusd`).
//!
//! A panel of eight rows of activations keeps eight sums in 32 bits and eight totals in F32 in registers; a group of
//! codes is loaded once for all of them, and four activations come as the instruction's broadcast operand. For a
//! block that is 64 dot products, and per row a conversion, two multiplications and an addition (with minimums two
//! multiplications, an addition and a conversion more).

use std::arch::x86_64::*;

use super::{Kernels, PackedProduct, Panel, Weights, avx512_packed};
use crate::level::Level;
use crate::packed::activations::{self, RoundedPanel};
use crate::packed::layout::{BLOCK, GROUP_CODES, GROUPS, Layout, Scales, TILE_ROWS};
use crate::packed::rows;
use crate::packed::unpack::{self, Unpacked};

/// Only for processors of this level.
pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Avx512,
    panel_rows: 8,
    multiply: detected!(multiply, weights, panel, totals),
    packed: Some(PackedProduct {
        rows: avx512_packed::ROWS,
        multiply: detected!(avx512_packed::multiply, layout, tile, panel, totals),
    }),
    unpack: detected!(unpack, layout, codes, scales, out),
    quantize: detected!(quantize, values, columns, out),
    rms_norm: detected!(rms_norm, values, weights, epsilon),
    swiglu: detected!(swiglu, gate, up),
};

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn unpack(layout: Layout, codes: &[u8], scales: &[u8], out: &mut Unpacked) {
    unpack::unpack(layout, codes, scales, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn quantize(values: &[f32], columns: usize, out: RoundedPanel<'_>) {
    activations::quantize(values, columns, out);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn rms_norm(values: &mut [f32], weights: &[f32], epsilon: f32) {
    rows::rms_norm(values, weights, epsilon);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn swiglu(gate: &mut [f32], up: &[f32]) {
    rows::swiglu(gate, up);
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn multiply(weights: &Weights<'_>, panel: &Panel<'_>, totals: &mut [[f32; TILE_ROWS]]) {
    weights.check(panel, totals);
    match panel.rows {
        1 => by_scales::<1>(weights, panel, totals),
        2 => by_scales::<2>(weights, panel, totals),
        3 => by_scales::<3>(weights, panel, totals),
        4 => by_scales::<4>(weights, panel, totals),
        5 => by_scales::<5>(weights, panel, totals),
        6 => by_scales::<6>(weights, panel, totals),
        7 => by_scales::<7>(weights, panel, totals),
        8 => by_scales::<8>(weights, panel, totals),
        rows => unreachable!("panels have at most eight rows, not {rows}"),
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn by_scales<const ROWS: usize>(
    weights: &Weights<'_>,
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    match weights.layout.scales {
        Scales::Block => tile::<ROWS, 1, false>(weights, panel, totals),
        Scales::NestedHalves => tile::<ROWS, 2, false>(weights, panel, totals),
        Scales::BlockAndMinimum | Scales::Nested => tile::<ROWS, 1, true>(weights, panel, totals),
    }
}

/// `PARTS` of a block have scales of their own.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn tile<const ROWS: usize, const PARTS: usize, const MINIMUMS: bool>(
    weights: &Weights<'_>,
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    let mut running = [_mm512_setzero_ps(); ROWS];
    for row in 0..ROWS {
        // SAFETY: sixteen numbers.
        running[row] = unsafe { _mm512_loadu_ps(totals[row].as_ptr()) };
    }
    for block in 0..weights.codes.len() {
        let activations = &panel.codes[block * ROWS * BLOCK..][..ROWS * BLOCK];
        for part in 0..PARTS {
            let at = block * PARTS + part;
            let corrections = &panel.corrections[at * ROWS..][..ROWS];
            let mut sums = [_mm512_setzero_si512(); ROWS];
            if !MINIMUMS {
                for row in 0..ROWS {
                    sums[row] = _mm512_set1_epi32(corrections[row]);
                }
            }
            for group in part * (GROUPS / PARTS)..(part + 1) * (GROUPS / PARTS) {
                let codes = &weights.codes[block][group * GROUP_CODES..][..GROUP_CODES];
                // SAFETY: a group has 64 codes.
                let codes = unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) };
                for (row, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: `group` is below 8, so the four activations lie within the row's 32 of `activations`.
                    let four = unsafe {
                        let four = activations.as_ptr().add(row * BLOCK + group * 4);
                        four.cast::<i32>().read_unaligned()
                    };
                    *sum = _mm512_dpbusd_epi32(*sum, codes, _mm512_set1_epi32(four));
                }
            }
            // SAFETY: sixteen numbers.
            let scales = unsafe { _mm512_loadu_ps(weights.scales[at].as_ptr()) };
            for row in 0..ROWS {
                let mut product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[row]), scales);
                if MINIMUMS {
                    // SAFETY: sixteen numbers.
                    let minimums = unsafe { _mm512_loadu_ps(weights.minimums[block].as_ptr()) };
                    let sum = _mm512_set1_ps(corrections[row] as f32);
                    product = _mm512_add_ps(product, _mm512_mul_ps(sum, minimums));
                }
                let scale = _mm512_set1_ps(panel.scales[block * ROWS + row]);
                running[row] = _mm512_add_ps(running[row], _mm512_mul_ps(product, scale));
            }
        }
    }
    for row in 0..ROWS {
        // SAFETY: sixteen numbers.
        unsafe { _mm512_storeu_ps(totals[row].as_mut_ptr(), running[row]) };
    }
}
