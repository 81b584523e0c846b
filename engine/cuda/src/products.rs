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

/// Rows of a matrix that a block of `few` takes.
const FEW_ROWS: usize = 4;

/// Tokens, and rows of a matrix, that a block of `many` takes.
const MANY_SIDE: usize = 64;

/// Threads of a block that takes a row of activations.
const ROW_THREADS: usize = 256;

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
        assert!((1..=3).contains(&products.len()));
        let is_few = tokens <= FEW_TOKENS;
        let side = if is_few { FEW_ROWS } else { MANY_SIDE };
        let mut items = [Product::default(); 3];
        let mut blocks = 0;
        for (item, product) in items.iter_mut().zip(products) {
            *item = *product;
            item.first_block = blocks as i32;
            blocks += (product.matrix.rows as usize).div_ceil(side);
        }
        let parameter = Products {
            items,
            numbers,
            halves,
            scales,
            count: products.len() as i32,
            tokens: tokens as i32,
        };
        let kernels = &self.kernels().products;
        let (kernel, grid) = if is_few {
            let size = tokens.next_power_of_two().trailing_zeros() as usize;
            (&kernels.few[size], (blocks, 1, 1))
        } else {
            (&kernels.many, (blocks, tokens.div_ceil(MANY_SIDE), 1))
        };
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
