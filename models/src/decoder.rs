//! The decoder: residual blocks of attention and a gated feed-forward part, with RMS norms before each.
//!
//! In: token ids and whoever owns the cache. Out: logits, for no position, the last or all of them. Everything is
//! computed for a chunk of tokens at once, in F32 activations over quantized weights.
//!
//! Work that nobody sees is left out: the head is multiplied only for the rows that are asked for, and when only the
//! last row is asked for, or none, the last block stops after its keys and values (they are what the cache needs)
//! and goes on with that row alone.

use candle_core::{Device, Tensor};

use crate::architecture::{Architecture, Hyperparameters};
use crate::attention::{Attention, AttentionError};
use crate::error::{ForwardError, ModelError};
use crate::gguf::Gguf;
use crate::matrix::{Input, Matrix};
use crate::packed::{rms_norm, swiglu};
use crate::weights::{Embedding, Weights};

/// For which positions of a chunk the logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    /// For none: a document is being read.
    None,
    /// For the last: a token is to be chosen.
    Last,
    /// For all: a text is being scored.
    All,
}

/// Weights of a decoder.
pub(crate) struct Decoder {
    parameters: Hyperparameters,
    embedding: Embedding,
    blocks: Vec<Block>,
    norm: Vec<f32>,
    head: Matrix,
    vocabulary: usize,
}

struct Block {
    attention_norm: Vec<f32>,
    query: Matrix,
    query_bias: Option<Vec<f32>>,
    query_norm: Option<Vec<f32>>,
    key: Matrix,
    key_norm: Option<Vec<f32>>,
    value: Matrix,
    value_bias: Option<Vec<f32>>,
    attention_output: Matrix,
    feed_forward_norm: Vec<f32>,
    gate: Matrix,
    up: Matrix,
    down: Matrix,
}

impl Decoder {
    pub(crate) fn load(file: &Gguf) -> Result<Self, ModelError> {
        let mut parameters = Hyperparameters::of(file)?;
        let mut weights = Weights::of(file);
        let width = parameters.width;
        let embedding = weights.embedding("token_embd.weight", width)?;
        let vocabulary = weights.rows("token_embd.weight")?;
        // Tied: the head is the embedding table.
        let head = if weights.has("output.weight") {
            weights.matrix("output.weight", vocabulary, width)?
        } else {
            weights.matrix("token_embd.weight", vocabulary, width)?
        };
        let norm = weights.vector("output_norm.weight", width)?;
        scale_frequencies(&mut parameters, &mut weights)?;
        let mut blocks = Vec::new();
        for layer in 0..parameters.shape.layers {
            let (block, key_bias) = Block::load(&mut weights, &parameters, layer)?;
            blocks.push(block);
            parameters.shape.key_bias.push(key_bias);
        }
        weights.finish()?;
        Ok(Self {
            parameters,
            embedding,
            blocks,
            norm,
            head,
            vocabulary,
        })
    }

    pub(crate) fn parameters(&self) -> &Hyperparameters {
        &self.parameters
    }

    /// Rows of the head: logits per position.
    pub(crate) fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    pub(crate) fn forward(
        &self,
        tokens: &[u32],
        attention: &mut dyn Attention,
        logits: Logits,
    ) -> Result<Option<Tensor>, ForwardError> {
        if tokens.is_empty() {
            return Err(ForwardError::NoTokens);
        }
        if let Some(&token) = tokens.iter().find(|&&t| t as usize >= self.vocabulary) {
            return Err(ForwardError::TokenOutOfRange {
                token,
                vocabulary: self.vocabulary,
            });
        }
        let epsilon = self.parameters.norm_epsilon;
        let width = self.parameters.width;
        let mut hidden = self.embedding.forward(tokens)?;
        let mut scratch = Scratch::default();
        for (layer, block) in self.blocks.iter().enumerate() {
            let mut attended =
                block.attend(layer, &hidden, attention, &self.parameters, &mut scratch)?;
            if layer + 1 == self.blocks.len() {
                match logits {
                    Logits::None => return Ok(None),
                    Logits::Last => {
                        keep_last(&mut hidden, tokens.len());
                        keep_last(&mut attended, tokens.len());
                    }
                    Logits::All => {}
                }
            }
            go_on(attention)?;
            block.finish(
                &mut hidden,
                &attended,
                attention,
                &self.parameters,
                &mut scratch,
            )?;
        }
        rms_norm(&mut hidden, &self.norm, epsilon);
        let rows = hidden.len() / width;
        let mut logits = Vec::new();
        Input::new(&hidden, width).times([&self.head], [&mut logits])?;
        let shape = (rows, self.vocabulary);
        Ok(Some(Tensor::from_vec(logits, shape, &Device::Cpu)?))
    }
}

