//! Dense attention against plain F64 attention, and against itself cut up differently.

#![allow(clippy::unwrap_used)]

use super::kernels::tests::noise;
use super::{CancelFlag, DenseAttention};
use crate::kv::{BlockFormat, CacheIdentity, KvCache};
use half::f16;
use lectern_models::attention::{
    Attention, AttentionError, AttentionShape, Projected, Rotary, RotaryPairing,
};
use tempfile::TempDir;

pub(super) fn shape(
    kv_heads: usize,
    group: usize,
    head_dim: usize,
    pairing: RotaryPairing,
) -> AttentionShape {
    let layers = 2;
    let pairs = head_dim / 2;
    AttentionShape {
        layers,
        query_heads: kv_heads * group,
        kv_heads,
        head_dim,
        softmax_scale: (head_dim as f32).sqrt().recip(),
        rotary: Rotary {
            pairing,
            inverse_frequencies: (0..pairs)
                .map(|pair| 10_000f32.powf(-(pair as f32) / pairs as f32))
                .collect(),
        },
        key_bias: vec![
            Some(
                noise(77, kv_heads * head_dim)
                    .iter()
                    .map(|b| b * 50.0)
                    .collect(),
            ),
            None,
        ],
    }
}

/// A text's queries, keys and values, `[layer][token * heads * head_dim]`.
#[derive(Clone)]
pub(super) struct Text {
    tokens: usize,
    queries: Vec<Vec<f32>>,
    pub(super) keys: Vec<Vec<f32>>,
    pub(super) values: Vec<Vec<f32>>,
}

impl Text {
    pub(super) fn new(shape: &AttentionShape, tokens: usize, size: f32) -> Text {
        let numbers = |what: u64, heads: usize| -> Vec<Vec<f32>> {
            (0..shape.layers as u64)
                .map(|layer| {
                    noise(what * 100 + layer, tokens * heads * shape.head_dim)
                        .iter()
                        .map(|number| number * size)
                        .collect()
                })
                .collect()
        };
        Text {
            tokens,
            queries: numbers(1, shape.query_heads),
            keys: numbers(2, shape.kv_heads),
            values: numbers(3, shape.kv_heads),
        }
    }

    /// With keys and values rounded to half precision, as the tail keeps them.
    pub(super) fn halved(mut self) -> Text {
        let half = |number: f32| f16::from_f32(number.clamp(-65504.0, 65504.0)).to_f32();
        for numbers in self.keys.iter_mut().chain(&mut self.values) {
            for number in numbers {
                *number = half(*number);
            }
        }
        self
    }

    fn projected(
        &self,
        shape: &AttentionShape,
        layer: usize,
        (first, last): (usize, usize),
    ) -> Projected {
        let of_range = |all: &[f32], heads: usize| {
            let row = heads * shape.head_dim;
            all[first * row..last * row].to_vec()
        };
        Projected {
            tokens: last - first,
            queries: of_range(&self.queries[layer], shape.query_heads),
            keys: of_range(&self.keys[layer], shape.kv_heads),
            values: of_range(&self.values[layer], shape.kv_heads),
        }
    }

    /// One pass over tokens `range`; the attended values of every layer.
    pub(super) fn pass(
        &self,
        shape: &AttentionShape,
        attention: &mut DenseAttention,
        range: (usize, usize),
    ) -> Result<Vec<Vec<f32>>, AttentionError> {
        (0..shape.layers)
            .map(|layer| {
                let mut attended = Vec::new();
                attention.attend(layer, &self.projected(shape, layer, range), &mut attended)?;
                Ok(attended)
            })
            .collect()
    }
}

