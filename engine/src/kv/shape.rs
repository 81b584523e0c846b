//! The numbers that fix how large a block is.

use super::BLOCK_TOKENS;
use lectern_models::attention::AttentionShape;
use serde::{Deserialize, Serialize};

/// What of a model decides the size of its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvShape {
    /// Transformer blocks.
    pub layers: usize,
    /// Key/value heads of a layer.
    pub kv_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
}

impl KvShape {
    /// Values of one head's keys in a block: `64 * head_dim`.
    pub fn head_values(&self) -> usize {
        BLOCK_TOKENS * self.head_dim
    }

    /// Values of one layer's keys (or values) in a block: `kv_heads * 64 * head_dim`.
    pub fn layer_values(&self) -> usize {
        self.kv_heads * self.head_values()
    }
}

impl From<&AttentionShape> for KvShape {
    fn from(shape: &AttentionShape) -> KvShape {
        KvShape {
            layers: shape.layers,
            kv_heads: shape.kv_heads,
            head_dim: shape.head_dim,
        }
    }
}
