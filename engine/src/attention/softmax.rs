//! The running softmax of some rows (Milakov and Gimelshein 2018, arXiv 1805.02867), in powers of two.

use super::kernels::Kernels;

/// For each row: the largest score so far, the sum of `2^(score - largest)`, and the values weighted likewise.
#[derive(Debug, Clone, Default)]
pub(super) struct Softmax {
    pub(super) largest: Vec<f32>,
    pub(super) sums: Vec<f32>,
    /// `[rows][head_dim]`.
    pub(super) values: Vec<f32>,
}

impl Softmax {
    /// Makes it that of no keys at all.
    pub(super) fn clear(&mut self, rows: usize, head_dim: usize) {
        let numbers = [
            (&mut self.largest, rows, f32::NEG_INFINITY),
            (&mut self.sums, rows, 0.0),
            (&mut self.values, rows * head_dim, 0.0),
        ];
        for (numbers, count, number) in numbers {
            numbers.clear();
            numbers.resize(count, number);
        }
    }

    /// Adds the softmax of other keys for the same rows.
    pub(super) fn merge(&mut self, other: &Softmax) {
        let head_dim = self.values.len() / self.largest.len();
        for row in 0..self.largest.len() {
            // No keys at all; where there was NaN among the scores the sum is NaN.
            if other.largest[row] == f32::NEG_INFINITY && other.sums[row] == 0.0 {
                continue;
            }
            let largest = self.largest[row].max(other.largest[row]);
            let keep = (self.largest[row] - largest).exp2();
            let add = (other.largest[row] - largest).exp2();
            self.largest[row] = largest;
            self.sums[row] = self.sums[row] * keep + other.sums[row] * add;
            let values = row * head_dim..(row + 1) * head_dim;
            for (value, other) in self.values[values.clone()]
                .iter_mut()
                .zip(&other.values[values])
            {
                *value = *value * keep + other * add;
            }
        }
    }

    /// Divides by the sums: the attended values, `[rows][head_dim]`.
    pub(super) fn normalise(&mut self, kernels: &Kernels) {
        let head_dim = self.values.len() / self.largest.len();
        for (row, sum) in self.values.chunks_exact_mut(head_dim).zip(&self.sums) {
            (kernels.scale)(row, sum.recip());
        }
    }
}
