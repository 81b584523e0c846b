//! The seam between a model and whoever owns its key/value cache.
//!
//! A model never owns its cache (DESIGN, decision 4). Its forward pass projects a chunk of tokens to queries, keys
//! and values and hands them, **before rotation and with the key projection's bias left out**, to an [`Attention`].
//! The implementation decides where keys live, which of them are looked at, and at which positions they are
//! rotated. Dense, sparse, compressed, disk-backed and GPU attention all plug in here and nowhere else.
//!
//! Why un-rotated: positions stay a choice made at reading time (dual chunk attention, re-positioned passages).
//! Why without the bias: on Qwen2.5 the bias of layer 0 has norm 393 to 1,237 against a median of about 12, which
//! ruins any format with one scale for a whole token; added back when the key is read it costs nothing.

use std::any::Any;

/// How a head's channels are paired for rotary position embedding (Su et al. 2021, arXiv 2104.09864).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotaryPairing {
    /// Channel `i` turns with channel `i + dimensions / 2` (GPT-NeoX; Qwen2).
    Halves,
    /// Channel `2i` turns with channel `2i + 1` (the layout to which GGUF permutes `llama` weights).
    Neighbours,
}

/// Rotary position embedding of a model: everything needed to turn a key or a query to a position.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotary {
    /// Which channels form a pair.
    pub pairing: RotaryPairing,
    /// Angle per position of each pair, in radians; `dimensions / 2` entries. Frequency scaling that the GGUF
    /// asks for (linear, `rope_freqs` factors) is already folded in.
    pub inverse_frequencies: Vec<f32>,
}

impl Rotary {
    /// Channels of a head that are rotated; the rest pass through.
    pub fn dimensions(&self) -> usize {
        self.inverse_frequencies.len() * 2
    }
}

/// What an [`Attention`] must know of a model before the first token.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionShape {
    /// Transformer blocks; `layer` runs from 0 to `layers - 1`.
    pub layers: usize,
    /// Query heads of a layer.
    pub query_heads: usize,
    /// Key/value heads of a layer; divides `query_heads`.
    pub kv_heads: usize,
    /// Channels of one head.
    pub head_dim: usize,
    /// Factor on `q . k` before the softmax, normally `1 / sqrt(head_dim)`.
    pub softmax_scale: f32,
    /// Position embedding.
    pub rotary: Rotary,
    /// For each layer the key projection's bias, `kv_heads * head_dim` values, to be added to a key before it is
    /// rotated; `None` where the model has none.
    pub key_bias: Vec<Option<Vec<f32>>>,
}

impl AttentionShape {
    /// Query heads that share one key/value head.
    pub fn group_size(&self) -> usize {
        self.query_heads / self.kv_heads
    }
}

/// Why an [`Attention`] gave no result.
#[derive(Debug, thiserror::Error)]
pub enum AttentionError {
    /// The person, or a job with a higher priority, asked to stop; nothing of this chunk was kept.
    #[error("stopped before the chunk was finished")]
    Cancelled,
    /// The key/value store failed (disk full, damaged block, ...).
    #[error("the key/value cache failed: {0}")]
    Cache(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Attention was computed elsewhere, which failed in the middle of a pass: the pass can be repeated, here from now on.
    #[error("attention left the place where it was computed")]
    Left,
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// What attention is given of a chunk of tokens: with biases, but for the keys', and neither rotated nor scaled.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Projected {
    /// Tokens of the chunk.
    pub tokens: usize,
    /// `[tokens, query_heads, head_dim]`.
    pub queries: Vec<f32>,
    /// `[tokens, kv_heads, head_dim]`.
    pub keys: Vec<f32>,
    /// `[tokens, kv_heads, head_dim]`.
    pub values: Vec<f32>,
}

/// Grouped-query attention over a cache that the implementation owns.
///
/// A forward pass calls [`attend`](Attention::attend) once a layer, in order, always with the same tokens. The new
/// keys and values belong to the positions after everything the cache holds; they become part of it when the last
/// layer has been attended (an implementation must leave its cache as it was if a pass is abandoned half-way).
///
/// A pass runs on one of the threads that compute, whichever thread asked for it.
pub trait Attention: Send {
    /// Appends this chunk's keys and values for `layer` and attends to them and to all the cache holds, causally.
    ///
    /// The result, `[tokens, query_heads * head_dim]`, takes the place of whatever `attended` holds. Why it is not
    /// returned: what memory it has is used again, layer after layer and token after token.
    fn attend(
        &mut self,
        layer: usize,
        projected: &Projected,
        attended: &mut Vec<f32>,
    ) -> Result<(), AttentionError>;

    /// As [`attend`](Attention::attend), where queries, keys and values of `tokens` tokens lie in a place that both the
    /// model's [`Backend`](crate::backend::Backend) and the implementation know, and what is attended is wanted there.
    /// `false` if it was not done: then they are brought here.
    fn attend_at(
        &mut self,
        layer: usize,
        tokens: usize,
        place: &dyn Any,
    ) -> Result<bool, AttentionError> {
        let _ = (layer, tokens, place);
        Ok(false)
    }

    /// Takes back a pass of `tokens` tokens that was attended whole, since what comes after the last attention failed and the
    /// pass is to be repeated. `false` if it cannot.
    fn take_back(&mut self, tokens: usize) -> bool {
        let _ = tokens;
        false
    }

    /// Whether the pass is to stop. The forward pass looks between the products of a layer, which for many tokens and
    /// a large model each take some tens of milliseconds, and gives up with [`AttentionError::Cancelled`].
    fn is_cancelled(&self) -> bool {
        false
    }
}