/// Plain causal attention in F64. Returns the attended values `[token * query_heads * head_dim]` and the probabilities
/// `[head][token][key]`.
pub(super) fn plain(
    shape: &AttentionShape,
    text: &Text,
    layer: usize,
) -> (Vec<f64>, Vec<Vec<Vec<f64>>>) {
    let d = shape.head_dim;
    let turn = |row: &[f64], position: usize| -> Vec<f64> {
        let mut turned = row.to_vec();
        let pairs = shape.rotary.inverse_frequencies.len();
        for (pair, frequency) in shape.rotary.inverse_frequencies.iter().enumerate() {
            let (first, second) = match shape.rotary.pairing {
                RotaryPairing::Halves => (pair, pair + pairs),
                RotaryPairing::Neighbours => (2 * pair, 2 * pair + 1),
            };
            let (sin, cos) = (position as f64 * f64::from(*frequency)).sin_cos();
            turned[first] = row[first] * cos - row[second] * sin;
            turned[second] = row[first] * sin + row[second] * cos;
        }
        turned
    };
    let key = |position: usize, head: usize| -> Vec<f64> {
        let first = (position * shape.kv_heads + head) * d;
        let biased: Vec<f64> = (0..d)
            .map(|channel| {
                let bias = shape.key_bias[layer]
                    .as_ref()
                    .map_or(0.0, |b| f64::from(b[head * d + channel]));
                f64::from(text.keys[layer][first + channel]) + bias
            })
            .collect();
        turn(&biased, position)
    };
    let mut attended = vec![0.0; text.tokens * shape.query_heads * d];
    let mut probabilities = vec![vec![Vec::new(); text.tokens]; shape.query_heads];
    for (head, probabilities) in probabilities.iter_mut().enumerate() {
        let kv_head = head / shape.group_size();
        let keys: Vec<Vec<f64>> = (0..text.tokens)
            .map(|position| key(position, kv_head))
            .collect();
        for (token, probabilities) in probabilities.iter_mut().enumerate() {
            let first = (token * shape.query_heads + head) * d;
            let query: Vec<f64> = text.queries[layer][first..first + d]
                .iter()
                .map(|q| f64::from(*q))
                .collect();
            let query = turn(&query, token);
            let scores: Vec<f64> = (0..=token)
                .map(|position| {
                    let pairs = query.iter().zip(&keys[position]);
                    let dot: f64 = pairs.map(|(q, k)| q * k).sum();
                    dot * f64::from(shape.softmax_scale)
                })
                .collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
            for (position, score) in scores.iter().enumerate() {
                let probability = (score - largest).exp() / sum;
                probabilities.push(probability);
                let value = (position * shape.kv_heads + kv_head) * d;
                for channel in 0..d {
                    attended[first + channel] +=
                        probability * f64::from(text.values[layer][value + channel]);
                }
            }
        }
    }
    (attended, probabilities)
}

fn cache(folder: &TempDir, shape: &AttentionShape) -> KvCache {
    cache_in(folder, shape, BlockFormat::F16)
}

pub(super) fn cache_in(folder: &TempDir, shape: &AttentionShape, format: BlockFormat) -> KvCache {
    let identity = CacheIdentity {
        scope: 0,
        text: [1; 32],
        model: "noise".into(),
        prompt: 0,
        format: format.number(),
    };
    KvCache::open(folder.path(), &identity, shape).unwrap()
}

pub(super) fn ids(range: (usize, usize)) -> Vec<u32> {
    (range.0 as u32..range.1 as u32).collect()
}

pub(super) fn bits(numbers: &[Vec<f32>]) -> Vec<Vec<u32>> {
    numbers
        .iter()
        .map(|layer| layer.iter().map(|n| n.to_bits()).collect())
        .collect()
}

#[test]
fn equals_plain_attention_over_odd_shapes() {
    for (kv_heads, group, head_dim, tokens) in [
        (1, 1, 2, 5),
        (2, 7, 64, 130),
        (3, 3, 80, 70),
        (1, 6, 128, 65),
        (2, 1, 6, 200),
    ] {
        for pairing in [RotaryPairing::Halves, RotaryPairing::Neighbours] {
            let shape = shape(kv_heads, group, head_dim, pairing);
            let text = Text::new(&shape, tokens, 3.0);
            let folder = TempDir::new().unwrap();
            let cache = cache(&folder, &shape);
            let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
            let found = text.pass(&shape, &mut attention, (0, tokens)).unwrap();
            for (layer, found) in found.iter().enumerate() {
                let (expected, _) = plain(&shape, &text.clone().halved(), layer);
                let worst = found
                    .iter()
                    .zip(&expected)
                    .map(|(f, e)| (f64::from(*f) - e).abs())
                    .fold(0.0, f64::max);
                // Scores reach several hundred here (the bias is 50), so their F32 rounding shows in the weights.
                assert!(
                    worst < 3e-3,
                    "{kv_heads}x{group}x{head_dim}, layer {layer}: {worst}"
                );
            }
        }
    }
}

