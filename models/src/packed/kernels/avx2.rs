//! AVX2: every x86-64 processor since 2013. Products in two steps, see [`Dot`](super::dot::Dot).

use super::dot::Pairs;
use super::{Kernels, PackedProduct, Panel, Weights, avx2_packed, avx2_panel};
use crate::level::Level;
use crate::packed::activations::{self, RoundedPanel};
use crate::packed::layout::{Layout, TILE_ROWS};
use crate::packed::rows;
use crate::packed::unpack::{self, Unpacked};

/// Only for processors of this level.
pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Avx2,
    panel_rows: avx2_panel::ROWS,
    multiply: detected!(multiply, weights, panel, totals),
    packed: Some(PackedProduct {
        rows: avx2_packed::ROWS,
        multiply: detected!(multiply_packed, layout, tile, panel, totals),
    }),
    unpack: detected!(unpack, layout, codes, scales, out),
    quantize: detected!(quantize, values, columns, out),
    rms_norm: detected!(rms_norm, values, weights, epsilon),
    swiglu: detected!(swiglu, gate, up),
};

#[target_feature(enable = "avx2,f16c")]
fn multiply(weights: &Weights<'_>, panel: &Panel<'_>, totals: &mut [[f32; TILE_ROWS]]) {
    // SAFETY: compiled for what this needs.
    unsafe { avx2_panel::multiply::<Pairs>(weights, panel, totals) }
}

#[target_feature(enable = "avx2,f16c")]
fn multiply_packed(
    layout: Layout,
    tile: &[u8],
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    // SAFETY: compiled for what this needs.
    unsafe { avx2_packed::multiply::<Pairs>(layout, tile, panel, totals) }
}

#[target_feature(enable = "avx2")]
pub(super) fn unpack(layout: Layout, codes: &[u8], scales: &[u8], out: &mut Unpacked) {
    unpack::unpack(layout, codes, scales, out);
}

#[target_feature(enable = "avx2")]
pub(super) fn quantize(values: &[f32], columns: usize, out: RoundedPanel<'_>) {
    activations::quantize(values, columns, out);
}

#[target_feature(enable = "avx2")]
pub(super) fn rms_norm(values: &mut [f32], weights: &[f32], epsilon: f32) {
    rows::rms_norm(values, weights, epsilon);
}

#[target_feature(enable = "avx2")]
pub(super) fn swiglu(gate: &mut [f32], up: &[f32]) {
    rows::swiglu(gate, up);
}