impl Block {
    fn load(
        weights: &mut Weights,
        parameters: &Hyperparameters,
        layer: usize,
    ) -> Result<(Self, Option<Vec<f32>>), ModelError> {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let shape = &parameters.shape;
        let (width, inner) = (parameters.width, parameters.feed_forward);
        let queries = shape.query_heads * shape.head_dim;
        let keys = shape.kv_heads * shape.head_dim;
        let normalised_heads = parameters.architecture == Architecture::Qwen3;
        let head_norm = |weights: &mut Weights, part: &str| {
            if normalised_heads {
                weights.vector(&name(part), shape.head_dim).map(Some)
            } else {
                Ok(None)
            }
        };
        let block = Self {
            attention_norm: weights.vector(&name("attn_norm.weight"), width)?,
            query: weights.matrix(&name("attn_q.weight"), queries, width)?,
            query_bias: weights.optional_vector(&name("attn_q.bias"), queries)?,
            query_norm: head_norm(weights, "attn_q_norm.weight")?,
            key: weights.matrix(&name("attn_k.weight"), keys, width)?,
            key_norm: head_norm(weights, "attn_k_norm.weight")?,
            value: weights.matrix(&name("attn_v.weight"), keys, width)?,
            value_bias: weights.optional_vector(&name("attn_v.bias"), keys)?,
            attention_output: weights.matrix(&name("attn_output.weight"), width, queries)?,
            feed_forward_norm: weights.vector(&name("ffn_norm.weight"), width)?,
            gate: weights.matrix(&name("ffn_gate.weight"), inner, width)?,
            up: weights.matrix(&name("ffn_up.weight"), inner, width)?,
            down: weights.matrix(&name("ffn_down.weight"), width, inner)?,
        };
        let key_bias = weights.optional_vector(&name("attn_k.bias"), keys)?;
        Ok((block, key_bias))
    }

    /// The norm, the projections and the attention: `[tokens, width]` to `[tokens, query_heads * head_dim]`.
    fn attend(
        &self,
        layer: usize,
        hidden: &[f32],
        attention: &mut dyn Attention,
        parameters: &Hyperparameters,
        scratch: &mut Scratch,
    ) -> Result<Vec<f32>, ForwardError> {
        let shape = &parameters.shape;
        let tokens = hidden.len() / parameters.width;
        let normed = scratch.norm(hidden, &self.attention_norm, parameters);
        let (mut queries, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
        Input::new(normed, parameters.width).times(
            [&self.query, &self.key, &self.value],
            [&mut queries, &mut keys, &mut values],
        )?;
        if let Some(bias) = &self.query_bias {
            add_to_rows(&mut queries, bias);
        }
        if let Some(bias) = &self.value_bias {
            add_to_rows(&mut values, bias);
        }
        if let Some(norm) = &self.query_norm {
            rms_norm(&mut queries, norm, parameters.norm_epsilon);
        }
        if let Some(norm) = &self.key_norm {
            rms_norm(&mut keys, norm, parameters.norm_epsilon);
        }
        let by_head = |values: Vec<f32>, heads: usize| {
            Tensor::from_vec(values, (tokens, heads, shape.head_dim), &Device::Cpu)
        };
        let attended = attention.attend(
            layer,
            &by_head(queries, shape.query_heads)?,
            &by_head(keys, shape.kv_heads)?,
            &by_head(values, shape.kv_heads)?,
        )?;
        Ok(attended.flatten_all()?.to_vec1()?)
    }

    /// The rest of the block after the attention, for as many rows as are given: adds to `hidden`, `[rows, width]`.
    fn finish(
        &self,
        hidden: &mut [f32],
        attended: &[f32],
        attention: &dyn Attention,
        parameters: &Hyperparameters,
        scratch: &mut Scratch,
    ) -> Result<(), ForwardError> {
        let width = parameters.width;
        let columns = attended.len() / (hidden.len() / width);
        Input::new(attended, columns).times([&self.attention_output], [&mut scratch.sum])?;
        add(hidden, &scratch.sum);
        go_on(attention)?;
        scratch.norm(hidden, &self.feed_forward_norm, parameters);
        Input::new(&scratch.normed, width)
            .times([&self.gate, &self.up], [&mut scratch.gate, &mut scratch.up])?;
        go_on(attention)?;
        swiglu(&mut scratch.gate, &scratch.up);
        Input::new(&scratch.gate, parameters.feed_forward)
            .times([&self.down], [&mut scratch.sum])?;
        add(hidden, &scratch.sum);
        Ok(())
    }
}

/// An error if the pass is to stop.
fn go_on(attention: &dyn Attention) -> Result<(), AttentionError> {
    if attention.is_cancelled() {
        return Err(AttentionError::Cancelled);
    }
    Ok(())
}

/// Memory for what a block computes, used again by the next one.
#[derive(Default)]
struct Scratch {
    /// `[tokens, width]`.
    normed: Vec<f32>,
    /// What is added to the hidden state: `[tokens, width]`.
    sum: Vec<f32>,
    /// `[tokens, feed_forward]`.
    gate: Vec<f32>,
    /// `[tokens, feed_forward]`.
    up: Vec<f32>,
}

impl Scratch {
    fn norm(&mut self, hidden: &[f32], weights: &[f32], parameters: &Hyperparameters) -> &[f32] {
        self.normed.clear();
        self.normed.extend_from_slice(hidden);
        rms_norm(&mut self.normed, weights, parameters.norm_epsilon);
        &self.normed
    }
}

/// Leaves the last of `rows` rows.
fn keep_last(values: &mut Vec<f32>, rows: usize) {
    values.drain(..values.len() / rows * (rows - 1));
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

/// Llama 3.1's frequency factors, one for each pair of channels, where the file has them.
fn scale_frequencies(
    parameters: &mut Hyperparameters,
    weights: &mut Weights,
) -> Result<(), ModelError> {
    let frequencies = &mut parameters.shape.rotary.inverse_frequencies;
    let Some(factors) = weights.optional_vector("rope_freqs.weight", frequencies.len())? else {
        return Ok(());
    };
    for (frequency, factor) in frequencies.iter_mut().zip(factors) {
        *frequency /= factor;
    }
    Ok(())
}
