//! Turning queries and keys to their positions (rotary embedding, Su et al. 2021, arXiv 2104.09864).
//!
//! A score depends only on how far a query stands from a key. So keys are turned by their place in the block alone (a
//! table of 64 places that never changes and stays in the cache), and queries are turned to their position and, for
//! each block, back by the block's first position, which is little work beside the keys'. Angles are computed in F64,
//! so the error does not grow with the position as it does for an F32 product of position and frequency.

use super::kernels::pair_channels;
use crate::kv::BLOCK_TOKENS;
use lectern_models::attention::{Rotary, RotaryPairing};

/// Cosines and sines of every pair's angle.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn {
    pub(super) cos: Vec<f32>,
    pub(super) sin: Vec<f32>,
}

/// A model's rotary embedding, ready for blocks.
#[derive(Debug)]
pub(super) struct Rotation {
    rotary: Rotary,
    /// `[pairs][64]`: by a key's place in its block.
    pub(super) places: Turn,
}

impl Rotation {
    pub(super) fn new(rotary: &Rotary) -> Rotation {
        let angles = |frequency: &f32| {
            let frequency = f64::from(*frequency);
            (0..BLOCK_TOKENS).map(move |place| place as f64 * frequency)
        };
        let mut places = Turn::default();
        places.fill(rotary.inverse_frequencies.iter().flat_map(angles));
        Rotation {
            rotary: rotary.clone(),
            places,
        }
    }

    pub(super) fn pairing(&self) -> RotaryPairing {
        self.rotary.pairing
    }

    /// `[pairs]`: the turn of one position.
    pub(super) fn at(&self, position: usize) -> Turn {
        let mut turn = Turn::default();
        self.turn_to(position, &mut turn);
        turn
    }

    /// The same, in place of another turn.
    pub(super) fn turn_to(&self, position: usize, turn: &mut Turn) {
        let frequencies = self.rotary.inverse_frequencies.iter();
        turn.fill(frequencies.map(|frequency| position as f64 * f64::from(*frequency)));
    }

    /// Turns one head's query and multiplies it by `scale`; out in the order of pairs, see
    /// [`KeyTurn`](super::kernels::KeyTurn).
    pub(super) fn turn_query(&self, query: &[f32], turn: &Turn, scale: f32, turned: &mut [f32]) {
        let pairs = turn.cos.len();
        for pair in 0..pairs {
            let (first, second) = pair_channels(self.rotary.pairing, pairs, pair);
            let (a, b) = (query[first] * scale, query[second] * scale);
            turned[pair] = a * turn.cos[pair] - b * turn.sin[pair];
            turned[pairs + pair] = a * turn.sin[pair] + b * turn.cos[pair];
        }
        for channel in 2 * pairs..query.len() {
            turned[channel] = query[channel] * scale;
        }
    }
}

impl Turn {
    fn fill(&mut self, angles: impl Iterator<Item = f64>) {
        self.cos.clear();
        self.sin.clear();
        for angle in angles {
            self.cos.push(angle.cos() as f32);
            self.sin.push(angle.sin() as f32);
        }
    }
}
