//! Attention that also tells where each head of every layer looks.

use crate::attention::DenseAttention;
use lectern_models::attention::{
    Attention, AttentionError, AttentionShape, Projected, RotaryPairing,
};

/// Dense attention that keeps all keys a second time, in F32 and turned to their positions, and, while it is told to,
/// sums every head's attention to every position. Slow and plain on purpose: it measures, and checks nothing else.
pub(super) struct HeadProbe {
    inner: DenseAttention,
    shape: AttentionShape,
    /// By layer: `[tokens, kv_heads, head_dim]`.
    keys: Vec<Vec<f32>>,
    /// By layer and query head, while recording: mass by position, summed over rows.
    mass: Option<Vec<Vec<f32>>>,
    rows: usize,
}

/// Turns a head's key or query to a position, in place.
pub(super) fn turn(shape: &AttentionShape, head: &mut [f32], position: usize) {
    let frequencies = &shape.rotary.inverse_frequencies;
    let pairs = frequencies.len();
    for (pair, frequency) in frequencies.iter().enumerate() {
        let (first, second) = match shape.rotary.pairing {
            RotaryPairing::Halves => (pair, pair + pairs),
            RotaryPairing::Neighbours => (2 * pair, 2 * pair + 1),
        };
        let (sin, cos) = (position as f64 * f64::from(*frequency)).sin_cos();
        let (a, b) = (f64::from(head[first]), f64::from(head[second]));
        head[first] = (a * cos - b * sin) as f32;
        head[second] = (a * sin + b * cos) as f32;
    }
}

impl HeadProbe {
    pub fn new(inner: DenseAttention, shape: &AttentionShape) -> HeadProbe {
        HeadProbe {
            inner,
            shape: shape.clone(),
            keys: vec![Vec::new(); shape.layers],
            mass: None,
            rows: 0,
        }
    }

    /// Tokens held.
    pub fn tokens(&self) -> usize {
        self.inner.tokens()
    }

    /// Drops everything from position `tokens` on.
    pub fn rewind(&mut self, tokens: usize) {
        self.inner.rewind(tokens);
        let row = self.shape.kv_heads * self.shape.head_dim;
        self.keys
            .iter_mut()
            .for_each(|keys| keys.truncate(tokens * row));
    }

    /// From now on sums attention.
    pub fn record(&mut self) {
        self.mass = Some(vec![Vec::new(); self.shape.layers * self.shape.query_heads]);
        self.rows = 0;
    }

    /// The mean attention of a row to each position, by `layer * query_heads + head`; ends recording.
    pub fn take(&mut self) -> Vec<Vec<f32>> {
        let mut mass = self.mass.take().unwrap_or_default();
        let rows = self.rows.max(1) as f32;
        mass.iter_mut().flatten().for_each(|value| *value /= rows);
        mass
    }

    fn keep(&mut self, layer: usize, keys: &[f32], start: usize) {
        let mut keys = keys.to_vec();
        let dim = self.shape.head_dim;
        for (nth, head) in keys.chunks_exact_mut(dim).enumerate() {
            let kv_head = nth % self.shape.kv_heads;
            if let Some(bias) = &self.shape.key_bias[layer] {
                head.iter_mut()
                    .zip(&bias[kv_head * dim..])
                    .for_each(|(key, bias)| *key += bias);
            }
            turn(&self.shape, head, start + nth / self.shape.kv_heads);
        }
        self.keys[layer].extend(keys);
    }

    fn sum(&mut self, layer: usize, queries: &[f32], start: usize) {
        let Some(mut mass) = self.mass.take() else {
            return;
        };
        let mut queries = queries.to_vec();
        let (dim, heads, group) = (
            self.shape.head_dim,
            self.shape.query_heads,
            self.shape.group_size(),
        );
        let row = self.shape.kv_heads * dim;
        for (nth, query) in queries.chunks_exact_mut(dim).enumerate() {
            let (token, head) = (nth / heads, nth % heads);
            let position = start + token;
            turn(&self.shape, query, position);
            let kv_head = head / group;
            let scores = self.keys[layer]
                .chunks_exact(row)
                .take(position + 1)
                .map(|key| {
                    let key = &key[kv_head * dim..(kv_head + 1) * dim];
                    let dot: f32 = key.iter().zip(query.iter()).map(|(k, q)| k * q).sum();
                    dot * self.shape.softmax_scale
                });
            let mut weights: Vec<f32> = scores.collect();
            let largest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            weights
                .iter_mut()
                .for_each(|weight| *weight = (*weight - largest).exp());
            let sum: f32 = weights.iter().sum();
            let total = &mut mass[layer * heads + head];
            total.resize(total.len().max(position + 1), 0.0);
            total
                .iter_mut()
                .zip(&weights)
                .for_each(|(total, weight)| *total += weight / sum);
        }
        if layer == 0 {
            self.rows += queries.len() / (heads * dim);
        }
        self.mass = Some(mass);
    }
}

impl Attention for HeadProbe {
    fn attend(
        &mut self,
        layer: usize,
        projected: &Projected,
        attended: &mut Vec<f32>,
    ) -> Result<(), AttentionError> {
        // the inner attention counts a pass's tokens once its last layer is done
        let start = self.keys[layer].len() / (self.shape.kv_heads * self.shape.head_dim);
        self.keep(layer, &projected.keys, start);
        self.sum(layer, &projected.queries, start);
        self.inner.attend(layer, projected, attended)
    }
}
