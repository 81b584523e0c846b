//! AVX2 with AVX-VNNI: Intel's processors without AVX-512 since 2021, AMD's since Zen 5. As [`super::avx2`] but for the
//! products, which take one instruction.

use super::dot::Fours;
use super::{Kernels, PackedProduct, Panel, Weights, avx2, avx2_packed, avx2_panel};
use crate::level::Level;
use crate::packed::layout::{Layout, TILE_ROWS};

/// Only for processors of this level.
pub(super) static KERNELS: Kernels = Kernels {
    level: Level::AvxVnni,
    panel_rows: avx2_panel::ROWS,
    multiply: detected!(multiply, weights, panel, totals),
    packed: Some(PackedProduct {
        rows: avx2_packed::ROWS,
        multiply: detected!(multiply_packed, layout, tile, panel, totals),
    }),
    unpack: detected!(avx2::unpack, layout, codes, scales, out),
    quantize: detected!(avx2::quantize, values, columns, out),
    rms_norm: detected!(avx2::rms_norm, values, weights, epsilon),
    swiglu: detected!(avx2::swiglu, gate, up),
};

#[target_feature(enable = "avx2,f16c,avxvnni")]
fn multiply(weights: &Weights<'_>, panel: &Panel<'_>, totals: &mut [[f32; TILE_ROWS]]) {
    // SAFETY: compiled for what this needs.
    unsafe { avx2_panel::multiply::<Fours>(weights, panel, totals) }
}

#[target_feature(enable = "avx2,f16c,avxvnni")]
fn multiply_packed(
    layout: Layout,
    tile: &[u8],
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    // SAFETY: compiled for what this needs.
    unsafe { avx2_packed::multiply::<Fours>(layout, tile, panel, totals) }
}

/// The same loops with AVX-512's encoding of the same instruction, for processors that have only that.
#[cfg(test)]
pub(super) mod by_avx512 {
    use super::super::dot::FoursOfAvx512;
    use super::*;

    /// The set, if this processor has the instructions.
    pub(in crate::packed::kernels) fn kernels() -> Option<&'static Kernels> {
        static KERNELS: Kernels = Kernels {
            level: Level::AvxVnni,
            panel_rows: avx2_panel::ROWS,
            multiply: detected!(multiply, weights, panel, totals),
            packed: Some(PackedProduct {
                rows: avx2_packed::ROWS,
                multiply: detected!(multiply_packed, layout, tile, panel, totals),
            }),
            unpack: detected!(avx2::unpack, layout, codes, scales, out),
            quantize: detected!(avx2::quantize, values, columns, out),
            rms_norm: detected!(avx2::rms_norm, values, weights, epsilon),
            swiglu: detected!(avx2::swiglu, gate, up),
        };
        (Level::Avx512.detected()).then_some(&KERNELS)
    }

    #[target_feature(enable = "avx2,f16c,avx512vl,avx512vnni")]
    fn multiply(weights: &Weights<'_>, panel: &Panel<'_>, totals: &mut [[f32; TILE_ROWS]]) {
        // SAFETY: compiled for what this needs.
        unsafe { avx2_panel::multiply::<FoursOfAvx512>(weights, panel, totals) }
    }

    #[target_feature(enable = "avx2,f16c,avx512vl,avx512vnni")]
    fn multiply_packed(
        layout: Layout,
        tile: &[u8],
        panel: &Panel<'_>,
        totals: &mut [[f32; TILE_ROWS]],
    ) {
        // SAFETY: compiled for what this needs.
        unsafe { avx2_packed::multiply::<FoursOfAvx512>(layout, tile, panel, totals) }
    }
}
