//! Launches of what a decoder does between two attentions: norms, products, gates.
//!
//! In: addresses. Out: work in the device's stream. As in [`kernels`](crate::Kernels), whoever calls has made the buffers
//! large enough.

use crate::device::Device;
use crate::error::CudaError;
use crate::parameters::{Gate, Halve, Norm, Product, Products};

/// Tokens up to which weights are decoded for each token anew, from activations in F32; more go to the tensor cores, as
/// halves.
pub const FEW_TOKENS: usize = 8;

/// Rows of a matrix that lie beside each other, and that a warp of `few` takes.
const FOUR: usize = 4;

/// Warps of a block of `few`.
const FEW_WARPS: usize = 4;

/// Groups of 32 columns that a warp of `few` takes at a time.
const FEW_GROUPS: usize = 8;

/// Warps of `few` that keep a multiprocessor reading: some times as many as it holds.
const WANTED_WARPS: usize = 64;

/// Threads of a block that takes a row of activations.
const ROW_THREADS: usize = 256;

/// How `many` shares a product among blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tile {
    /// 128 tokens by 128 rows: each weight is decoded, and each activation fetched, for the most others.
    Large,
    /// 64 by 64.
    Middle,
    /// 64 by 32: the most blocks.
    Small,
}

impl Tile {
    /// All of them, as their kernels are kept.
    pub const ALL: [Tile; 3] = [Tile::Large, Tile::Middle, Tile::Small];

    /// Tokens, and rows of a matrix, of a block.
    fn sides(self) -> (usize, usize) {
        match self {
            Tile::Large => (128, 128),
            Tile::Middle => (64, 64),
            Tile::Small => (64, 32),
        }
    }

    /// What a block costs a multiprocessor that has others to do: less than a large one's, but more than its share of it,
    /// since weights are decoded and activations fetched more often. Counted from the instructions on paper.
    fn cost(self) -> usize {
        match self {
            Tile::Large => 16,
            Tile::Middle => 6,
            Tile::Small => 4,
        }
    }

    fn blocks(self, tokens: usize, products: &[Product]) -> usize {
        let (of_tokens, of_rows) = self.sides();
        let by_rows = products
            .iter()
            .map(|product| (product.matrix.rows as usize).div_ceil(of_rows));
        tokens.div_ceil(of_tokens) * by_rows.sum::<usize>()
    }

    /// The one that takes the least time on so many multiprocessors: what the busiest of them has to do, where a block alone
    /// takes half as long again as one beside others, because nothing is done while it waits.
    fn quickest(multiprocessors: usize, tokens: usize, products: &[Product]) -> Tile {
        let time = |tile: &Tile| {
            let blocks = tile.blocks(tokens, products).div_ceil(multiprocessors);
            tile.cost() * (2 * blocks).max(3)
        };
        Tile::ALL
            .into_iter()
            .min_by_key(time)
            .unwrap_or(Tile::Small)
    }
}

/// Sets where the blocks of each product begin, for blocks of so many rows. The number of blocks.
fn begin_blocks(products: &[Product], block_rows: usize) -> ([Product; 3], usize) {
    assert!((1..=3).contains(&products.len()));
    let mut items = [Product::default(); 3];
    let mut blocks = 0;
    for (item, product) in items.iter_mut().zip(products) {
        *item = *product;
        item.first_block = blocks as i32;
        blocks += (product.matrix.rows as usize).div_ceil(block_rows);
    }
    (items, blocks)
}

/// Warps of `few` that share four rows: so many that all of the GPU has work, where there are as many groups to share.
fn shares(multiprocessors: usize, products: &[Product]) -> usize {
    let fours: usize = products
        .iter()
        .map(|product| (product.matrix.rows as usize).div_ceil(FOUR))
        .sum();
    let groups = products
        .iter()
        .map(|product| product.matrix.groups as usize);
    let at_most = groups.max().unwrap_or(1).div_ceil(FEW_GROUPS);
    [1, 2]
        .into_iter()
        .find(|shares| fours * shares >= WANTED_WARPS * multiprocessors || 2 * shares > at_most)
        .unwrap_or(FEW_WARPS)
}

