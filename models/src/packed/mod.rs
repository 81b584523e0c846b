//! Quantized matrix products on the CPU: weights packed for the processor's 8-bit dot products, activations rounded
//! to 8 bits.
//!
//! In: the blocks of a GGUF tensor, once; rows of F32 activations, at every product. Out: rows of F32.
//!
//! Decoding a token takes as long as reading all weights, so a packed matrix has as many bytes as its tensor in the
//! file ([`layout`]), in large pages ([`arena`]), and for a few rows codes are unpacked in registers on their way from
//! memory to the dot product. Reading many tokens takes as long as multiplying, so there weights are unpacked to bytes
//! in the first-level cache, a tile of sixteen rows at a time ([`unpack`]), and multiplied with panels of activations
//! that keep all sums in registers ([`kernels`]). Both give the same bits. Threads share tiles ([`product`]); they are
//! rayon's, which sleep when there is nothing to do, but not within a pass over a few tokens
//! ([`awake`](crate::awake)).
//!
//! Why not candle's kernels: they pack only Q4_K, Q6_K and Q8_0, only rows that are multiples of 256, with one scale
//! for 256 activations, and their threads spin, which halves the speed wherever anything else runs.

mod activations;
mod arena;
mod file;
mod kernels;
mod layout;
mod pack;
mod product;
mod rows;
#[cfg(test)]
mod tests;
mod unpack;

use candle_core::quantized::GgmlDType;
use rayon::prelude::*;

pub use activations::Quantized;
pub(crate) use arena::Arena;
use arena::Piece;
pub use file::{FileMatrix, Grid};
pub use kernels::Kernels;
use layout::{BLOCK, Layout, TILE_ROWS};
pub use product::multiply;
pub(crate) use rows::exponential;

/// A weight matrix, `[rows, columns]`, packed.
pub struct PackedMatrix {
    layout: Layout,
    rows: usize,
    columns: usize,
    /// Tile after tile.
    tiles: Piece,
}

impl PackedMatrix {
    /// Packs the blocks of a tensor. `None` for formats that are not packed.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub fn pack(
        dtype: GgmlDType,
        bytes: &[u8],
        rows: usize,
        columns: usize,
    ) -> std::io::Result<Option<Self>> {
        PackedMatrix::pack_into(&mut Arena::default(), dtype, bytes, rows, columns)
    }

    /// The same beside other matrices of a model.
    pub(crate) fn pack_into(
        arena: &mut Arena,
        dtype: GgmlDType,
        bytes: &[u8],
        rows: usize,
        columns: usize,
    ) -> std::io::Result<Option<Self>> {
        let Some(layout) = Layout::of(dtype) else {
            return Ok(None);
        };
        assert!(columns.is_multiple_of(layout.file_block()));
        let row_bytes = columns / layout.file_block() * file::file_block_bytes(layout);
        assert_eq!(bytes.len(), rows * row_bytes);
        let tile_bytes = layout.tile_bytes(columns / BLOCK);
        let mut tiles = arena.take(rows.div_ceil(TILE_ROWS) * tile_bytes)?;
        tiles
            .bytes_mut()
            .par_chunks_mut(tile_bytes)
            .zip(bytes.par_chunks(TILE_ROWS * row_bytes))
            .for_each(|(tile, bytes)| {
                let rows: Vec<&[u8]> = bytes.chunks_exact(row_bytes).collect();
                pack::pack_tile(layout, &rows, tile);
            });
        Ok(Some(Self {
            layout,
            rows,
            columns,
            tiles,
        }))
    }

    /// Columns, which are those of the activations.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes in memory, which are those of the tensor in the file but for rows that fill the last tile.
    pub fn bytes(&self) -> usize {
        self.tiles.bytes().len()
    }

    fn tile(&self, tile: usize) -> &[u8] {
        let bytes = self.layout.tile_bytes(self.columns / BLOCK);
        &self.tiles.bytes()[tile * bytes..][..bytes]
    }

    fn tile_count(&self) -> usize {
        self.rows.div_ceil(TILE_ROWS)
    }
}

impl std::fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("PackedMatrix")
            .field("layout", &self.layout)
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// Root-mean-square norm of every row of `weights.len()` values, in place.
pub(crate) fn rms_norm(values: &mut [f32], weights: &[f32], epsilon: f32) {
    let kernels = Kernels::chosen();
    each_row(values, weights.len(), |row| {
        (kernels.rms_norm)(row, weights, epsilon);
    });
}

/// `gate := silu(gate) * up`, element by element.
pub(crate) fn swiglu(gate: &mut [f32], up: &[f32]) {
    /// Elements a thread takes at once.
    const PIECE: usize = 1 << 13;
    let kernels = Kernels::chosen();
    if gate.len() <= PIECE {
        return (kernels.swiglu)(gate, up);
    }
    gate.par_chunks_mut(PIECE)
        .zip(up.par_chunks(PIECE))
        .for_each(|(gate, up)| (kernels.swiglu)(gate, up));
}

fn each_row(values: &mut [f32], columns: usize, work: impl Fn(&mut [f32]) + Sync + Send) {
    /// Elements from which waking other threads pays.
    const SHARED: usize = 1 << 15;
    if values.len() < SHARED {
        values.chunks_exact_mut(columns).for_each(work);
    } else {
        let rows = values.par_chunks_exact_mut(columns);
        rows.with_min_len(SHARED / 4 / columns + 1).for_each(work);
    }
}
