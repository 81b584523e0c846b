//! Keys and values that a half-precision cache holds, head by head, and a cache of others in their place.

use crate::evaluation::EvaluationError;
use crate::kv::{
    BLOCK_TOKENS, BlockFormat, CacheIdentity, KvCache, KvShape, KvView, OpenBlock, Part,
};
use lectern_models::Model;
use lectern_models::attention::{AttentionShape, RotaryPairing};
use std::path::Path;

/// Of one layer and head, each `[tokens][head_dim]`: keys before rotation and without bias.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub keys: Vec<f32>,
    pub values: Vec<f32>,
}

/// What `view`, of a cache in half precision, holds of a head.
pub(super) fn held(view: &KvView, layer: usize, kv_head: usize) -> Held {
    let shape = *view.shape();
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    for block in 0..view.blocks() {
        let Part::Halves(halves) = view.part(block, layer) else {
            unreachable!("the cache is in half precision");
        };
        let head = halves.head(&shape, kv_head);
        keys.extend(head.keys.iter().map(|half| half.to_f32()));
        values.extend(head.values.iter().map(|half| half.to_f32()));
    }
    let numbers = view.tokens() * shape.head_dim;
    keys.truncate(numbers);
    values.truncate(numbers);
    Held { keys, values }
}

/// These keys as attention meets them: with bias, turned to their positions.
pub(super) fn turned(
    shape: &AttentionShape,
    layer: usize,
    kv_head: usize,
    keys: &[f32],
) -> Vec<f32> {
    let head_dim = shape.head_dim;
    let mut keys = keys.to_vec();
    for (position, key) in keys.chunks_exact_mut(head_dim).enumerate() {
        if let Some(bias) = &shape.key_bias[layer] {
            for (key, bias) in key.iter_mut().zip(&bias[kv_head * head_dim..]) {
                *key += bias;
            }
        }
        for (pair, frequency) in shape.rotary.inverse_frequencies.iter().enumerate() {
            let (first, second) = channels(shape, pair);
            let (sin, cos) = (position as f32 * frequency).sin_cos();
            let (x, y) = (key[first], key[second]);
            key[first] = x * cos - y * sin;
            key[second] = x * sin + y * cos;
        }
    }
    keys
}

/// The two channels of a pair that are turned together.
pub(super) fn channels(shape: &AttentionShape, pair: usize) -> (usize, usize) {
    match shape.rotary.pairing {
        RotaryPairing::Halves => (pair, pair + shape.rotary.inverse_frequencies.len()),
        RotaryPairing::Neighbours => (2 * pair, 2 * pair + 1),
    }
}

/// A cache of the same tokens in `format`, with what `changed` makes of each layer and head.
pub(super) fn rewritten(
    model: &Model,
    whole: &KvCache,
    format: BlockFormat,
    folder: &Path,
    name: &str,
    mut changed: impl FnMut(usize, usize, Held) -> Held,
) -> Result<KvCache, EvaluationError> {
    let view = whole.view();
    let shape = KvShape::from(model.shape());
    let mut blocks = vec![OpenBlock::new(shape); view.blocks()];
    for layer in 0..shape.layers {
        let heads: Vec<Held> = (0..shape.kv_heads)
            .map(|kv_head| changed(layer, kv_head, held(&view, layer, kv_head)))
            .collect();
        for token in 0..view.tokens() {
            let row = token * shape.head_dim..(token + 1) * shape.head_dim;
            let of_heads = |numbers: fn(&Held) -> &Vec<f32>| -> Vec<f32> {
                let rows = heads.iter().map(|head| &numbers(head)[row.clone()]);
                rows.flatten().copied().collect()
            };
            let (keys, values) = (of_heads(|head| &head.keys), of_heads(|head| &head.values));
            blocks[token / BLOCK_TOKENS].put(layer, token % BLOCK_TOKENS, &keys, &values);
        }
    }
    let identity = CacheIdentity {
        format: format.number(),
        model: format!("{} {name}", model.fingerprint()),
        ..whole.identity().clone()
    };
    let folder = folder.join(identity.folder_name());
    let cache = KvCache::open(&folder, &identity, model.shape())?;
    let ids: Vec<u32> = view.token_ids().collect();
    if cache.tokens() == 0 {
        cache.append(&ids, &blocks)?;
    }
    Ok(cache)
}

/// Euclidean length.
pub(super) fn length(row: &[f32]) -> f32 {
    row.iter().map(|number| number * number).sum::<f32>().sqrt()
}