/// Products of the same activations.
///
/// # Safety
/// Of all of these: every address must lead to as many numbers on this device as the kernel's source says, until the work
/// is done.
impl Device {
    /// Multiplies the same `tokens` rows of activations with one to three matrices: `numbers` for at most [`FEW_TOKENS`],
    /// otherwise `halves` with their `scales`.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    ///
    /// # Panics
    /// If there are no products, or more than three.
    pub unsafe fn multiply(
        &self,
        tokens: usize,
        (numbers, halves, scales): (u64, u64, u64),
        products: &[Product],
    ) -> Result<(), CudaError> {
        if tokens > FEW_TOKENS {
            let tile = Tile::quickest(self.multiprocessors(), tokens, products);
            // SAFETY: the caller's.
            return unsafe { self.multiply_many(tile, tokens, (halves, scales), products) };
        }
        let shares = shares(self.multiprocessors(), products);
        let (items, blocks) = begin_blocks(products, FOUR * FEW_WARPS / shares);
        let parameter = Products {
            items,
            numbers,
            halves,
            scales,
            count: products.len() as i32,
            tokens: tokens as i32,
            shares: shares as i32,
        };
        let size = tokens.next_power_of_two().trailing_zeros() as usize;
        let kernel = &self.kernels().products.few[size];
        // SAFETY: the caller's.
        unsafe { self.launch(kernel, (blocks, 1, 1), 32 * FEW_WARPS, &parameter) }
    }

    /// Multiplies any number of rows of activations in halves, with their scales, in blocks of this size.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    ///
    /// # Panics
    /// If there are no products, or more than three.
    pub unsafe fn multiply_many(
        &self,
        tile: Tile,
        tokens: usize,
        (halves, scales): (u64, u64),
        products: &[Product],
    ) -> Result<(), CudaError> {
        let (of_tokens, of_rows) = tile.sides();
        let (items, blocks) = begin_blocks(products, of_rows);
        let parameter = Products {
            items,
            numbers: 0,
            halves,
            scales,
            count: products.len() as i32,
            tokens: tokens as i32,
            shares: 0,
        };
        let kernel = &self.kernels().products.many[tile as usize];
        let grid = (blocks, tokens.div_ceil(of_tokens), 1);
        // SAFETY: the caller's.
        unsafe { self.launch(kernel, grid, 128, &parameter) }
    }

    /// Norm of so many rows.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn norm_rows(&self, rows: usize, norm: &Norm) -> Result<(), CudaError> {
        let kernel = &self.kernels().rows.norm;
        // SAFETY: the caller's.
        unsafe { self.launch(kernel, (rows, 1, 1), ROW_THREADS, norm) }
    }

    /// Gated rows.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn gate_rows(&self, rows: usize, gate: &Gate) -> Result<(), CudaError> {
        let kernel = &self.kernels().rows.gate;
        let parts = match gate.to.halves {
            0 => (gate.columns as usize).div_ceil(ROW_THREADS),
            // All of a row decides its scale.
            _ => 1,
        };
        // SAFETY: the caller's.
        unsafe { self.launch(kernel, (rows, parts, 1), ROW_THREADS, gate) }
    }

    /// Rows as halves with scales.
    ///
    /// # Safety
    /// See above.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub unsafe fn halve_rows(&self, rows: usize, halve: &Halve) -> Result<(), CudaError> {
        let kernel = &self.kernels().rows.halve;
        // SAFETY: the caller's.
        unsafe { self.launch(kernel, (rows, 1, 1), ROW_THREADS, halve) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn products(rows: usize, columns: usize) -> [Product; 1] {
        let mut product = Product::default();
        product.matrix.rows = rows as i32;
        product.matrix.groups = (columns / 32) as i32;
        [product]
    }

    #[test]
    fn tiles_are_smaller_where_blocks_are_few() {
        for (rows, tokens, expected) in [
            (3584, 64, Tile::Small),
            (3584, 256, Tile::Middle),
            (18_944, 64, Tile::Middle),
            (18_944, 256, Tile::Large),
            (18_944, 512, Tile::Large),
        ] {
            let found = Tile::quickest(132, tokens, &products(rows, 3584));
            assert_eq!(found, expected, "{rows} rows, {tokens} tokens");
        }
    }

    #[test]
    fn warps_share_rows_where_these_are_few() {
        assert_eq!(shares(132, &products(151_936, 896)), 1);
        assert_eq!(shares(132, &products(18_944, 3584)), 2);
        assert_eq!(shares(132, &products(3584, 3584)), 4);
        // No more warps than there are groups for.
        assert_eq!(shares(132, &products(896, 256)), 1);
        assert_eq!(shares(132, &products(896, 512)), 2);
    }
}
