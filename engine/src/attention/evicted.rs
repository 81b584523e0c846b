//! Cached tokens that a head no longer has: what eviction leaves of a cache, before it is written smaller.

use crate::kv::{BLOCK_TOKENS, KvShape};

/// For each layer and key/value head, which tokens of the sealed blocks it still has. Their positions stay.
#[derive(Debug, Clone)]
pub struct Evicted {
    kv_heads: usize,
    blocks: usize,
    /// `[layer][kv_head][block]`, a bit a token, the first token lowest.
    kept: Vec<u64>,
}

impl Evicted {
    /// Nothing evicted of so many blocks.
    pub fn nothing(shape: &KvShape, blocks: usize) -> Evicted {
        Evicted {
            kv_heads: shape.kv_heads,
            blocks,
            kept: vec![u64::MAX; shape.layers * shape.kv_heads * blocks],
        }
    }

    /// Takes a token from a head; of a token beyond the blocks nothing is taken.
    pub fn evict(&mut self, layer: usize, kv_head: usize, token: usize) {
        let block = token / BLOCK_TOKENS;
        if block < self.blocks {
            let at = (layer * self.kv_heads + kv_head) * self.blocks + block;
            self.kept[at] &= !(1 << (token % BLOCK_TOKENS));
        }
    }

    /// The tokens of a block that a head has, a bit each; all of a block that is not known.
    pub(super) fn kept(&self, layer: usize, kv_head: usize, block: usize) -> u64 {
        let first = (layer * self.kv_heads + kv_head) * self.blocks;
        match block < self.blocks {
            true => self.kept[first + block],
            false => u64::MAX,
        }
    }

    /// Share of the blocks' tokens that heads have, over all heads.
    pub fn share_kept(&self) -> f64 {
        share(&self.kept)
    }

    /// The same of one head.
    pub fn share_of(&self, layer: usize, kv_head: usize) -> f64 {
        let first = (layer * self.kv_heads + kv_head) * self.blocks;
        share(&self.kept[first..first + self.blocks])
    }
}

fn share(kept: &[u64]) -> f64 {
    let tokens: u64 = kept.iter().map(|word| u64::from(word.count_ones())).sum();
    tokens as f64 / (kept.len() * BLOCK_TOKENS).max(1) as f64
}
