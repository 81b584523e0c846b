//! Expected Attention (Devoto et al. 2025, arXiv 2510.00636): queries to come are taken to be spread as the document's
//! own were, as a normal distribution; what a key would get of those on the mean has a closed form.
//!
//! Reimplemented from the paper, with the constants of its published code: queries of the 512 positions behind the
//! document, the first four tokens' left out.

use super::eviction::{Compared, Scores};
use super::held::{channels, held, length, turned};
use crate::attention::{CancelFlag, DenseAttention};
use crate::evaluation::EvaluationError;
use crate::evaluation::sparse::tasks::Document;
use crate::kv::KvCache;
use lectern_models::attention::{Attention, AttentionError, AttentionShape, Projected};
use lectern_models::{Logits, Model};

/// Positions behind the document that a question stands at.
const FUTURE: usize = 512;

/// Tokens at the beginning whose queries are like no others.
const SINKS: usize = 4;

/// Added to each expected share of attention, so that the length of the value counts where nothing is expected.
const LEAST: f32 = 0.02;

/// Tokens of a pass.
const PASS: usize = 256;

/// Sums over queries of one head, before rotation.
#[derive(Debug, Clone)]
struct Moments {
    count: f64,
    sum: Vec<f64>,
    /// `[head_dim][head_dim]`.
    products: Vec<f64>,
}

/// Attention that remembers what it is asked.
struct Listening<'a> {
    attention: DenseAttention,
    shape: &'a AttentionShape,
    /// `[layer][query_head]`.
    moments: Vec<Moments>,
}

impl Attention for Listening<'_> {
    fn attend(
        &mut self,
        layer: usize,
        projected: &Projected,
        attended: &mut Vec<f32>,
    ) -> Result<(), AttentionError> {
        let AttentionShape {
            query_heads,
            head_dim,
            ..
        } = *self.shape;
        let first = self.attention.tokens();
        let tokens = projected.queries.chunks_exact(query_heads * head_dim);
        for queries in tokens.skip(SINKS.saturating_sub(first)) {
            let of_layer = &mut self.moments[layer * query_heads..(layer + 1) * query_heads];
            for (query, moments) in queries.chunks_exact(head_dim).zip(of_layer) {
                moments.count += 1.0;
                let rows = moments.products.chunks_exact_mut(head_dim);
                for ((x, sum), row) in query.iter().zip(&mut moments.sum).zip(rows) {
                    *sum += f64::from(*x);
                    for (y, product) in query.iter().zip(row) {
                        *product += f64::from(x * y);
                    }
                }
            }
        }
        self.attention.attend(layer, projected, attended)
    }
}

/// Scores by the attention to be expected, and the length of the value that it would bring.
pub(super) fn scores(
    model: &Model,
    document: &Document,
    whole: &KvCache,
) -> Result<Scores, EvaluationError> {
    let shape = model.shape();
    let (head_dim, group) = (shape.head_dim, shape.group_size());
    let mut listening = Listening {
        attention: DenseAttention::without_cache(shape, CancelFlag::new())?,
        shape,
        moments: vec![
            Moments {
                count: 0.0,
                sum: vec![0.0; head_dim],
                products: vec![0.0; head_dim * head_dim],
            };
            shape.layers * shape.query_heads
        ],
    };
    let ids = document.tokens.iter().map(|token| token.id);
    let ids: Vec<u32> = document.prefix.iter().copied().chain(ids).collect();
    for pass in ids.chunks(PASS) {
        model.forward(pass, &mut listening, Logits::None)?;
    }
    let (view, tokens) = (whole.view(), whole.tokens());
    let mut worth = Vec::with_capacity(shape.layers * shape.kv_heads * tokens);
    for layer in 0..shape.layers {
        for kv_head in 0..shape.kv_heads {
            let held = held(&view, layer, kv_head);
            let keys = turned(shape, layer, kv_head, &held.keys);
            let mut shares = vec![0.0f32; tokens];
            let first = layer * shape.query_heads + kv_head * group;
            for moments in &listening.moments[first..first + group] {
                let expected = Expected::behind(shape, tokens, moments);
                let logits: Vec<f64> = keys
                    .chunks_exact(head_dim)
                    .map(|key| expected.logarithm(key, f64::from(shape.softmax_scale)))
                    .collect();
                let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights = logits.iter().map(|logit| (logit - largest).exp());
                let sum: f64 = weights.clone().sum();
                for (share, weight) in shares.iter_mut().zip(weights) {
                    *share += (weight / sum / group as f64) as f32;
                }
            }
            let values = held.values.chunks_exact(head_dim);
            let pairs = shares.iter().zip(values);
            worth.extend(pairs.map(|(share, value)| (share + LEAST) * length(value)));
        }
    }
    Ok(Scores::of(whole, Compared::InHeads, worth))
}

/// How queries behind the document are spread, turned to there on the mean.
struct Expected {
    mean: Vec<f64>,
    /// `[head_dim][head_dim]`.
    covariance: Vec<f64>,
}

impl Expected {
    fn behind(shape: &AttentionShape, tokens: usize, moments: &Moments) -> Expected {
        let d = shape.head_dim;
        let mut mean: Vec<f64> = moments.sum.iter().map(|sum| sum / moments.count).collect();
        let mut covariance: Vec<f64> = (0..d * d)
            .map(|at| moments.products[at] / moments.count - mean[at / d] * mean[at % d])
            .collect();
        for (pair, frequency) in shape.rotary.inverse_frequencies.iter().enumerate() {
            let angles = (tokens..tokens + FUTURE).map(|at| at as f64 * f64::from(*frequency));
            let (sin, cos) = angles.fold((0.0, 0.0), |(sin, cos), angle| {
                (sin + angle.sin(), cos + angle.cos())
            });
            let (sin, cos) = (sin / FUTURE as f64, cos / FUTURE as f64);
            let (first, second) = channels(shape, pair);
            let turn = |numbers: &mut [f64], first: usize, second: usize| {
                let (x, y) = (numbers[first], numbers[second]);
                numbers[first] = x * cos - y * sin;
                numbers[second] = x * sin + y * cos;
            };
            turn(&mut mean, first, second);
            for line in 0..d {
                turn(&mut covariance, line * d + first, line * d + second);
            }
            for line in 0..d {
                turn(&mut covariance, first * d + line, second * d + line);
            }
        }
        Expected { mean, covariance }
    }

    /// Logarithm of the mean of `exp(scale * query . key)` over these queries.
    fn logarithm(&self, key: &[f32], scale: f64) -> f64 {
        let key: Vec<f64> = key.iter().map(|number| f64::from(*number)).collect();
        let dot = |row: &[f64]| -> f64 { row.iter().zip(&key).map(|(x, y)| x * y).sum() };
        let spread: f64 = key
            .iter()
            .zip(self.covariance.chunks_exact(key.len()))
            .map(|(number, row)| number * dot(row))
            .sum();
        scale * dot(&self.mean) + scale * scale * spread / 2.0
    }
}
