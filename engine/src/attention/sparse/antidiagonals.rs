//! Sums along antidiagonals (XAttention, Xu et al. 2025, arXiv 2503.16428): rows and keys are taken by eights, and of the
//! 64 scores that meet there only the 8 of one antidiagonal are added up. Every row and every key is in one of them, and
//! lines of large scores, upright or slanting, are met by it. For reading: many rows choose together.

use super::super::kernels::Kernels;
use super::PageIndex;
use super::columns::Columns;
use crate::kv::BLOCK_TOKENS;

/// Rows, and keys, that are taken together.
pub(super) const STRIDE: usize = 8;

/// Vectors of a page.
const GROUPS: usize = BLOCK_TOKENS / STRIDE;

/// Eight keys as one vector, `STRIDE * head_dim` numbers.
#[derive(Debug)]
pub(super) struct Antidiagonals {
    depth: usize,
    keys: Columns,
}

impl Antidiagonals {
    pub(super) fn new(head_dim: usize) -> Antidiagonals {
        Antidiagonals {
            depth: STRIDE * head_dim,
            keys: Columns::new(STRIDE * head_dim),
        }
    }
}

/// Eight tokens' rows of each head as one, the last token first; `queries` is `[tokens][group][head_dim]`. Where tokens are
/// missing at the end there are zeros.
pub(super) fn joined(queries: &[f32], group: usize, head_dim: usize) -> Vec<f32> {
    let tokens = queries.len() / (group * head_dim);
    let mut joined = vec![0.0; tokens.div_ceil(STRIDE) * group * STRIDE * head_dim];
    for (nth, query) in queries.chunks_exact(head_dim).enumerate() {
        let (token, head) = (nth / group, nth % group);
        let row = token / STRIDE * group + head;
        let place = row * STRIDE + STRIDE - 1 - token % STRIDE;
        joined[place * head_dim..][..head_dim].copy_from_slice(query);
    }
    joined
}

impl PageIndex for Antidiagonals {
    fn push(&mut self, keys: &[f32]) {
        for first in (0..BLOCK_TOKENS).step_by(STRIDE) {
            let of_key = |key: usize| keys[first + key..].iter().step_by(BLOCK_TOKENS).copied();
            self.keys.push((0..STRIDE).flat_map(of_key));
        }
    }

    fn estimate(&self, kernels: &Kernels, queries: &[f32], pages: usize, estimates: &mut [f32]) {
        let rows = queries.len() / self.depth;
        let count = pages * GROUPS;
        let mut scores = vec![0.0; rows * count];
        self.keys
            .products(kernels, queries, count, |row, first, products| {
                scores[row * count + first..][..products.len()].copy_from_slice(products);
            });
        for (estimate, scores) in estimates.iter_mut().zip(scores.chunks_exact(GROUPS)) {
            // The mean of the scores on the antidiagonal stands for all.
            let scores = scores.iter().map(|score| score / STRIDE as f32);
            let largest = scores.clone().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = scores.map(|score| (score - largest).exp2()).sum();
            *estimate = largest + sum.log2();
        }
    }

    fn bytes(&self) -> usize {
        self.keys.bytes()
    }
}
