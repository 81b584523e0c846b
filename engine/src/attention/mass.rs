//! How much attention each cached token received: what citations are made from.

use super::kernels::Kernels;
use super::softmax::Softmax;
use crate::kv::BLOCK_TOKENS;
use std::collections::VecDeque;

/// Passes of more tokens than this are not recorded: their scores would have to be kept until the row's sum is known.
pub(super) const RECORDED_TOKENS: usize = 64;

/// Rows of masses that are kept to be used again: more are for passes over many tokens.
const SPARE_ROWS: usize = 16;

/// Scores of the recorded rows of one tile and span of keys, kept until the rows' softmax is complete.
#[derive(Debug, Clone, Default)]
pub(super) struct ScoreLog {
    /// Blocks of the span.
    pub(super) blocks: Vec<u32>,
    /// Recorded rows of the tile.
    pub(super) rows: Vec<usize>,
    /// `[blocks][rows][64]`.
    pub(super) scores: Vec<[f32; BLOCK_TOKENS]>,
}

impl ScoreLog {
    /// Makes it that of no scores yet.
    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        self.rows.clear();
        self.scores.clear();
    }
}

/// Calls `each` with every logged row of a tile and block: the row, the position of the block's first token, and what
/// makes the probabilities of its 64 tokens, now that the tile's softmax is complete.
pub(super) fn each_logged(
    logs: &[ScoreLog],
    softmax: &Softmax,
    kernels: &Kernels,
    mut each: impl FnMut(usize, usize, &dyn Fn() -> [f32; BLOCK_TOKENS]),
) {
    for log in logs {
        for (nth, scores) in log.scores.iter().enumerate() {
            let position = log.blocks[nth / log.rows.len()] as usize * BLOCK_TOKENS;
            let row = log.rows[nth % log.rows.len()];
            each(row, position, &|| {
                let mut weights = *scores;
                (kernels.exponentials)(&mut weights, softmax.largest[row]);
                let share = softmax.sums[row].recip();
                weights.map(|weight| weight * share)
            });
        }
    }
}

/// Sums of attention probability by cached token.
///
/// The rows of the last pass are kept apart: tokens that were only guessed are dropped again, and their rows with them.
#[derive(Debug)]
pub(super) struct Mass {
    /// `(layer, query head)`.
    heads: Vec<(usize, usize)>,
    /// Of the passes before the last, by position.
    total: Vec<f32>,
    /// Of the last pass or the one under way, row by row, each by position.
    rows: VecDeque<Vec<f32>>,
    /// Position of the first of these rows.
    first: usize,
    /// Whether that pass was finished.
    finished: bool,
    /// Memory of rows that were counted.
    spare: Vec<Vec<f32>>,
}

impl Mass {
    pub(super) fn new(heads: &[(usize, usize)], cached: usize) -> Mass {
        Mass {
            heads: heads.to_vec(),
            total: vec![0.0; cached],
            rows: VecDeque::new(),
            first: 0,
            finished: true,
            spare: Vec::new(),
        }
    }

    /// The recorded heads among the `group` query heads of a key/value head, counted from 0 in the group, in place of
    /// what `heads` holds.
    pub(super) fn heads_in_group(
        &self,
        layer: usize,
        kv_head: usize,
        group: usize,
        heads: &mut Vec<usize>,
    ) {
        let first = kv_head * group;
        let of_group = self
            .heads
            .iter()
            .filter(|(l, head)| *l == layer && (first..first + group).contains(head))
            .map(|(_, head)| head - first);
        heads.clear();
        heads.extend(of_group);
        heads.sort_unstable();
        heads.dedup();
    }

    /// Adds the probabilities of a tile's logged scores, now that its softmax is complete. The tile begins at row
    /// `first_token` of the pass and has `group` rows a token.
    pub(super) fn add(
        &mut self,
        first_token: usize,
        group: usize,
        logs: &[ScoreLog],
        softmax: &Softmax,
        kernels: &Kernels,
    ) {
        each_logged(logs, softmax, kernels, |row, position, probabilities| {
            let of_token = self.rows.get_mut(first_token + row / group);
            if let Some(masses) = of_token.and_then(|masses| masses.get_mut(position..)) {
                for (mass, probability) in masses.iter_mut().zip(probabilities()) {
                    *mass += probability;
                }
            }
        });
    }

    /// The recorded query heads of a layer, and how many tokens they are recorded for.
    #[cfg(feature = "cuda")]
    pub(super) fn in_layer(&self, layer: usize) -> (Vec<usize>, usize) {
        let heads = self.heads.iter().filter(|(of, _)| *of == layer);
        let mut heads: Vec<usize> = heads.map(|(_, head)| *head).collect();
        heads.sort_unstable();
        heads.dedup();
        (heads, self.total.len())
    }

    /// Adds what recorded heads of one layer paid: `[rows of the pass][recorded tokens]`.
    #[cfg(feature = "cuda")]
    pub(super) fn add_rows(&mut self, masses: &[f32]) {
        if masses.is_empty() {
            return;
        }
        for (row, more) in self
            .rows
            .iter_mut()
            .zip(masses.chunks_exact(self.total.len()))
        {
            for (mass, more) in row.iter_mut().zip(more) {
                *mass += more;
            }
        }
    }

    /// More tokens are cached now.
    pub(super) fn grow(&mut self, cached: usize) {
        self.total.resize(cached, 0.0);
        for row in &mut self.rows {
            row.resize(cached, 0.0);
        }
    }

    /// Counts the pass before, unless it was abandoned, and begins one of `tokens` rows at position `first`.
    pub(super) fn begin_pass(&mut self, first: usize, tokens: usize) {
        if self.finished {
            self.count_before(usize::MAX);
        }
        let recorded = if tokens <= RECORDED_TOKENS { tokens } else { 0 };
        while let Some(row) = self.rows.pop_front() {
            self.spare.push(row);
        }
        for _ in 0..recorded {
            let mut row = self.spare.pop().unwrap_or_default();
            row.clear();
            row.resize(self.total.len(), 0.0);
            self.rows.push_back(row);
        }
        self.spare.truncate(SPARE_ROWS);
        self.first = first;
        self.finished = false;
    }

    /// The pass is complete.
    pub(super) fn finish_pass(&mut self) {
        self.finished = true;
    }

    /// Tokens from `position` on were dropped: their rows never were.
    pub(super) fn drop_from(&mut self, position: usize) {
        self.rows.truncate(position.saturating_sub(self.first));
    }

    /// What rows before `position` counted since the last take.
    pub(super) fn take_before(&mut self, position: usize) -> Vec<f32> {
        if self.finished {
            self.count_before(position);
        }
        let cached = self.total.len();
        std::mem::replace(&mut self.total, vec![0.0; cached])
    }

    fn count_before(&mut self, position: usize) {
        while self.first < position
            && let Some(row) = self.rows.pop_front()
        {
            self.first += 1;
            for (total, mass) in self.total.iter_mut().zip(&row) {
                *total += mass;
            }
            self.spare.push(row);
        }
    }
}
