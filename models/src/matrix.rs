//! A weight matrix, and products of matrices with the same activations.

use candle_core::quantized::QMatMul;
use candle_core::{Device, Module, Result, Tensor};
use smallvec::SmallVec;

use crate::packed::{self, PackedMatrix, Quantized};

/// A weight matrix, `[rows, columns]`.
#[derive(Debug)]
pub(crate) enum Matrix {
    /// In one of the quantized formats that models are distributed in.
    Packed(PackedMatrix),
    /// In a format that hardly any model uses for its matrices (F32, F16, BF16, Q2_K, Q3_K), multiplied by candle.
    Plain(QMatMul),
}

/// Multiplies rows of `columns` activations with several matrices, which they are rounded to 8 bits once for: `[rows of
/// activations, rows]` of each, in place of what `products` held. `rounded` is memory.
pub(crate) fn multiply<const N: usize>(
    activations: &[f32],
    columns: usize,
    matrices: [&Matrix; N],
    products: [&mut Vec<f32>; N],
    rounded: &mut Quantized,
) -> Result<()> {
    let mut packed = SmallVec::<[_; N]>::new();
    let mut packed_products = SmallVec::<[_; N]>::new();
    for (matrix, product) in matrices.into_iter().zip(products) {
        match matrix {
            Matrix::Packed(matrix) => {
                packed.push(matrix);
                packed_products.push(product);
            }
            Matrix::Plain(matrix) => *product = multiply_plain(matrix, activations, columns)?,
        }
    }
    if !packed.is_empty() {
        rounded.round(activations, columns);
        packed::multiply(&packed, rounded, &mut packed_products);
    }
    Ok(())
}

fn multiply_plain(matrix: &QMatMul, activations: &[f32], columns: usize) -> Result<Vec<f32>> {
    let shape = (activations.len() / columns, columns);
    let activations = Tensor::from_slice(activations, shape, &Device::Cpu)?;
    matrix.forward(&activations)?.flatten_all()?.to_vec1()
}
