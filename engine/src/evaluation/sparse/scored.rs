//! What became of the tasks of some documents.

use super::tasks::{Kind, Task};
use crate::evaluation::kv::divergence::{Prediction, compare, hits};
use crate::evaluation::score::Share;
use serde::Serialize;

/// Sums over tasks.
#[derive(Debug, Clone, Default, Serialize)]
pub(in crate::evaluation) struct Scored {
    #[serde(skip)]
    continuation: Prediction,
    #[serde(skip)]
    answers: Prediction,
    /// Divergence from the way compared with where the text goes on, in nats.
    pub divergence: f64,
    /// The same over the judged tokens of the answers.
    pub answer_divergence: f64,
    /// Tokens of passages.
    pub copied: Share,
    /// Needles, one by one.
    pub needles: Share,
    /// Of questions for four, all four.
    pub four_needles: Share,
    /// Tokens of chains.
    pub chains: Share,
}

impl Scored {
    /// Adds a task: the predictions of its judged tokens, and those of the way that this one is compared with.
    pub fn count(&mut self, task: &Task, compared: &[Vec<f32>], found: &[Vec<f32>]) {
        let targets: Vec<u32> = task.judged.iter().map(|at| task.ids[*at]).collect();
        let prediction = compare(compared, found, &targets);
        match task.kind {
            Kind::Continuation => self.continuation.add(prediction),
            _ => self.answers.add(prediction),
        }
        self.divergence = self.continuation.divergence();
        self.answer_divergence = self.answers.divergence();
        let hits = hits(found, &targets);
        let all = hits.iter().all(|hit| *hit);
        match task.kind {
            Kind::Continuation => {}
            Kind::Copy => hits.into_iter().for_each(|hit| self.copied.count(hit)),
            Kind::Needle => self.needles.count(all),
            Kind::Needles => self.four_needles.count(all),
            Kind::Chain => hits.into_iter().for_each(|hit| self.chains.count(hit)),
        }
    }
}