#[test]
fn large_and_infinite_numbers_stay_finite_where_they_can() {
    let shape = shape(2, 2, 64, RotaryPairing::Halves);
    let text = Text::new(&shape, 100, 2e4);
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder, &shape);
    let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
    for layer in text.pass(&shape, &mut attention, (0, 100)).unwrap() {
        assert!(layer.iter().all(|number| number.is_finite()));
    }
}

/// Chunks, sealing, threads and decode make no difference to a single bit.
#[test]
fn results_do_not_depend_on_how_the_work_is_cut() {
    let shape = shape(2, 3, 64, RotaryPairing::Halves);
    let tokens = 64 * 19 + 11;
    let text = Text::new(&shape, tokens, 1.0);
    let folder = TempDir::new().unwrap();
    let one = cache(&folder, &shape);
    let mut attention = DenseAttention::over(&one, &shape, CancelFlag::new()).unwrap();
    let whole = bits(&text.pass(&shape, &mut attention, (0, tokens)).unwrap());
    let row = shape.query_heads * shape.head_dim;
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let folder = TempDir::new().unwrap();
            let cache = cache(&folder, &shape);
            let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
            let mut first = 0;
            for (nth, chunk) in [256, 64, 640, 128, 128, 1, 1, 3, 6].into_iter().enumerate() {
                let range = (first, first + chunk);
                let found = bits(&text.pass(&shape, &mut attention, range).unwrap());
                for (layer, found) in found.iter().enumerate() {
                    assert!(
                        found[..] == whole[layer][range.0 * row..range.1 * row],
                        "{threads} threads, {range:?}"
                    );
                }
                first += chunk;
                // The first four are sealed, the others stay in the tail.
                if nth < 4 {
                    attention.seal(&cache, &ids(range)).unwrap();
                }
            }
            assert_eq!(first, tokens);
            assert_eq!(attention.tokens(), tokens);
        });
    }
}

#[test]
fn a_question_behind_a_partial_block_and_a_second_one_after_a_reset() {
    let shape = shape(2, 2, 64, RotaryPairing::Neighbours);
    let text = Text::new(&shape, 120, 1.0);
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder, &shape);
    let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
    let whole = text.pass(&shape, &mut attention, (0, 120)).unwrap();
    attention.reset();
    text.pass(&shape, &mut attention, (0, 100)).unwrap();
    attention.seal(&cache, &ids((0, 100))).unwrap();
    let row = shape.query_heads * shape.head_dim;
    let mut again = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
    for attention in [&mut attention, &mut again] {
        for _ in 0..2 {
            let found = text.pass(&shape, attention, (100, 120)).unwrap();
            for (found, whole) in found.iter().zip(&whole) {
                assert_eq!(found[..], whole[100 * row..120 * row]);
            }
            attention.reset();
            assert_eq!(attention.tokens(), 100);
        }
    }
}

