//! The blocks on this processor, with packed weights.

use crate::backend::{Backend, BackendError, BackendPass, Projected};
use crate::block::{DecoderWeights, Sizes};
use crate::matrix::{Input, Matrix};
use crate::packed::{rms_norm, swiglu};

/// Packed weights and what multiplies with them.
pub(crate) struct Cpu(pub(crate) DecoderWeights<Matrix>);

impl Backend for Cpu {
    fn begin<'a>(&'a self, hidden: Vec<f32>) -> Result<Box<dyn BackendPass + 'a>, BackendError> {
        Ok(Box::new(Pass {
            weights: &self.0,
            hidden,
            projected: Projected::default(),
            scratch: Scratch::default(),
        }))
    }
}

struct Pass<'a> {
    weights: &'a DecoderWeights<Matrix>,
    /// `[rows, width]`.
    hidden: Vec<f32>,
    projected: Projected,
    scratch: Scratch,
}

impl BackendPass for Pass<'_> {
    fn project(&mut self, layer: usize) -> Result<(), BackendError> {
        let (block, sizes) = (&self.weights.blocks[layer], self.weights.sizes);
        let normed = self
            .scratch
            .norm(&self.hidden, &block.attention_norm, sizes);
        let (mut queries, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
        Input::new(normed, sizes.width).times(
            [&block.query, &block.key, &block.value],
            [&mut queries, &mut keys, &mut values],
        )?;
        if let Some(bias) = &block.query_bias {
            add_to_rows(&mut queries, bias);
        }
        if let Some(bias) = &block.value_bias {
            add_to_rows(&mut values, bias);
        }
        if let Some(norm) = &block.query_norm {
            rms_norm(&mut queries, norm, sizes.norm_epsilon);
        }
        if let Some(norm) = &block.key_norm {
            rms_norm(&mut keys, norm, sizes.norm_epsilon);
        }
        self.projected = Projected {
            queries,
            keys,
            values,
        };
        Ok(())
    }

    fn projected(&mut self) -> Result<Projected, BackendError> {
        Ok(std::mem::take(&mut self.projected))
    }

    fn keep_last(&mut self) {
        let width = self.weights.sizes.width;
        self.hidden.drain(..self.hidden.len() - width);
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
        let (hidden, scratch) = (&mut self.hidden, &mut self.scratch);
        // It names no place, so it is given everything.
        Input::new(
            attended.unwrap_or_default(),
            sizes.query_heads * sizes.head_dim,
        )
        .times([&block.attention_output], [&mut scratch.sum])?;
        add(hidden, &scratch.sum);
        go_on()?;
        scratch.norm(hidden, &block.feed_forward_norm, sizes);
        Input::new(&scratch.normed, sizes.width).times(
            [&block.gate, &block.up],
            [&mut scratch.gate, &mut scratch.up],
        )?;
        go_on()?;
        swiglu(&mut scratch.gate, &scratch.up);
        Input::new(&scratch.gate, sizes.feed_forward).times([&block.down], [&mut scratch.sum])?;
        add(hidden, &scratch.sum);
        Ok(())
    }

    fn logits(&mut self) -> Result<Vec<f32>, BackendError> {
        let sizes = self.weights.sizes;
        rms_norm(&mut self.hidden, &self.weights.norm, sizes.norm_epsilon);
        let mut logits = Vec::new();
        Input::new(&self.hidden, sizes.width).times([&self.weights.head], [&mut logits])?;
        Ok(logits)
    }
}

/// Memory for what a block computes, used again by the next one.
#[derive(Default)]
struct Scratch {
    /// `[rows, width]`.
    normed: Vec<f32>,
    /// What is added to the hidden state: `[rows, width]`.
    sum: Vec<f32>,
    /// `[rows, feed_forward]`.
    gate: Vec<f32>,
    /// `[rows, feed_forward]`.
    up: Vec<f32>,
}

impl Scratch {
    fn norm(&mut self, hidden: &[f32], weights: &[f32], sizes: Sizes) -> &[f32] {
        self.normed.clear();
        self.normed.extend_from_slice(hidden);
        rms_norm(&mut self.normed, weights, sizes.norm_epsilon);
        &self.normed
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
