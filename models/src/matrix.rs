//! A weight matrix, and products of matrices with the same activations.

use std::cell::OnceCell;

use candle_core::quantized::QMatMul;
use candle_core::{Device, Module, Result, Tensor};

use crate::packed::{Kernels, PackedMatrix, Quantized, multiply};

/// A weight matrix, `[rows, columns]`.
#[derive(Debug)]
pub(crate) enum Matrix {
    /// In one of the quantized formats that models are distributed in.
    Packed(PackedMatrix),
    /// In a format that hardly any model uses for its matrices (F32, F16, BF16, Q2_K, Q3_K), multiplied by candle.
    Plain(QMatMul),
}

/// Activations, `[tokens, columns]`, that several matrices are multiplied with: they are rounded to 8 bits once.
pub(crate) struct Input<'a> {
    values: &'a [f32],
    columns: usize,
    quantized: OnceCell<Quantized>,
}

impl<'a> Input<'a> {
    /// `values` are rows of `columns`.
    pub(crate) fn new(values: &'a [f32], columns: usize) -> Self {
        Self {
            values,
            columns,
            quantized: OnceCell::new(),
        }
    }

    /// `[tokens, rows]` of each matrix, in place of what `products` held.
    pub(crate) fn times<const N: usize>(
        &self,
        matrices: [&Matrix; N],
        products: [&mut Vec<f32>; N],
    ) -> Result<()> {
        let mut packed = Vec::with_capacity(N);
        let mut packed_products = Vec::with_capacity(N);
        for (matrix, product) in matrices.into_iter().zip(products) {
            match matrix {
                Matrix::Packed(matrix) => {
                    packed.push(matrix);
                    packed_products.push(product);
                }
                Matrix::Plain(matrix) => *product = self.plain(matrix)?,
            }
        }
        if !packed.is_empty() {
            let round = || Quantized::new(Kernels::chosen(), self.values, self.columns);
            let quantized = self.quantized.get_or_init(round);
            multiply(&packed, quantized, &mut packed_products);
        }
        Ok(())
    }

    fn plain(&self, matrix: &QMatMul) -> Result<Vec<f32>> {
        let shape = (self.values.len() / self.columns, self.columns);
        let values = Tensor::from_slice(self.values, shape, &Device::Cpu)?;
        matrix.forward(&values)?.flatten_all()?.to_vec1()
    }
}
