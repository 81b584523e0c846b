//! Dense attention over caches in codes: against plain attention over the numbers that the codes stand for, and
//! against itself cut up differently.

#![allow(clippy::unwrap_used)]

use super::reference::{Text, bits, cache_in, ids, plain, shape};
use super::{CancelFlag, DenseAttention};
use crate::kv::format::decode_head;
use crate::kv::{BLOCK_TOKENS, BlockFormat, KvCache};
use lectern_models::attention::{AttentionShape, RotaryPairing};
use tempfile::TempDir;

/// The text as attention sees it: sealed tokens as the cache stands for them, the others in half precision.
pub(super) fn as_cached(text: &Text, cache: &KvCache) -> Text {
    let view = cache.view();
    let kv = *view.shape();
    let mut seen = text.clone().halved();
    for block in 0..view.blocks() {
        for layer in 0..kv.layers {
            for head in 0..kv.kv_heads {
                let (keys, values) = decode_head(&kv, &view.part(block, layer), head);
                for at in 0..BLOCK_TOKENS * kv.head_dim {
                    let position = block * BLOCK_TOKENS + at / kv.head_dim;
                    let to = (position * kv.kv_heads + head) * kv.head_dim + at % kv.head_dim;
                    seen.keys[layer][to] = keys[at] as f32;
                    seen.values[layer][to] = values[at] as f32;
                }
            }
        }
    }
    seen
}

pub(super) fn read(
    shape: &AttentionShape,
    text: &Text,
    cache: &KvCache,
    passes: &[usize],
) -> DenseAttention {
    let mut attention = DenseAttention::over(cache, shape, CancelFlag::new()).unwrap();
    let mut first = 0;
    for pass in passes {
        text.pass(shape, &mut attention, (first, first + pass))
            .unwrap();
        first += pass;
        // Chunks of 256 are sealed, in how many passes they may have come.
        if first.is_multiple_of(256) {
            attention.seal(cache, &ids((first - 256, first))).unwrap();
        }
    }
    attention
}

#[test]
fn equals_plain_attention_over_what_the_codes_stand_for() {
    for (kv_heads, group, head_dim) in [(2, 7, 64), (1, 3, 80), (1, 6, 128)] {
        let shape = shape(kv_heads, group, head_dim, RotaryPairing::Halves);
        let tokens = 512 + 70;
        let text = Text::new(&shape, tokens, 3.0);
        for format in BlockFormat::ALL {
            let folder = TempDir::new().unwrap();
            let cache = cache_in(&folder, &shape, format);
            let mut attention = read(&shape, &text, &cache, &[256, 256]);
            let found = text.pass(&shape, &mut attention, (512, tokens)).unwrap();
            let seen = as_cached(&text, &cache);
            let row = shape.query_heads * shape.head_dim;
            for (layer, found) in found.iter().enumerate() {
                let (expected, _) = plain(&shape, &seen, layer);
                let worst = found
                    .iter()
                    .zip(&expected[512 * row..])
                    .map(|(f, e)| (f64::from(*f) - e).abs())
                    .fold(0.0, f64::max);
                // Weights of codes of 4 bits are rounded (`kernels::coded_values`): some hundredths of a step, which is
                // at most a fifteenth of the range.
                let bound = match format {
                    BlockFormat::F16 | BlockFormat::K8V8 => 3e-3,
                    _ => 3e-3 + 0.1 * 6.0 / 15.0,
                };
                assert!(worst < bound, "{format:?}, {head_dim} channels: {worst}");
            }
        }
    }
}

/// The passes that a chunk came in, threads and decoding make no difference to a single bit, nor does a cache that was
/// closed and opened again in between.
#[test]
fn results_depend_only_on_where_chunks_were_sealed() {
    for pairing in [RotaryPairing::Halves, RotaryPairing::Neighbours] {
        let shape = shape(2, 3, 64, pairing);
        let tokens = 512 + 90;
        let text = Text::new(&shape, tokens, 1.0);
        let folder = TempDir::new().unwrap();
        let cache = cache_in(&folder, &shape, BlockFormat::K4V4);
        let mut attention = read(&shape, &text, &cache, &[256, 256]);
        let whole = bits(&text.pass(&shape, &mut attention, (512, tokens)).unwrap());
        let row = shape.query_heads * shape.head_dim;
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let folder = TempDir::new().unwrap();
                let passes = [[64, 192, 255, 1], [1, 255, 100, 156]][threads % 2];
                let closed = cache_in(&folder, &shape, BlockFormat::K4V4);
                read(&shape, &text, &closed, &passes);
                drop(closed);
                let cache = cache_in(&folder, &shape, BlockFormat::K4V4);
                assert_eq!(cache.tokens(), 512);
                let mut attention =
                    DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
                let mut first = 512;
                for pass in [1, 1, 60, 5, 23] {
                    let range = (first, first + pass);
                    let found = bits(&text.pass(&shape, &mut attention, range).unwrap());
                    for (found, whole) in found.iter().zip(&whole) {
                        let rows = (first - 512) * row..(first - 512 + pass) * row;
                        assert!(found[..] == whole[rows], "{threads} threads, {range:?}");
                    }
                    first += pass;
                }
                assert_eq!(first, tokens);
            });
        }
    }
}
