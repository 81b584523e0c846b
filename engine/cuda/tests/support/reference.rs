//! Attention as it is written down, in F64.

use super::scene::Scene;
use lectern_cuda::PAGE_TOKENS;
use lectern_models::attention::{AttentionShape, RotaryPairing};

/// A vector turned to a position, its channels where they were.
pub fn turned(shape: &AttentionShape, vector: &[f64], position: usize) -> Vec<f64> {
    let mut turned = vector.to_vec();
    let frequencies = &shape.rotary.inverse_frequencies;
    for (pair, frequency) in frequencies.iter().enumerate() {
        let (first, second) = match shape.rotary.pairing {
            RotaryPairing::Halves => (pair, pair + frequencies.len()),
            RotaryPairing::Neighbours => (2 * pair, 2 * pair + 1),
        };
        let (sin, cos) = (position as f64 * f64::from(*frequency)).sin_cos();
        turned[first] = vector[first] * cos - vector[second] * sin;
        turned[second] = vector[first] * sin + vector[second] * cos;
    }
    turned
}

/// What one query row attends to and gets.
pub struct Attended {
    /// `[head_dim]`.
    pub values: Vec<f64>,
    /// By position; 0 where it does not look.
    pub probabilities: Vec<f64>,
    /// Largest score, and the sum of weights relative to it, in powers of two.
    pub largest: f64,
    pub sum: f64,
}

/// Row `(token, head)` of a pass that begins at position `start`, over those positions that `looks_at` says.
pub fn attend(
    scene: &Scene,
    start: usize,
    token: usize,
    head: usize,
    looks_at: impl Fn(usize) -> bool,
) -> Attended {
    let shape = &scene.shape;
    let d = shape.head_dim;
    let kv_head = head / shape.group_size();
    let position = start + token;
    let query: Vec<f64> = scene.query(position, head);
    let query = turned(shape, &query, position);
    let scores: Vec<f64> = (0..=position)
        .map(|key| {
            if !looks_at(key) {
                return f64::NEG_INFINITY;
            }
            let dot: f64 = scene
                .turned_key(key, kv_head)
                .iter()
                .zip(&query)
                .map(|(k, q)| k * q)
                .sum();
            dot * f64::from(shape.softmax_scale)
        })
        .collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut values = vec![0.0; d];
    for (key, weight) in weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
        for (sum_of, value) in values.iter_mut().zip(scene.value(key, kv_head)) {
            *sum_of += weight / sum * value;
        }
    }
    Attended {
        values,
        probabilities: weights.iter().map(|weight| weight / sum).collect(),
        largest: largest * std::f64::consts::LOG2_E,
        sum,
    }
}

/// Largest difference, by the largest expected number; infinite where something is not a number.
pub fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let size = expected
        .iter()
        .fold(f64::MIN_POSITIVE, |a, b| a.max(b.abs()));
    found
        .iter()
        .zip(expected)
        .map(|(found, expected)| (f64::from(*found) - expected).abs() / size)
        .fold(
            0.0,
            |a, b| if b.is_nan() { f64::INFINITY } else { a.max(b) },
        )
}

/// Page of a position.
pub fn page_of(position: usize) -> usize {
    position / PAGE_TOKENS
}
