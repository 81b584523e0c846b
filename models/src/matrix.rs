//! A weight matrix, made ready for candle's fastest kernel.
//!
//! On x86 candle multiplies Q4_K, Q6_K and, with VNNI instructions, Q8_0 from a packed copy, several times faster
//! than from the blocks, if a matrix has rows by sixteens and columns by 256 (`select` in its `repack_x86.rs`). Models
//! of 896 or 576 channels, whose files are therefore of Q5_0, Q8_0 or Q4_1 matrices, would never get there: here
//! such a matrix is given columns of zeros up to the next 256, and the activations too. Measured on one core of an
//! EPYC 9004 with Qwen2.5 0.5B, 256 tokens without attention: 24 tokens a second before, 86 after, for 44 MB more.
//!
//! The price: the packed kernels round activations to 8 bits with one scale for 256 of them, the unpacked Q8_0 kernel
//! with one for 32. It is what every program does with Q4_K weights; `tests/logits.rs` bounds what it does here.
//!
//! Packing happens when a model is loaded, not in the first pass, and what it was made from is dropped.

use candle_core::quantized::k_quants::{BlockQ8_0, GgmlType};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{D, DType, Device, Module, Result, Tensor};

use crate::requantize::Requantized;
use crate::storage::HeldBlocks;

/// Columns of candle's packed tiles.
const TILE_COLUMNS: usize = 256;
/// Rows of candle's packed tiles.
const TILE_ROWS: usize = 16;

/// A weight matrix, `[rows, columns]`, that activations `[tokens, columns]` are multiplied with.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    multiplier: QMatMul,
    /// Columns of zeros that were added.
    padding: usize,
    /// Added to all weights of a block of 32 columns ([`requantize`](crate::requantize)): `[columns / 32, rows]`.
    offsets: Option<Tensor>,
    reads_the_file: bool,
}

impl Matrix {
    /// A matrix in the file, packed if candle packs it.
    pub(crate) fn new(tensor: QTensor) -> Result<Self> {
        let (rows, columns) = tensor.shape().dims2()?;
        let packs = tensor.dtype() == GgmlDType::Q4K && rows.is_multiple_of(TILE_ROWS);
        let mut matrix = Self::unpacked(tensor)?;
        if packs {
            matrix.multiply_nothing(columns)?;
            matrix.reads_the_file = false;
        }
        Ok(matrix)
    }

    /// A matrix in the file, as it is.
    pub(crate) fn unpacked(tensor: QTensor) -> Result<Self> {
        let multiplier = QMatMul::from_qtensor(tensor)?;
        Ok(Self {
            // F32, F16 and BF16 are dequantized at once.
            reads_the_file: matches!(multiplier, QMatMul::QTensor(_)),
            multiplier,
            padding: 0,
            offsets: None,
        })
    }

    /// A matrix in memory.
    pub(crate) fn of_q8_0(weights: Requantized, rows: usize, columns: usize) -> Result<Self> {
        let offsets = match weights.offsets {
            Some(offsets) => {
                let by_row = Tensor::from_vec(offsets, (rows, columns / 32), &Device::Cpu)?;
                Some(by_row.t()?.contiguous()?)
            }
            None => None,
        };
        let padding = match packs_q8_0() && rows.is_multiple_of(TILE_ROWS) {
            true => columns.next_multiple_of(TILE_COLUMNS) - columns,
            false => 0,
        };
        let padded = columns + padding;
        let blocks = HeldBlocks::new(pad(weights.blocks, columns / 32, padded / 32));
        let storage = QStorage::Cpu(Box::new(blocks.clone()));
        let matrix = Self {
            multiplier: QMatMul::from_qtensor(QTensor::new(storage, (rows, padded))?)?,
            padding,
            offsets,
            reads_the_file: false,
        };
        matrix.multiply_nothing(padded)?;
        if !blocks.multiplied() {
            blocks.forget();
        }
        Ok(matrix)
    }

