//! How much attention each cached token received: what citations are made from.

use super::kernels::Kernels;
use super::softmax::Softmax;
use crate::kv::BLOCK_TOKENS;

/// Passes of more tokens than this are not recorded: their scores would have to be kept until the row's sum is known.
pub(super) const RECORDED_TOKENS: usize = 64;

/// Scores of the recorded rows of one tile and span of keys, kept until the rows' softmax is complete.
#[derive(Debug)]
pub(super) struct ScoreLog {
    /// First block of the span.
    pub(super) first_block: usize,
    /// Recorded rows of the tile.
    pub(super) rows: Vec<usize>,
    /// `[blocks][rows][64]`.
    pub(super) scores: Vec<[f32; BLOCK_TOKENS]>,
}

/// Sums of attention probability by cached token.
#[derive(Debug)]
pub(super) struct Mass {
    /// `(layer, query head)`.
    heads: Vec<(usize, usize)>,
    /// Of finished passes, by position.
    total: Vec<f32>,
    /// Of the pass under way.
    pass: Vec<f32>,
}

impl Mass {
    pub(super) fn new(heads: &[(usize, usize)], cached: usize) -> Mass {
        Mass {
            heads: heads.to_vec(),
            total: vec![0.0; cached],
            pass: vec![0.0; cached],
        }
    }

    /// The recorded heads among the `group` query heads of a key/value head, counted from 0 in the group.
    pub(super) fn heads_in_group(&self, layer: usize, kv_head: usize, group: usize) -> Vec<usize> {
        let first = kv_head * group;
        let mut heads: Vec<usize> = self
            .heads
            .iter()
            .filter(|(l, head)| *l == layer && (first..first + group).contains(head))
            .map(|(_, head)| head - first)
            .collect();
        heads.sort_unstable();
        heads.dedup();
        heads
    }

    /// Adds the probabilities of a tile's logged scores, now that its softmax is complete.
    pub(super) fn add(&mut self, logs: &[ScoreLog], softmax: &Softmax, kernels: &Kernels) {
        for log in logs {
            for (nth, scores) in log.scores.iter().enumerate() {
                let position = (log.first_block + nth / log.rows.len()) * BLOCK_TOKENS;
                let row = log.rows[nth % log.rows.len()];
                let Some(pass) = self.pass.get_mut(position..) else {
                    continue;
                };
                let mut weights = *scores;
                (kernels.exponentials)(&mut weights, softmax.largest[row]);
                let share = softmax.sums[row].recip();
                for (mass, weight) in pass.iter_mut().zip(weights) {
                    *mass += weight * share;
                }
            }
        }
    }

    /// More tokens are cached now.
    pub(super) fn grow(&mut self, cached: usize) {
        self.total.resize(cached, 0.0);
        self.pass.resize(cached, 0.0);
    }

    /// Forgets a pass that was abandoned.
    pub(super) fn begin_pass(&mut self) {
        self.pass.fill(0.0);
    }

    /// Counts the pass.
    pub(super) fn finish_pass(&mut self) {
        for (total, pass) in self.total.iter_mut().zip(&mut self.pass) {
            *total += std::mem::take(pass);
        }
    }

    /// What was counted since the last take.
    pub(super) fn take(&mut self) -> Vec<f32> {
        let cached = self.total.len();
        std::mem::replace(&mut self.total, vec![0.0; cached])
    }
}
