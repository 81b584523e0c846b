//! Turning queries and keys to their positions (rotary embedding, Su et al. 2021, arXiv 2104.09864).
//!
//! Keys are turned in two steps: by their place in the block (a table of 64 places that never changes), then by the
//! block's first position. That needs no table as long as the document, and angles are computed in F64, so the error
//! does not grow with the position as it does for an F32 product of position and frequency.

use crate::kv::BLOCK_TOKENS;
use lectern_models::attention::{Rotary, RotaryPairing};

/// Cosines and sines of every pair's angle.
#[derive(Debug, Clone)]
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
        let angles: Vec<f64> = rotary.inverse_frequencies.iter().flat_map(angles).collect();
        Rotation {
            rotary: rotary.clone(),
            places: turn(&angles),
        }
    }

    pub(super) fn pairing(&self) -> RotaryPairing {
        self.rotary.pairing
    }

    /// `[pairs]`: the turn of one position.
    pub(super) fn at(&self, position: usize) -> Turn {
        let angles: Vec<f64> = self
            .rotary
            .inverse_frequencies
            .iter()
            .map(|frequency| position as f64 * f64::from(*frequency))
            .collect();
        turn(&angles)
    }

    /// Turns one head's query and multiplies it by `scale`.
    pub(super) fn turn_query(&self, query: &[f32], turn: &Turn, scale: f32, turned: &mut [f32]) {
        let pairs = turn.cos.len();
        for pair in 0..pairs {
            let (first, second) = match self.rotary.pairing {
                RotaryPairing::Halves => (pair, pair + pairs),
                RotaryPairing::Neighbours => (2 * pair, 2 * pair + 1),
            };
            let (a, b) = (query[first] * scale, query[second] * scale);
            turned[first] = a * turn.cos[pair] - b * turn.sin[pair];
            turned[second] = a * turn.sin[pair] + b * turn.cos[pair];
        }
        for channel in 2 * pairs..query.len() {
            turned[channel] = query[channel] * scale;
        }
    }
}

fn turn(angles: &[f64]) -> Turn {
    Turn {
        cos: angles.iter().map(|angle| angle.cos() as f32).collect(),
        sin: angles.iter().map(|angle| angle.sin() as f32).collect(),
    }
}
