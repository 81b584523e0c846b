//! The inner loops of a quantized product, each in a portable form and with the vector instructions where they pay.
//!
//! Which set runs is a matter of the process's [`Level`].
//!
//! **Every set gives the same bits.** Sums of 8-bit products are integers and exact; what follows is one F32
//! multiplication or addition after the other, in the same order everywhere and never fused, block by block along a
//! row. So a document that was read on one processor is continued on another as if it had been the same, and a product
//! does not depend on the number of rows that are multiplied together.

/// A kernel that needs processor features as an ordinary function, for a table that is handed out only where the
/// processor was seen to have them.
#[cfg(target_arch = "x86_64")]
macro_rules! detected {
    ($kernel:path, $($argument:ident),+) => {
        |$($argument),+| {
            // SAFETY: whoever holds the table got it from `Kernels::of`, and levels exist only where they were detected.
            unsafe { $kernel($($argument),+) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_packed;
#[cfg(target_arch = "x86_64")]
mod avx2_panel;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_packed;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "x86_64")]
mod dot;
mod portable;

use super::activations::RoundedPanel;
use super::layout::{BLOCK, BLOCK_CODES, Layout, Scales, TILE_ROWS};
use super::unpack::Unpacked;
use crate::level::Level;

/// Blocks of a tile of weights, ready to be multiplied.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) layout: Layout,
    /// `[blocks][groups][16 rows][4 columns]`.
    pub(super) codes: &'a [[u8; BLOCK_CODES]],
    /// `[blocks][16 rows]`, for halves `[blocks][2][16 rows]`.
    pub(super) scales: &'a [[f32; TILE_ROWS]],
    /// `[blocks][16 rows]` where the layout has minimums, else nothing.
    pub(super) minimums: &'a [[f32; TILE_ROWS]],
}

/// The same blocks of a panel of activations.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    /// At most the set's `panel_rows`.
    pub(super) rows: usize,
    /// `[blocks][rows][32]`.
    pub(super) codes: &'a [i8],
    /// `[blocks][rows]`.
    pub(super) scales: &'a [f32],
    /// See [`Quantized::corrections`](super::activations::Quantized::corrections): `[blocks][rows]`, for halves
    /// `[blocks][2][rows]`.
    pub(super) corrections: &'a [i32],
}

impl Panel<'_> {
    fn blocks(&self) -> usize {
        self.codes.len() / (self.rows * BLOCK)
    }
}

impl Weights<'_> {
    /// Panics if anything has another length than `panel` and its own number of blocks ask for: the kernels read
    /// without looking.
    fn check(&self, panel: &Panel<'_>, totals: &[[f32; TILE_ROWS]]) {
        let (blocks, rows) = (self.codes.len(), panel.rows);
        let parts = if self.layout.scales == Scales::NestedHalves {
            2 * blocks
        } else {
            blocks
        };
        let minimums = match self.layout.scales {
            Scales::Block | Scales::NestedHalves => 0,
            Scales::BlockAndMinimum | Scales::Nested => blocks,
        };
        assert!(self.scales.len() == parts && self.minimums.len() == minimums);
        assert_eq!(panel.codes.len(), blocks * rows * BLOCK);
        assert_eq!(panel.scales.len(), blocks * rows);
        assert_eq!(panel.corrections.len(), parts * rows);
        assert_eq!(totals.len(), rows);
    }
}

/// The same as [`Weights::check`] for a whole tile as it is packed.
#[cfg(target_arch = "x86_64")]
fn check_packed(layout: Layout, tile: &[u8], panel: &Panel<'_>, totals: &[[f32; TILE_ROWS]]) {
    let (blocks, rows) = (panel.blocks(), panel.rows);
    let parts = if layout.scales == Scales::NestedHalves {
        2 * blocks
    } else {
        blocks
    };
    assert_eq!(tile.len(), layout.tile_bytes(blocks));
    assert_eq!(panel.codes.len(), blocks * rows * BLOCK);
    assert_eq!(panel.scales.len(), blocks * rows);
    assert_eq!(panel.corrections.len(), parts * rows);
    assert_eq!(totals.len(), rows);
}

/// A product of a few rows of activations with weights as they are packed.
pub(super) struct PackedProduct {
    /// Most rows of activations.
    pub(super) rows: usize,
    /// Adds the products of a panel with a whole tile to `totals`.
    pub(super) multiply: fn(Layout, tile: &[u8], &Panel<'_>, totals: &mut [[f32; TILE_ROWS]]),
}

/// One set of inner loops.
pub struct Kernels {
    /// What processors it is for.
    pub level: Level,
    /// Most rows of activations that `multiply` takes.
    pub(super) panel_rows: usize,
    /// Adds the products of a panel with blocks of a tile to `totals`, `[rows of the panel][16 rows of the tile]`.
    pub(super) multiply: fn(&Weights<'_>, &Panel<'_>, totals: &mut [[f32; TILE_ROWS]]),
    /// For few rows, where it pays not to unpack weights first.
    pub(super) packed: Option<PackedProduct>,
    /// Unpacks a chunk of a tile: its codes, its scales.
    pub(super) unpack: fn(Layout, codes: &[u8], scales: &[u8], out: &mut Unpacked),
    /// Rounds a panel of activations ([`activations::quantize`](super::activations::quantize)).
    pub(super) quantize: fn(values: &[f32], columns: usize, out: RoundedPanel<'_>),
    /// Root-mean-square norm ([`rows::rms_norm`](super::rows::rms_norm)).
    pub(super) rms_norm: fn(values: &mut [f32], weights: &[f32], epsilon: f32),
    /// Gate of the feed-forward part ([`rows::swiglu`](super::rows::swiglu)).
    pub(super) swiglu: fn(gate: &mut [f32], up: &[f32]),
}

impl Kernels {
    /// The set this process uses.
    pub fn chosen() -> &'static Kernels {
        Kernels::of(Level::chosen())
    }

    /// The set of a level.
    ///
    /// # Panics
    ///
    /// If this processor is not of that level.
    pub fn of(level: Level) -> &'static Kernels {
        assert!(level.detected(), "this processor cannot run {level}");
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => &avx2::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => &avxvnni::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => &avx512::KERNELS,
            _ => &portable::KERNELS,
        }
    }

    /// The sets this processor can run, slowest first.
    pub fn available() -> Vec<&'static Kernels> {
        let levels = Level::available().into_iter().map(Kernels::of);
        #[allow(unused_mut)]
        let mut available: Vec<_> = levels.collect();
        // Where tests run there is seldom a processor with AVX-VNNI.
        #[cfg(all(test, target_arch = "x86_64"))]
        available.extend(avxvnni::by_avx512::kernels());
        available
    }
}
