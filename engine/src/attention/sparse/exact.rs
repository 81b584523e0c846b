//! The keys themselves: a page's estimate is what it would get. As much work as the scores of dense attention, and four
//! times the memory of its keys; the measure of what any choice of pages can reach.

use super::super::kernels::Kernels;
use super::PageIndex;
use crate::kv::BLOCK_TOKENS;

/// `[pages][head_dim][64]`.
#[derive(Debug)]
pub(super) struct Exact {
    head_dim: usize,
    keys: Vec<f32>,
}

impl Exact {
    pub(super) fn new(head_dim: usize) -> Exact {
        Exact {
            head_dim,
            keys: Vec::new(),
        }
    }
}

impl PageIndex for Exact {
    fn push(&mut self, keys: &[f32]) {
        self.keys.extend_from_slice(keys);
    }

    fn estimate(&self, kernels: &Kernels, queries: &[f32], pages: usize, estimates: &mut [f32]) {
        let mut scores = vec![0.0; queries.len() / self.head_dim * BLOCK_TOKENS];
        let page_keys = self.keys.chunks_exact(self.head_dim * BLOCK_TOKENS);
        for (page, keys) in page_keys.take(pages).enumerate() {
            (kernels.multiply)(queries, keys, &mut scores, self.head_dim, false);
            let (scores, _) = scores.as_chunks_mut::<BLOCK_TOKENS>();
            for (row, scores) in scores.iter_mut().enumerate() {
                let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum = (kernels.exponentials)(scores, largest);
                estimates[row * pages + page] = largest + sum.log2();
            }
        }
    }

    fn bytes(&self) -> usize {
        4 * self.keys.len()
    }
}
