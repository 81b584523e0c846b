//! The most attention that each cached token got from any row: what KVzip evicts by.

use super::kernels::Kernels;
use super::mass::ScoreLog;
use super::softmax::Softmax;
use crate::kv::BLOCK_TOKENS;

/// For each layer, key/value head and cached token the largest attention probability so far.
#[derive(Debug)]
pub(super) struct Peaks {
    kv_heads: usize,
    cached: usize,
    /// `[layer][kv_head][token]`.
    largest: Vec<f32>,
}

impl Peaks {
    pub(super) fn new(layers: usize, kv_heads: usize, cached: usize) -> Peaks {
        Peaks {
            kv_heads,
            cached,
            largest: vec![0.0; layers * kv_heads * cached],
        }
    }

    /// Raises them by a tile's logged scores, now that its softmax is complete.
    pub(super) fn raise(
        &mut self,
        (layer, kv_head): (usize, usize),
        logs: &[ScoreLog],
        softmax: &Softmax,
        kernels: &Kernels,
    ) {
        let first = (layer * self.kv_heads + kv_head) * self.cached;
        let of_head = &mut self.largest[first..first + self.cached];
        for log in logs {
            for (nth, scores) in log.scores.iter().enumerate() {
                let position = log.blocks[nth / log.rows.len()] as usize * BLOCK_TOKENS;
                let row = log.rows[nth % log.rows.len()];
                let Some(largest) = of_head.get_mut(position..) else {
                    continue;
                };
                let mut weights = *scores;
                (kernels.exponentials)(&mut weights, softmax.largest[row]);
                let share = softmax.sums[row].recip();
                for (largest, weight) in largest.iter_mut().zip(weights) {
                    *largest = largest.max(weight * share);
                }
            }
        }
    }

    /// `[layer][kv_head][token]`.
    pub(super) fn into_largest(self) -> Vec<f32> {
        self.largest
    }
}
