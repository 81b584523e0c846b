//! KeyDiff (Park et al. 2025, arXiv 2504.15364): keys that are like the others are found by whatever finds those; what
//! is unlike them stays.

use super::eviction::{Compared, Scores};
use super::held::{held, length, turned};
use crate::kv::KvCache;
use lectern_models::Model;

/// How little each key, as attention meets it, points where the head's keys point on the mean.
pub(super) fn scores(model: &Model, whole: &KvCache) -> Scores {
    let (view, shape) = (whole.view(), model.shape());
    let mut worth = Vec::new();
    for layer in 0..shape.layers {
        for kv_head in 0..shape.kv_heads {
            let keys = held(&view, layer, kv_head).keys;
            let mut keys = turned(shape, layer, kv_head, &keys);
            let mut mean = vec![0.0; shape.head_dim];
            for key in keys.chunks_exact_mut(shape.head_dim) {
                let length = length(key).max(f32::MIN_POSITIVE);
                for (key, mean) in key.iter_mut().zip(&mut mean) {
                    *key /= length;
                    *mean += *key;
                }
            }
            let length = length(&mean).max(f32::MIN_POSITIVE);
            worth.extend(keys.chunks_exact(shape.head_dim).map(|key| {
                let along: f32 = key.iter().zip(&mean).map(|(key, mean)| key * mean).sum();
                -along / length
            }));
        }
    }
    Scores::of(whole, Compared::InHeads, worth)
}