#[test]
fn an_abandoned_pass_leaves_the_tail_as_it_was() {
    let shape = shape(1, 2, 64, RotaryPairing::Halves);
    let text = Text::new(&shape, 90, 1.0);
    let other = Text::new(&shape, 200, f32::NAN);
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder, &shape);
    let cancel = CancelFlag::new();
    let mut attention = DenseAttention::over(&cache, &shape, cancel.clone()).unwrap();
    let whole = text.pass(&shape, &mut attention, (0, 90)).unwrap();
    attention.rewind(30);
    // Layer 0 of a pass of NaNs, then nothing more of it.
    let nans = other.projected(&shape, 0, (0, 200));
    attention.attend(0, &nans, &mut Vec::new()).unwrap();
    cancel.cancel();
    assert!(matches!(
        text.pass(&shape, &mut attention, (30, 90)),
        Err(AttentionError::Cancelled)
    ));
    assert_eq!(attention.tokens(), 30);
    attention.listen_to(CancelFlag::new());
    let found = text.pass(&shape, &mut attention, (30, 90)).unwrap();
    let row = shape.query_heads * shape.head_dim;
    for (found, whole) in found.iter().zip(&whole) {
        assert_eq!(found[..], whole[30 * row..]);
    }
}

#[test]
fn layers_out_of_order_and_wrong_shapes_are_refused() {
    let shape = shape(1, 2, 64, RotaryPairing::Halves);
    let text = Text::new(&shape, 8, 1.0);
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder, &shape);
    let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
    let mut attend = |layer: usize, projected: &Projected| {
        attention.attend(layer, projected, &mut Vec::new()).is_ok()
    };
    let four = text.projected(&shape, 0, (0, 4));
    assert!(!attend(1, &four));
    assert!(attend(0, &four));
    let too_few_keys = Projected {
        keys: text.projected(&shape, 0, (0, 3)).keys,
        ..four.clone()
    };
    assert!(!attend(1, &too_few_keys));
    assert!(!attend(1, &text.projected(&shape, 0, (0, 3))));
    assert!(!attend(2, &four));
    assert!(attend(1, &four));
}

#[test]
fn mass_is_the_sum_of_the_recorded_heads_probabilities() {
    let shape = shape(2, 2, 64, RotaryPairing::Halves);
    let cached = 64 * 9 + 20;
    let text = Text::new(&shape, cached + 6, 0.7);
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder, &shape);
    let mut sealed = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
    text.pass(&shape, &mut sealed, (0, cached)).unwrap();
    sealed.seal(&cache, &ids((0, cached))).unwrap();
    let mut in_memory = DenseAttention::without_cache(&shape, CancelFlag::new()).unwrap();
    text.pass(&shape, &mut in_memory, (0, cached)).unwrap();
    for mut attention in [sealed, in_memory] {
        check_mass(&shape, &text, &mut attention, cached);
    }
}

/// Passes of six more tokens behind `cached` ones, the attention of three heads to those compared with plain sums.
fn check_mass(shape: &AttentionShape, text: &Text, attention: &mut DenseAttention, cached: usize) {
    attention.record(&[(0, 1), (1, 3), (1, 2)]);
    let mut expected = vec![0.0; cached];
    for (layer, heads) in [(0, vec![1]), (1, vec![3, 2])] {
        let (_, probabilities) = plain(shape, &text.clone().halved(), layer);
        for head in heads {
            for row in &probabilities[head][cached..] {
                for (sum, probability) in expected.iter_mut().zip(row) {
                    *sum += probability;
                }
            }
        }
    }
    for range in [
        (cached, cached + 4),
        (cached + 4, cached + 5),
        (cached + 5, cached + 6),
    ] {
        text.pass(shape, attention, range).unwrap();
    }
    let found = attention.take_mass();
    assert_eq!(found.len(), cached);
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-4,
            "{found} for {expected}"
        );
    }
    assert!(attention.take_mass().iter().all(|mass| *mass == 0.0));

    // Tokens that were guessed and dropped leave nothing; of a pass in two takes, each row counts once.
    attention.rewind(cached);
    text.pass(shape, attention, (cached, cached + 4)).unwrap();
    let mut in_parts = attention.take_mass_before(cached + 3);
    attention.rewind(cached + 3);
    text.pass(shape, attention, (cached + 3, cached + 6))
        .unwrap();
    for (sum, more) in in_parts.iter_mut().zip(attention.take_mass()) {
        *sum += more;
    }
    for (again, found) in in_parts.iter().zip(&found) {
        assert!((again - found).abs() < 1e-5, "{again} for {found}");
    }
}
