//! Activations rounded to 8 bits, in the order in which kernels take them.
//!
//! Every 32 columns of a row have a scale of their own, a 127th of the largest magnitude among them: one outlier
//! spoils 31 neighbours, not 255 as with the blocks of 256 that other programs use with K formats. What a row becomes
//! depends on that row alone, so it does not matter which rows are multiplied together.
//!
//! Rows are kept in *panels* of as many rows as a kernel multiplies at once; the last panel holds what is left.
//! NaN or infinity makes the scale of its block NaN, and with it every product of the row. Blocks whose largest
//! magnitude is below `2^-119` count as zeros.

use std::ops::Range;

use rayon::prelude::*;

use super::kernels::Kernels;
use super::layout::{BLOCK, Layout, Scales};

/// Smallest magnitude whose reciprocal, times 127, is not infinite, with a factor to spare.
const TINY: f32 = f32::MIN_POSITIVE * 128.0;

/// Elements from which threads share the work.
const SHARED: usize = 1 << 15;

/// Rows of activations in 8 bits.
pub struct Quantized {
    /// Which will also multiply them: the order depends on it.
    pub(super) kernels: &'static Kernels,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Rows of all panels but the last.
    pub(super) panel: usize,
    /// `[panels][blocks][rows of the panel][32]`.
    pub(super) codes: Vec<i8>,
    /// `[panels][blocks][rows of the panel]`.
    pub(super) scales: Vec<f32>,
    /// Sums of the codes of halves of blocks: `[panels][blocks][2][rows of the panel]`.
    pub(super) sums: Vec<i32>,
    /// Memory for [`Quantized::correct`].
    pub(super) corrections: Vec<i32>,
}

impl Default for Quantized {
    fn default() -> Self {
        Self::empty(Kernels::chosen())
    }
}

impl Quantized {
    /// From `[rows][columns]`; `columns` is a multiple of 32.
    pub fn new(kernels: &'static Kernels, values: &[f32], columns: usize) -> Self {
        let mut rounded = Self::empty(kernels);
        rounded.round(values, columns);
        rounded
    }

    fn empty(kernels: &'static Kernels) -> Self {
        Self {
            kernels,
            rows: 0,
            columns: 0,
            panel: kernels.panel_rows,
            codes: Vec::new(),
            scales: Vec::new(),
            sums: Vec::new(),
            corrections: Vec::new(),
        }
    }

    /// As [`Quantized::new`], in place of what is there.
    pub fn round(&mut self, values: &[f32], columns: usize) {
        assert!(columns.is_multiple_of(BLOCK) && values.len().is_multiple_of(columns));
        let rows = values.len() / columns;
        let (kernels, panel, blocks) = (self.kernels, self.panel, columns / BLOCK);
        (self.rows, self.columns) = (rows, columns);
        // Every number will be written.
        self.codes.resize(rows * columns, 0);
        self.scales.resize(rows * blocks, 0.0);
        self.sums.resize(rows * blocks * 2, 0);
        let values = values.par_chunks(panel * columns);
        let codes_of = self.codes.par_chunks_mut(panel * columns);
        let scales_of = self.scales.par_chunks_mut(panel * blocks);
        let sums_of = self.sums.par_chunks_mut(panel * blocks * 2);
        values
            .zip(codes_of)
            .zip(scales_of)
            .zip(sums_of)
            .with_min_len(SHARED / (panel * columns) + 1)
            .for_each(|(((values, codes), scales), sums)| {
                let out = RoundedPanel {
                    codes,
                    scales,
                    sums,
                };
                (kernels.quantize)(values, columns, out);
            });
    }

    /// What kernels correct their sums with: the sum that a code's offset has added, to be taken away, or where there
    /// are minimums the sum of the block. `[panels][blocks][rows]`, for halves `[panels][blocks][2][rows]`, behind what
    /// `corrections` holds; where they stand there.
    pub(super) fn correct(&self, layout: Layout, corrections: &mut Vec<i32>) -> Range<usize> {
        let (offset, start) = (layout.offset, corrections.len());
        match layout.scales {
            Scales::NestedHalves => {
                corrections.extend(self.sums.iter().map(|sum| -(sum << offset)));
            }
            scales => {
                let blocks = self.columns / BLOCK;
                let factor = if scales == Scales::Block {
                    -(1 << offset)
                } else {
                    1
                };
                for panel in self.sums.chunks(self.panel * blocks * 2) {
                    let rows = panel.len() / (2 * blocks);
                    for block in panel.chunks_exact(2 * rows) {
                        let (first, second) = block.split_at(rows);
                        let sums = first.iter().zip(second).map(|(a, b)| (a + b) * factor);
                        corrections.extend(sums);
                    }
                }
            }
        }
        start..corrections.len()
    }
}

/// Where the rows of one panel are rounded to, laid out as in [`Quantized`].
pub(super) struct RoundedPanel<'a> {
    codes: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [i32],
}

/// Rounds the rows of one panel, each `columns` of `values`, inlined into each level's `quantize`.
#[inline(always)]
pub(super) fn quantize(values: &[f32], columns: usize, panel: RoundedPanel<'_>) {
    let RoundedPanel {
        codes,
        scales,
        sums,
    } = panel;
    let rows = values.len() / columns;
    for (row, values) in values.chunks_exact(columns).enumerate() {
        for (block, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
            let at = block * rows + row;
            let out = &mut codes.as_chunks_mut::<BLOCK>().0[at];
            let largest = largest_magnitude(values);
            let (scale, reciprocal) = if largest.is_nan() || largest == f32::INFINITY {
                (f32::NAN, 0.0)
            } else if largest < TINY {
                (0.0, 0.0)
            } else {
                (largest / 127.0, 127.0 / largest)
            };
            round(values, reciprocal, out);
            scales[at] = scale;
            let (halves, _) = out.as_chunks::<{ BLOCK / 2 }>();
            for (half, codes) in halves.iter().enumerate() {
                sums[(block * 2 + half) * rows + row] =
                    codes.iter().map(|&code| i32::from(code)).sum();
            }
        }
    }
}

/// NaN if there is one: as bits without sign, NaN is larger than infinity.
#[inline(always)]
fn largest_magnitude(values: &[f32; BLOCK]) -> f32 {
    let bits = values.iter().map(|value| value.to_bits() & 0x7fff_ffff);
    f32::from_bits(bits.fold(0, u32::max))
}

/// To the nearest integer, ties to even. Adding 1.5 * 2^23 leaves the integer in the low bits of the sum.
#[inline(always)]
fn round(values: &[f32; BLOCK], factor: f32, out: &mut [i8; BLOCK]) {
    const SHIFT: f32 = 12_582_912.0;
    for (out, value) in out.iter_mut().zip(values) {
        *out = (value * factor + SHIFT).to_bits() as i8;
    }
}
