//! The most attention that each cached token got from any row: what KVzip evicts by.

use super::kernels::Kernels;
use super::mass::{ScoreLog, each_logged};
use super::softmax::Softmax;

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
        each_logged(logs, softmax, kernels, |_, position, probabilities| {
            if let Some(largest) = of_head.get_mut(position..) {
                for (largest, probability) in largest.iter_mut().zip(probabilities()) {
                    *largest = largest.max(probability);
                }
            }
        });
    }

    /// `[layer][kv_head][token]`.
    pub(super) fn into_largest(self) -> Vec<f32> {
        self.largest
    }
}
