//! The weights of a decoder, by their places in it, whatever form their matrices have.
//!
//! In: a GGUF file. Out: [`DecoderWeights`], with matrices packed for this processor, or as the file has them for a
//! [`Backend`](crate::backend::Backend) that keeps them elsewhere.

use crate::architecture::{Architecture, Hyperparameters};
use crate::error::ModelError;
use crate::weights::Weights;

/// All that is multiplied, added and scaled with between embedding and logits; `M` is a matrix, `V` a vector.
#[derive(Debug)]
pub struct DecoderWeights<M, V = Vec<f32>> {
    /// Layer by layer.
    pub blocks: Vec<BlockWeights<M, V>>,
    /// Of the last norm.
    pub norm: V,
    /// `[vocabulary, width]`.
    pub head: M,
    /// Sizes that hold for all blocks.
    pub sizes: Sizes,
}

/// Sizes of a decoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizes {
    /// Channels of the residual stream.
    pub width: usize,
    /// Channels inside the feed-forward part.
    pub feed_forward: usize,
    /// Query heads of a layer.
    pub query_heads: usize,
    /// Key/value heads of a layer.
    pub kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Of the RMS norms.
    pub norm_epsilon: f32,
}

/// The weights of one block. Matrices are `[out, in]`.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct BlockWeights<M, V = Vec<f32>> {
    pub attention_norm: V,
    pub query: M,
    pub query_bias: Option<V>,
    /// Of each head (Qwen3).
    pub query_norm: Option<V>,
    pub key: M,
    /// Of each head (Qwen3).
    pub key_norm: Option<V>,
    pub value: M,
    pub value_bias: Option<V>,
    pub attention_output: M,
    pub feed_forward_norm: V,
    pub gate: M,
    pub up: M,
    pub down: M,
}

/// Takes a matrix of this name, rows and columns out of the file.
type TakeMatrix<'w, 'a, M> =
    dyn FnMut(&mut Weights<'a>, &str, usize, usize) -> Result<M, ModelError> + 'w;

impl<M> DecoderWeights<M> {
    /// Takes everything but the embedding; key biases go to `parameters`, since they are the attention's.
    pub(crate) fn take<'a>(
        weights: &mut Weights<'a>,
        parameters: &mut Hyperparameters,
        vocabulary: usize,
        matrix: &mut TakeMatrix<'_, 'a, M>,
    ) -> Result<Self, ModelError> {
        let width = parameters.width;
        // Tied: the head is the embedding table.
        let head = match weights.has("output.weight") {
            true => "output.weight",
            false => "token_embd.weight",
        };
        let head = matrix(weights, head, vocabulary, width)?;
        let norm = weights.vector("output_norm.weight", width)?;
        let mut blocks = Vec::new();
        parameters.shape.key_bias.clear();
        for layer in 0..parameters.shape.layers {
            let (block, key_bias) = BlockWeights::take(weights, parameters, layer, matrix)?;
            blocks.push(block);
            parameters.shape.key_bias.push(key_bias);
        }
        let shape = &parameters.shape;
        Ok(Self {
            blocks,
            norm,
            head,
            sizes: Sizes {
                width,
                feed_forward: parameters.feed_forward,
                query_heads: shape.query_heads,
                kv_heads: shape.kv_heads,
                head_dim: shape.head_dim,
                norm_epsilon: parameters.norm_epsilon,
            },
        })
    }
}

impl<M> BlockWeights<M> {
    fn take<'a>(
        weights: &mut Weights<'a>,
        parameters: &Hyperparameters,
        layer: usize,
        matrix: &mut TakeMatrix<'_, 'a, M>,
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
            query: matrix(weights, &name("attn_q.weight"), queries, width)?,
            query_bias: weights.optional_vector(&name("attn_q.bias"), queries)?,
            query_norm: head_norm(weights, "attn_q_norm.weight")?,
            key: matrix(weights, &name("attn_k.weight"), keys, width)?,
            key_norm: head_norm(weights, "attn_k_norm.weight")?,
            value: matrix(weights, &name("attn_v.weight"), keys, width)?,
            value_bias: weights.optional_vector(&name("attn_v.bias"), keys)?,
            attention_output: matrix(weights, &name("attn_output.weight"), width, queries)?,
            feed_forward_norm: weights.vector(&name("ffn_norm.weight"), width)?,
            gate: matrix(weights, &name("ffn_gate.weight"), inner, width)?,
            up: matrix(weights, &name("ffn_up.weight"), inner, width)?,
            down: matrix(weights, &name("ffn_down.weight"), width, inner)?,
        };
        let key_bias = weights.optional_vector(&name("attn_k.bias"), keys)?;
        Ok((block, key_bias))
    }
}

impl<M, V> DecoderWeights<M, V> {
    /// The same weights in another form.
    ///
    /// # Errors
    /// The first of `matrix` or `vector`.
    pub fn try_map<N, W, E>(
        &self,
        matrix: &mut impl FnMut(&M) -> Result<N, E>,
        vector: &mut impl FnMut(&V) -> Result<W, E>,
    ) -> Result<DecoderWeights<N, W>, E> {
        Ok(DecoderWeights {
            blocks: self
                .blocks
                .iter()
                .map(|block| block.try_map(matrix, vector))
                .collect::<Result<_, E>>()?,
            norm: vector(&self.norm)?,
            head: matrix(&self.head)?,
            sizes: self.sizes,
        })
    }
}

impl<M, V> BlockWeights<M, V> {
    /// Every matrix.
    pub fn matrices(&self) -> impl Iterator<Item = &M> {
        [
            &self.query,
            &self.key,
            &self.value,
            &self.attention_output,
            &self.gate,
            &self.up,
            &self.down,
        ]
        .into_iter()
    }

    /// The same weights in another form.
    ///
    /// # Errors
    /// The first of `matrix` or `vector`.
    pub fn try_map<N, W, E>(
        &self,
        matrix: &mut impl FnMut(&M) -> Result<N, E>,
        vector: &mut impl FnMut(&V) -> Result<W, E>,
    ) -> Result<BlockWeights<N, W>, E> {
        let mut optional = |values: &Option<V>| values.as_ref().map(&mut *vector).transpose();
        let (query_bias, value_bias) = (optional(&self.query_bias)?, optional(&self.value_bias)?);
        let (query_norm, key_norm) = (optional(&self.query_norm)?, optional(&self.key_norm)?);
        Ok(BlockWeights {
            attention_norm: vector(&self.attention_norm)?,
            query: matrix(&self.query)?,
            query_bias,
            query_norm,
            key: matrix(&self.key)?,
            key_norm,
            value: matrix(&self.value)?,
            value_bias,
            attention_output: matrix(&self.attention_output)?,
            feed_forward_norm: vector(&self.feed_forward_norm)?,
            gate: matrix(&self.gate)?,
            up: matrix(&self.up)?,
            down: matrix(&self.down)?,
        })
    }
}
