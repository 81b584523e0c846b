//! Products of several matrices with the same activations, shared among threads.
//!
//! The work is cut by tiles of all the matrices together, so that the threads meet once for queries, keys and values
//! and once for gate and up. A few rows are multiplied with a whole tile as it is packed. With more, within a tile 512
//! columns are unpacked and multiplied with all panels, then the next 512. Where there are many tokens a thread takes
//! a few tiles at a time, so that 512 columns of all the activations are brought to the second-level cache once for
//! all of them. The order in which blocks are added is that of the columns, whoever does it.

use rayon::prelude::*;
use smallvec::SmallVec;

use super::PackedMatrix;
use super::activations::Quantized;
use super::kernels::{Kernels, PackedProduct, Panel, Weights};
use super::layout::{BLOCK, BLOCK_CODES, CHUNK_BLOCKS, Scales, TILE_ROWS};
use super::unpack::Unpacked;

/// Rows that any set's product with packed weights takes, at most.
const MOST_PACKED_ROWS: usize = 8;

/// Matrices that a block multiplies the same activations with, at most: those of queries, keys and values.
const USUAL_PARTS: usize = 3;

/// Multiply-accumulates that are worth another thread's attention.
const WORTH_SHARING: usize = 1 << 17;

/// Writes `[tokens, rows]` of each matrix, row by row, to `products`, with the kernels that `activations` were rounded
/// with. What memory the products have is used again.
pub fn multiply(
    matrices: &[&PackedMatrix],
    activations: &mut Quantized,
    products: &mut [&mut Vec<f32>],
) {
    assert_eq!(matrices.len(), products.len());
    let mut corrections = std::mem::take(&mut activations.corrections);
    corrections.clear();
    let places = matrices
        .iter()
        .map(|matrix| activations.correct(matrix.layout, &mut corrections))
        .collect::<SmallVec<[_; USUAL_PARTS]>>();
    let mut parts = SmallVec::<[_; USUAL_PARTS]>::new();
    for ((matrix, product), place) in matrices.iter().zip(products).zip(places) {
        assert_eq!(matrix.columns, activations.columns);
        // Every number will be written.
        product.resize(activations.rows * matrix.rows, 0.0);
        parts.push(Part {
            matrix,
            corrections: &corrections[place],
            product: product.as_mut_ptr(),
        });
    }
    if activations.rows > 0 {
        multiply_parts(&parts, activations);
    }
    drop(parts);
    activations.corrections = corrections;
}