    /// Multiplies a row of zeros, at which candle packs.
    fn multiply_nothing(&self, columns: usize) -> Result<()> {
        let nothing = Tensor::zeros((1, columns), DType::F32, &Device::Cpu)?;
        self.multiplier.forward(&nothing).map(drop)
    }

    /// Whether weights are still read from the file.
    pub(crate) fn reads_the_file(&self) -> bool {
        self.reads_the_file
    }

    /// `[tokens, columns]` F32 to `[tokens, rows]` F32.
    pub(crate) fn forward(&self, activations: &Tensor) -> Result<Tensor> {
        let product = match self.padding {
            0 => self.multiplier.forward(activations)?,
            padding => {
                let padded = activations.pad_with_zeros(D::Minus1, 0, padding)?;
                self.multiplier.forward(&padded.contiguous()?)?
            }
        };
        let Some(offsets) = &self.offsets else {
            return Ok(product);
        };
        let (tokens, columns) = activations.dims2()?;
        let sums = activations.reshape((tokens, columns / 32, 32))?.sum(2)?;
        product + sums.matmul(offsets)?
    }
}

/// Rows of `before` blocks, each with blocks of zeros up to `after`.
fn pad(blocks: Vec<BlockQ8_0>, before: usize, after: usize) -> Vec<BlockQ8_0> {
    if before == after {
        return blocks;
    }
    let zeros = vec![BlockQ8_0::zeros(); after - before];
    let rows = blocks.chunks_exact(before);
    let mut padded = Vec::with_capacity(rows.len() * after);
    for row in rows {
        padded.extend_from_slice(row);
        padded.extend_from_slice(&zeros);
    }
    padded
}

/// Whether candle packs Q8_0 on this machine. If this errs, columns are padded for nothing, or left as they are.
fn packs_q8_0() -> bool {
    #[cfg(target_arch = "x86_64")]
    let packs = (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni"))
        || (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni"));
    #[cfg(not(target_arch = "x86_64"))]
    let packs = false;
    packs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::requantize::to_q8_0;

    fn numbers(rows: usize, columns: usize) -> Tensor {
        let numbers = (0..rows * columns).map(|i| (i * 7919 % 2003) as f32 / 1001.5 - 1.0);
        Tensor::from_vec(numbers.collect::<Vec<_>>(), (rows, columns), &Device::Cpu).unwrap()
    }

    /// Every format and shape against the product with its dequantized weights; what is left is the rounding of
    /// activations to 8 bits.
    #[test]
    fn products_are_those_of_the_dequantized_weights() {
        for dtype in [
            GgmlDType::Q4_0,
            GgmlDType::Q4_1,
            GgmlDType::Q5_0,
            GgmlDType::Q5_1,
            GgmlDType::Q8_0,
        ] {
            for (rows, columns) in [(32, 256), (48, 896), (16, 576), (24, 96), (16, 1536)] {
                let weights = QTensor::quantize(&numbers(rows, columns), dtype).unwrap();
                let exact = weights.dequantize(&Device::Cpu).unwrap();
                let requantized = to_q8_0(dtype, &weights.data().unwrap());
                let matrix = Matrix::of_q8_0(requantized, rows, columns).unwrap();
                for tokens in [1, 5] {
                    let activations = numbers(tokens, columns);
                    let product = matrix.forward(&activations).unwrap();
                    let expected = activations.matmul(&exact.t().unwrap()).unwrap();
                    let error = (product - &expected).unwrap().abs().unwrap();
                    let error = error.max_all().unwrap().to_scalar::<f32>().unwrap();
                    // Half a step of 1/127 an activation, weights of some 0.6, errors that add like noise.
                    let bound = 4.0 * 0.5 / 127.0 * 0.6 * (columns as f32).sqrt();
                    assert!(
                        error < bound,
                        "{dtype:?} {rows} x {columns}: {error} of {bound}"
                    );
                }
            }
        }
    }
}
