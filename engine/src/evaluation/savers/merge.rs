//! KVMerger (Wang et al. 2024, arXiv 2407.08454): neighbours whose keys are similar become one token, whose key and value
//! are theirs, weighted by how near they are to its own.
//!
//! Reimplemented from the paper, with two differences: keys are compared and merged before rotation, as they are kept; and
//! the token that the others are merged into is the one nearest to their mean, since no attention is known of them.

use super::held::{Held, length, rewritten};
use crate::attention::Evicted;
use crate::evaluation::EvaluationError;
use crate::kv::{BLOCK_TOKENS, BlockFormat, KvCache};
use lectern_models::Model;
use std::ops::Range;
use std::path::Path;

/// A cache in which tokens stand for their neighbours, and what these others are.
pub(super) fn merged(
    model: &Model,
    whole: &KvCache,
    share: f64,
    format: BlockFormat,
    folder: &Path,
) -> Result<(KvCache, Evicted), EvaluationError> {
    let sealed = whole.tokens() / BLOCK_TOKENS;
    let mut evicted = Evicted::nothing(whole.shape(), sealed);
    let head_dim = model.shape().head_dim;
    let name = format!("merged {share}");
    let cache = rewritten(
        model,
        whole,
        format,
        folder,
        &name,
        |layer, kv_head, mut held| {
            for run in runs(&held.keys, head_dim, sealed * BLOCK_TOKENS, share) {
                let pivot = merge(&mut held, head_dim, run.clone());
                for token in run.filter(|token| *token != pivot) {
                    evicted.evict(layer, kv_head, token);
                }
            }
            held
        },
    )?;
    Ok((cache, evicted))
}

/// Runs of neighbours to merge, of at least two, so that `share` of the tokens stay: those between which keys are most
/// similar. Nothing of the first block or from token `sealed` on.
fn runs(keys: &[f32], head_dim: usize, sealed: usize, share: f64) -> Vec<Range<usize>> {
    let key = |token: usize| &keys[token * head_dim..(token + 1) * head_dim];
    let tokens = keys.len() / head_dim;
    let mut links: Vec<(f32, usize)> = (BLOCK_TOKENS..sealed.saturating_sub(1))
        .map(|token| {
            let (a, b) = (key(token), key(token + 1));
            let dot: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
            (dot / (length(a) * length(b)).max(f32::MIN_POSITIVE), token)
        })
        .collect();
    links.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    links.truncate(((1.0 - share) * tokens as f64) as usize);
    links.sort_by_key(|link| link.1);
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (_, token) in links {
        match runs.last_mut() {
            Some(run) if run.end == token + 1 => run.end = token + 2,
            _ => runs.push(token..token + 2),
        }
    }
    runs
}

/// Merges a run into one of its tokens, and says which.
fn merge(held: &mut Held, head_dim: usize, run: Range<usize>) -> usize {
    let row = |token: usize| token * head_dim..(token + 1) * head_dim;
    let mut mean = vec![0.0; head_dim];
    for token in run.clone() {
        for (mean, key) in mean.iter_mut().zip(&held.keys[row(token)]) {
            *mean += key / run.len() as f32;
        }
    }
    let distance = |keys: &[f32], token: usize, to: &[f32]| -> f32 {
        let pairs = keys[row(token)].iter().zip(to);
        pairs.map(|(key, to)| (key - to) * (key - to)).sum()
    };
    let nearer = |a: &usize, b: &usize| {
        distance(&held.keys, *a, &mean).total_cmp(&distance(&held.keys, *b, &mean))
    };
    let pivot = run.clone().min_by(nearer).unwrap_or(run.start);
    let of_pivot = held.keys[row(pivot)].to_vec();
    let distances: Vec<f32> = run
        .clone()
        .map(|token| distance(&held.keys, token, &of_pivot))
        .collect();
    // The width of the Gaussian: the mean distance, so that no scale of keys is special.
    let width = (distances.iter().sum::<f32>() / run.len() as f32).max(f32::MIN_POSITIVE);
    let weights: Vec<f32> = distances
        .iter()
        .map(|d| (-d / (2.0 * width)).exp())
        .collect();
    let sum: f32 = weights.iter().sum();
    for numbers in [&mut held.keys, &mut held.values] {
        let mut merged = vec![0.0; head_dim];
        for (token, weight) in run.clone().zip(&weights) {
            for (merged, number) in merged.iter_mut().zip(&numbers[row(token)]) {
                *merged += number * weight / sum;
            }
        }
        numbers[row(pivot)].copy_from_slice(&merged);
    }
    pivot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_neighbours_are_merged() {
        // Keys of two channels turn slowly, but for tokens 70 to 73, which are nearly the same.
        let angle = |token: usize| match token {
            70..=73 => 70.0 + 0.001 * token as f32,
            _ => token as f32,
        };
        let keys: Vec<f32> = (0..192)
            .flat_map(|token| [angle(token).cos(), angle(token).sin()])
            .collect();
        let found = runs(&keys, 2, 192, 1.0 - 3.0 / 192.0 - 1e-6);
        assert_eq!(found, [70..74]);
        let mut held = Held {
            values: keys.clone(),
            keys,
        };
        let pivot = merge(&mut held, 2, 70..74);
        assert!((70..74).contains(&pivot));
        let merged = held.keys[2 * pivot].atan2(held.keys[2 * pivot + 1]);
        let expected = angle(71).cos().atan2(angle(71).sin());
        assert!((merged - expected).abs() < 0.01);
        assert_eq!(held.keys, held.values);
    }
}
