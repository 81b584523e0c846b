//! The decoder: residual blocks of attention and a gated feed-forward part, with RMS norms before each.
//!
//! In: token ids and whoever owns the cache. Out: logits, for no position, the last or all of them. Everything is
//! computed for a chunk of tokens at once, in F32 activations over quantized weights.
//!
//! Work that nobody sees is left out: the head is multiplied only for the rows that are asked for, and when only the
//! last row is asked for, or none, the last block stops after its keys and values (they are what the cache needs)
//! and goes on with that row alone.

use candle_core::{Device, Tensor};
use candle_nn::ops;

use crate::architecture::{Architecture, Hyperparameters};
use crate::attention::Attention;
use crate::error::{ForwardError, ModelError};
use crate::gguf::Gguf;
use crate::matrix::Matrix;
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
    norm: Tensor,
    head: Matrix,
    vocabulary: usize,
}

struct Block {
    attention_norm: Tensor,
    query: Matrix,
    query_bias: Option<Tensor>,
    query_norm: Option<Tensor>,
    key: Matrix,
    key_norm: Option<Tensor>,
    value: Matrix,
    value_bias: Option<Tensor>,
    attention_output: Matrix,
    feed_forward_norm: Tensor,
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
            weights.head("output.weight", vocabulary, width)?
        } else {
            weights.head("token_embd.weight", vocabulary, width)?
        };
        let norm = weights.vector("output_norm.weight", width)?;
        scale_frequencies(file, &mut parameters, &mut weights)?;
        let mut blocks = Vec::new();
        for layer in 0..parameters.shape.layers {
            let (block, key_bias) = Block::load(file, &mut weights, &parameters, layer)?;
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
        let mut hidden = self.embedding.forward(tokens)?;
        for (layer, block) in self.blocks.iter().enumerate() {
            let attended = block.attend(layer, &hidden, attention, &self.parameters)?;
            let last_block = layer + 1 == self.blocks.len();
            hidden = match logits {
                Logits::None if last_block => return Ok(None),
                Logits::Last if last_block => {
                    let last = tokens.len() - 1;
                    let (hidden, attended) =
                        (hidden.narrow(0, last, 1)?, attended.narrow(0, last, 1)?);
                    block.finish(&hidden.contiguous()?, &attended.contiguous()?, epsilon)?
                }
                _ => block.finish(&hidden, &attended, epsilon)?,
            };
        }
        let hidden = ops::rms_norm(&hidden, &self.norm, epsilon)?;
        Ok(Some(self.head.forward(&hidden)?))
    }
}

impl Block {
    fn load(
        file: &Gguf,
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
        let key_bias = key_bias.map(|bias| bias.to_vec1::<f32>()).transpose();
        let key_bias = key_bias.map_err(|source| ModelError::Tensor {
            path: file.path().to_owned(),
            source,
        })?;
        Ok((block, key_bias))
    }

    /// The norm, the projections and the attention: `[tokens, width]` to `[tokens, query_heads * head_dim]`.
    fn attend(
        &self,
        layer: usize,
        hidden: &Tensor,
        attention: &mut dyn Attention,
        parameters: &Hyperparameters,
    ) -> Result<Tensor, ForwardError> {
        let shape = &parameters.shape;
        let epsilon = parameters.norm_epsilon;
        let tokens = hidden.dim(0)?;
        let normed = ops::rms_norm(hidden, &self.attention_norm, epsilon)?;
        let heads = |projected: Tensor, bias: Option<&Tensor>, norm: Option<&Tensor>, heads| {
            let projected = match bias {
                Some(bias) => projected.broadcast_add(bias)?,
                None => projected,
            };
            let by_head = projected.reshape((tokens, heads, shape.head_dim))?;
            match norm {
                Some(norm) => ops::rms_norm(&by_head, norm, epsilon),
                None => Ok(by_head),
            }
        };
        let queries = heads(
            self.query.forward(&normed)?,
            self.query_bias.as_ref(),
            self.query_norm.as_ref(),
            shape.query_heads,
        )?;
        let keys = heads(
            self.key.forward(&normed)?,
            None,
            self.key_norm.as_ref(),
            shape.kv_heads,
        )?;
        let values = heads(
            self.value.forward(&normed)?,
            self.value_bias.as_ref(),
            None,
            shape.kv_heads,
        )?;
        Ok(attention.attend(layer, &queries, &keys, &values)?)
    }

    /// The rest of the block after the attention, for as many rows as are given: `[rows, width]`.
    fn finish(
        &self,
        hidden: &Tensor,
        attended: &Tensor,
        epsilon: f32,
    ) -> candle_core::Result<Tensor> {
        let hidden = (hidden + self.attention_output.forward(attended)?)?;
        let normed = ops::rms_norm(&hidden, &self.feed_forward_norm, epsilon)?;
        let gate = self.gate.forward(&normed)?.silu()?;
        let inner = (gate * self.up.forward(&normed)?)?;
        hidden + self.down.forward(&inner)?
    }
}

/// Llama 3.1's frequency factors, one for each pair of channels, where the file has them.
fn scale_frequencies(
    file: &Gguf,
    parameters: &mut Hyperparameters,
    weights: &mut Weights,
) -> Result<(), ModelError> {
    let frequencies = &mut parameters.shape.rotary.inverse_frequencies;
    let Some(factors) = weights.optional_vector("rope_freqs.weight", frequencies.len())? else {
        return Ok(());
    };
    let factors = factors
        .to_device(&Device::Cpu)
        .and_then(|factors| factors.to_vec1::<f32>())
        .map_err(|source| ModelError::Tensor {
            path: file.path().to_owned(),
            source,
        })?;
    for (frequency, factor) in frequencies.iter_mut().zip(factors) {
        *frequency /= factor;
    }
    Ok(())
}
