//! The blocks on this processor, with packed weights.

use crate::attention::Projected;
use crate::backend::{Backend, BackendError, BackendPass, Work};
use crate::block::{DecoderWeights, Sizes};
use crate::error::ForwardError;
use crate::matrix::{Matrix, multiply};
use crate::packed::{Quantized, rms_norm, swiglu};
use crate::spare::Spare;

/// Packed weights and what multiplies with them.
pub(crate) struct Cpu {
    weights: DecoderWeights<Matrix>,
    spare: Spare<Buffers>,
}

impl Cpu {
    pub(crate) fn new(weights: DecoderWeights<Matrix>) -> Self {
        Self {
            weights,
            spare: Spare::default(),
        }
    }
}

impl Backend for Cpu {
    fn run(&self, hidden: &mut [f32], work: &mut Work<'_>) -> Result<(), ForwardError> {
        let tokens = hidden.len() / self.weights.sizes.width;
        self.spare.with(tokens, |buffers| {
            work(&mut Pass {
                weights: &self.weights,
                hidden,
                tokens,
                buffers,
            })
        })
    }
}

struct Pass<'a> {
    weights: &'a DecoderWeights<Matrix>,
    /// `[rows, width]`, of all tokens or of the last.
    hidden: &'a mut [f32],
    tokens: usize,
    buffers: &'a mut Buffers,
}

/// Memory for what a block computes, used again by the next one and the next pass.
#[derive(Default)]
struct Buffers {
    projected: Projected,
    rounded: Quantized,
    /// `[rows, width]`.
    normed: Vec<f32>,
    /// What is added to the hidden state: `[rows, width]`.
    sum: Vec<f32>,
    /// `[rows, feed_forward]`.
    gate: Vec<f32>,
    /// `[rows, feed_forward]`.
    up: Vec<f32>,
}

impl BackendPass for Pass<'_> {
    fn project(&mut self, layer: usize) -> Result<(), BackendError> {
        let (block, sizes) = (&self.weights.blocks[layer], self.weights.sizes);
        self.buffers.norm(self.hidden, &block.attention_norm, sizes);
        let Projected {
            tokens,
            queries,
            keys,
            values,
        } = &mut self.buffers.projected;
        *tokens = self.tokens;
        multiply(
            &self.buffers.normed,
            sizes.width,
            [&block.query, &block.key, &block.value],
            [&mut *queries, &mut *keys, &mut *values],
            &mut self.buffers.rounded,
        )?;
        if let Some(bias) = &block.query_bias {
            add_to_rows(queries, bias);
        }
        if let Some(bias) = &block.value_bias {
            add_to_rows(values, bias);
        }
        if let Some(norm) = &block.query_norm {
            rms_norm(queries, norm, sizes.norm_epsilon);
        }
        if let Some(norm) = &block.key_norm {
            rms_norm(keys, norm, sizes.norm_epsilon);
        }
        Ok(())
    }

    fn projected(&mut self) -> Result<&Projected, BackendError> {
        Ok(&self.buffers.projected)
    }

    fn keep_last(&mut self) {
        let hidden = std::mem::take(&mut self.hidden);
        self.hidden = &mut hidden[(self.tokens - 1) * self.weights.sizes.width..];
    }

    fn finish(
        &mut self,
        layer: usize,
        attended: Option<&[f32]>,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), BackendError> {
        let go_on = || match is_cancelled() {
            true => Err(BackendError::Cancelled),
            false => Ok(()),
        };
        let (block, sizes) = (&self.weights.blocks[layer], self.weights.sizes);
        let (hidden, buffers) = (&mut *self.hidden, &mut *self.buffers);
        multiply(
            // It names no place, so it is given everything.
            attended.unwrap_or_default(),
            sizes.query_heads * sizes.head_dim,
            [&block.attention_output],
            [&mut buffers.sum],
            &mut buffers.rounded,
        )?;
        add(hidden, &buffers.sum);
        go_on()?;
        buffers.norm(hidden, &block.feed_forward_norm, sizes);
        multiply(
            &buffers.normed,
            sizes.width,
            [&block.gate, &block.up],
            [&mut buffers.gate, &mut buffers.up],
            &mut buffers.rounded,
        )?;
        go_on()?;
        swiglu(&mut buffers.gate, &buffers.up);
        multiply(
            &buffers.gate,
            sizes.feed_forward,
            [&block.down],
            [&mut buffers.sum],
            &mut buffers.rounded,
        )?;
        add(hidden, &buffers.sum);
        Ok(())
    }

    fn logits(&mut self, logits: &mut Vec<f32>) -> Result<(), BackendError> {
        let sizes = self.weights.sizes;
        rms_norm(self.hidden, &self.weights.norm, sizes.norm_epsilon);
        let head = [&self.weights.head];
        let rounded = &mut self.buffers.rounded;
        multiply(self.hidden, sizes.width, head, [logits], rounded)?;
        Ok(())
    }
}

impl Buffers {
    fn norm(&mut self, hidden: &[f32], weights: &[f32], sizes: Sizes) {
        self.normed.clear();
        self.normed.extend_from_slice(hidden);
        rms_norm(&mut self.normed, weights, sizes.norm_epsilon);
    }
}

fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

/// Adds the same to every row.
fn add_to_rows(rows: &mut [f32], values: &[f32]) {
    for row in rows.chunks_exact_mut(values.len()) {
        add(row, values);
    }
}
