//! Which tokens of a cache each head keeps: what eviction decides, and what a thinned cache is written by.

use super::{BLOCK_TOKENS, KvShape};

/// For each block, layer and key/value head, which of the 64 tokens it keeps. Their positions stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    layers: usize,
    kv_heads: usize,
    /// `[block][layer][kv_head]`, a bit a token, the first token lowest.
    masks: Vec<u64>,
}

impl Kept {
    /// Everything of so many blocks.
    pub fn everything(shape: &KvShape, blocks: usize) -> Kept {
        Kept {
            layers: shape.layers,
            kv_heads: shape.kv_heads,
            masks: vec![u64::MAX; blocks * shape.layers * shape.kv_heads],
        }
    }

    /// Takes a token from a head; of a token beyond the blocks nothing is taken.
    pub fn evict(&mut self, layer: usize, kv_head: usize, token: usize) {
        let head = layer * self.kv_heads + kv_head;
        let at = token / BLOCK_TOKENS * self.layers * self.kv_heads + head;
        if let Some(mask) = self.masks.get_mut(at) {
            *mask &= !(1 << (token % BLOCK_TOKENS));
        }
    }

    /// What the heads of a block keep, `[layer][kv_head]`; `None` of a block that is not known.
    pub fn of_block(&self, block: usize) -> Option<&[u64]> {
        self.masks
            .chunks_exact(self.layers * self.kv_heads)
            .nth(block)
    }

    /// Share of the blocks' tokens that heads keep, over all heads.
    pub fn share(&self) -> f64 {
        share(self.masks.iter())
    }

    /// The same of one head.
    pub fn share_of(&self, layer: usize, kv_head: usize) -> f64 {
        let head = layer * self.kv_heads + kv_head;
        share(
            self.masks
                .iter()
                .skip(head)
                .step_by(self.layers * self.kv_heads),
        )
    }
}

fn share<'m>(masks: impl Iterator<Item = &'m u64>) -> f64 {
    let (mut tokens, mut heads) = (0, 0);
    for mask in masks {
        tokens += u64::from(mask.count_ones());
        heads += 1;
    }
    tokens as f64 / (heads * BLOCK_TOKENS).max(1) as f64
}
