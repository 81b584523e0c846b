//! The inner loops of a quantized product, each in a portable form and with the vector instructions where they pay.
//!
//! Which set runs is decided once, by what the processor has, or by `LECTERN_KERNELS=portable|avx2|avx512`, which also
//! chooses the kernels of the engine's attention; a set the processor lacks is passed over with a warning.
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
            // SAFETY: whoever holds the table got it from `kernels()` of its module, which looked for the features.
            unsafe { $kernel($($argument),+) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use std::sync::OnceLock;

use super::activations::RoundedPanel;
use super::layout::{BLOCK, BLOCK_CODES, Layout, Scales, TILE_ROWS};
use super::unpack::Unpacked;

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

/// One set of inner loops.
pub struct Kernels {
    /// "portable", "avx2", "avx512".
    pub name: &'static str,
    /// Most rows of activations that `multiply` takes.
    pub(super) panel_rows: usize,
    /// Adds the products of a panel with blocks of a tile to `totals`, `[rows of the panel][16 rows of the tile]`.
    pub(super) multiply: fn(&Weights<'_>, &Panel<'_>, totals: &mut [[f32; TILE_ROWS]]),
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
        static CHOSEN: OnceLock<&'static Kernels> = OnceLock::new();
        CHOSEN.get_or_init(|| {
            let available = Kernels::available();
            let best = available[available.len() - 1];
            let Ok(wanted) = std::env::var("LECTERN_KERNELS") else {
                return best;
            };
            let found = available.iter().find(|kernels| kernels.name == wanted);
            found.copied().unwrap_or_else(|| {
                tracing::warn!(
                    "LECTERN_KERNELS={wanted} is not among what this processor can run; using {}",
                    best.name
                );
                best
            })
        })
    }

    /// The sets this processor can run, slowest first.
    pub fn available() -> Vec<&'static Kernels> {
        #[allow(unused_mut)]
        let mut available = vec![&portable::KERNELS];
        #[cfg(target_arch = "x86_64")]
        {
            available.extend(avx2::kernels());
            available.extend(avx512::kernels());
        }
        available
    }
}