fn multiply_parts(parts: &[Part<'_>], activations: &Quantized) {
    let kernels = activations.kernels;
    let tokens = activations.rows;
    let tiles: usize = parts.iter().map(|part| part.matrix.tile_count()).sum();
    if let Some(packed) = &kernels.packed
        && tokens <= packed.rows
    {
        return multiply_packed(packed, parts, tiles, activations);
    }
    let together = tiles_together(tiles, tokens);
    let work = together * TILE_ROWS * activations.columns * tokens;
    (0..tiles.div_ceil(together))
        .into_par_iter()
        .with_min_len(WORTH_SHARING.div_ceil(work))
        .for_each_init(
            || (Unpacked::new(), vec![[0.0; TILE_ROWS]; together * tokens]),
            |(unpacked, totals), group| {
                let tiles = group * together..tiles.min((group + 1) * together);
                totals.fill([0.0; TILE_ROWS]);
                for start in (0..activations.columns / BLOCK).step_by(CHUNK_BLOCKS) {
                    let totals = totals.chunks_exact_mut(tokens);
                    for (tile, totals) in tiles.clone().zip(totals) {
                        let (part, tile) = part_of(parts, tile);
                        multiply_chunk(kernels, part, tile, start, activations, unpacked, totals);
                    }
                }
                for (tile, totals) in tiles.zip(totals.chunks_exact(tokens)) {
                    let (part, tile) = part_of(parts, tile);
                    // SAFETY: `product` was made `tokens` rows of `matrix.rows` long, nobody else can reach it until
                    // the threads are done, and this tile's columns of it are written by this call alone.
                    unsafe { part.store(tile, totals) };
                }
            },
        );
}

/// The products of a few rows, straight from what is packed.
fn multiply_packed(
    packed: &PackedProduct,
    parts: &[Part<'_>],
    tiles: usize,
    activations: &Quantized,
) {
    let tokens = activations.rows;
    let work = TILE_ROWS * activations.columns * tokens;
    (0..tiles)
        .into_par_iter()
        .with_min_len(WORTH_SHARING.div_ceil(work))
        .with_max_len((tiles / (8 * rayon::current_num_threads())).max(1))
        .for_each(|tile| {
            let (part, tile) = part_of(parts, tile);
            let panel = Panel {
                rows: tokens,
                codes: &activations.codes,
                scales: &activations.scales,
                corrections: part.corrections,
            };
            let matrix = part.matrix;
            let mut totals = [[0.0; TILE_ROWS]; MOST_PACKED_ROWS];
            let totals = &mut totals[..tokens];
            (packed.multiply)(matrix.layout, matrix.tile(tile), &panel, totals);
            // SAFETY: `product` was made `tokens` rows of `matrix.rows` long, nobody else can reach it until the threads
            // are done, and this tile's columns of it are written by this call alone.
            unsafe { part.store(tile, totals) };
        });
}

/// How many tiles a thread takes at a time: one where weights are read once for a few tokens, some where it is the
/// activations that are read again and again, but leaving every thread several turns.
fn tiles_together(tiles: usize, tokens: usize) -> usize {
    const MOST: usize = 4;
    const MANY_TOKENS: usize = 32;
    if tokens < MANY_TOKENS {
        return 1;
    }
    (tiles / (4 * rayon::current_num_threads())).clamp(1, MOST)
}

/// A matrix among those multiplied.
struct Part<'a> {
    matrix: &'a PackedMatrix,
    corrections: &'a [i32],
    /// `[tokens][matrix.rows]`.
    product: *mut f32,
}

// SAFETY: `product` is only written through `store`, by each tile's task to elements of its own.
unsafe impl Sync for Part<'_> {}

impl Part<'_> {
    /// Writes the totals of a tile, `[tokens][16 rows]`, to their places.
    ///
    /// # Safety
    ///
    /// `product` must be valid for `totals.len()` rows, and nobody else may use this tile's columns meanwhile.
    unsafe fn store(&self, tile: usize, totals: &[[f32; TILE_ROWS]]) {
        let rows = self.matrix.rows;
        let first = tile * TILE_ROWS;
        let count = TILE_ROWS.min(rows - first);
        for (token, total) in totals.iter().enumerate() {
            // SAFETY: row `token`, columns `first` to `first + count`, which is at most `rows`.
            unsafe {
                let place = self.product.add(token * rows + first);
                place.copy_from_nonoverlapping(total.as_ptr(), count);
            }
        }
    }
}

/// The matrix in which a tile lies, counted over all of them, and its number there.
fn part_of<'a, 'b>(parts: &'a [Part<'b>], mut tile: usize) -> (&'a Part<'b>, usize) {
    for part in parts {
        let count = part.matrix.tile_count();
        if tile < count {
            return (part, tile);
        }
        tile -= count;
    }
    unreachable!("tiles are counted over the same matrices")
}

/// Adds the products of a chunk of a tile, the blocks from `start`, with all the activations to `totals`,
/// `[tokens][16 rows]`.
fn multiply_chunk(
    kernels: &Kernels,
    part: &Part<'_>,
    tile: usize,
    start: usize,
    activations: &Quantized,
    unpacked: &mut Unpacked,
    totals: &mut [[f32; TILE_ROWS]],
) {
    let layout = part.matrix.layout;
    let blocks = activations.columns / BLOCK;
    let count = CHUNK_BLOCKS.min(blocks - start);
    let parts_of_block = match layout.scales {
        Scales::NestedHalves => 2,
        _ => 1,
    };
    let minimums = matches!(layout.scales, Scales::BlockAndMinimum | Scales::Nested);
    let chunk = &part.matrix.tile(tile)[layout.tile_bytes(start)..][..layout.tile_bytes(count)];
    let (codes, scales) = chunk.split_at(layout.code_bytes(count));
    (kernels.unpack)(layout, codes, scales, unpacked);
    let weights = Weights {
        layout,
        codes: match layout.bits {
            8 => codes.as_chunks::<BLOCK_CODES>().0,
            _ => &unpacked.codes[..count],
        },
        scales: &unpacked.scales[..count * parts_of_block],
        minimums: &unpacked.minimums[..if minimums { count } else { 0 }],
    };
    for (panel, totals) in totals.chunks_mut(activations.panel).enumerate() {
        let rows = totals.len();
        // Where the panel starts in an array with one entry for each row and block, then where the chunk does.
        let at = panel * activations.panel * blocks + start * rows;
        let corrections = &part.corrections[at * parts_of_block..];
        let panel = Panel {
            rows,
            codes: &activations.codes[at * BLOCK..][..count * rows * BLOCK],
            scales: &activations.scales[at..][..count * rows],
            corrections: &corrections[..count * rows * parts_of_block],
        };
        (kernels.multiply)(&weights, &panel, totals);
    }
}
