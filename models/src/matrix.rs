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
pub(crate) struct Input {
    values: Vec<f32>,
    columns: usize,
    quantized: OnceCell<Quantized>,
}

impl Input {
    /// `values` are rows of `columns`.
    pub(crate) fn new(values: Vec<f32>, columns: usize) -> Self {
        Self {
            values,
            columns,
            quantized: OnceCell::new(),
        }
    }

    /// `[tokens, rows]` of each matrix.
    pub(crate) fn times<const N: usize>(&self, matrices: [&Matrix; N]) -> Result<[Vec<f32>; N]> {
        let packed: Vec<&PackedMatrix> = matrices
            .iter()
            .filter_map(|matrix| match matrix {
                Matrix::Packed(packed) => Some(packed),
                Matrix::Plain(_) => None,
            })
            .collect();
        let mut products = if packed.is_empty() {
            Vec::new()
        } else {
            let quantized = self
                .quantized
                .get_or_init(|| Quantized::new(Kernels::chosen(), &self.values, self.columns));
            multiply(&packed, quantized)
        }
        .into_iter();
        let mut all = std::array::from_fn(|_| Vec::new());
        for (matrix, product) in matrices.iter().zip(&mut all) {
            *product = match matrix {
                Matrix::Packed(_) => products.next().unwrap_or_default(),
                Matrix::Plain(matrix) => self.plain(matrix)?,
            };
        }
        Ok(all)
    }

    fn plain(&self, matrix: &QMatMul) -> Result<Vec<f32>> {
        let shape = (self.values.len() / self.columns, self.columns);
        let values = Tensor::from_slice(&self.values, shape, &Device::Cpu)?;
        matrix.forward(&values)?.flatten_all()?.to_vec1()
    }
}
