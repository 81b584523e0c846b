//! Tokens behind the sealed ones, in memory: a chunk being read, or a question and its answer.

use crate::kv::{BLOCK_TOKENS, KvError, KvShape, KvView, OpenBlock};
#[cfg(feature = "cuda")]
use rayon::prelude::*;

/// Open blocks that continue a view at the same multiples of 64 positions.
#[derive(Debug)]
pub(super) struct Tail {
    shape: KvShape,
    /// Index of the first block that is here and not (or not only) in the view.
    first_block: usize,
    blocks: Vec<OpenBlock>,
    /// Position after the last token.
    end: usize,
}

impl Tail {
    /// An empty tail behind `view`; starts with a copy of the view's last block if that is not full.
    pub(super) fn after(view: &KvView) -> Result<Tail, KvError> {
        Ok(Tail {
            shape: *view.shape(),
            first_block: view.tokens() / BLOCK_TOKENS,
            blocks: view.reopen_last()?.into_iter().collect(),
            end: view.tokens(),
        })
    }

    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Blocks below this index are read from the view.
    pub(super) fn first_block(&self) -> usize {
        self.first_block
    }

    /// The block of that index, counted from the start of the cache.
    pub(super) fn block(&self, index: usize) -> &OpenBlock {
        &self.blocks[index - self.first_block]
    }

    pub(super) fn blocks(&self) -> &[OpenBlock] {
        &self.blocks
    }

    pub(super) fn into_blocks(self) -> Vec<OpenBlock> {
        self.blocks
    }

    /// Makes room for tokens up to position `end`; they count only once [`Tail::set_end`] says so.
    pub(super) fn reserve(&mut self, end: usize) {
        let needed = end.div_ceil(BLOCK_TOKENS).saturating_sub(self.first_block);
        while self.blocks.len() < needed {
            self.blocks.push(OpenBlock::new(self.shape));
        }
    }

    /// Writes one layer's keys and values, each `[tokens][kv_heads][head_dim]`, behind the end.
    pub(super) fn put(&mut self, layer: usize, keys: &[f32], values: &[f32]) {
        let row = self.shape.kv_heads * self.shape.head_dim;
        let rows = keys.chunks_exact(row).zip(values.chunks_exact(row));
        for (position, (keys, values)) in (self.end..).zip(rows) {
            let block = position / BLOCK_TOKENS - self.first_block;
            self.blocks[block].put(layer, position % BLOCK_TOKENS, keys, values);
        }
    }

    /// Writes keys, then values, of the layers from `first` on behind the end, as [`Tail::put`] does those of one: `numbers` of each
    /// a layer.
    #[cfg(feature = "cuda")]
    pub(super) fn put_layers(&mut self, first: usize, layers: &[f32], numbers: usize) {
        let row = self.shape.kv_heads * self.shape.head_dim;
        let (end, first_block) = (self.end, self.first_block);
        let last = end + numbers / row;
        self.blocks
            .par_iter_mut()
            .enumerate()
            .for_each(|(nth, block)| {
                let first_of_block = (first_block + nth) * BLOCK_TOKENS;
                let positions = end.max(first_of_block)..last.min(first_of_block + BLOCK_TOKENS);
                for position in positions {
                    let at = (position - end) * row;
                    for (layer, of_layer) in (first..).zip(layers.chunks_exact(2 * numbers)) {
                        let (keys, values) = of_layer.split_at(numbers);
                        let slot = position % BLOCK_TOKENS;
                        block.put(layer, slot, &keys[at..at + row], &values[at..at + row]);
                    }
                }
            });
    }

    /// Moves the end forward over tokens that were put, or back.
    pub(super) fn set_end(&mut self, end: usize) {
        self.end = end;
        let needed = end.div_ceil(BLOCK_TOKENS).saturating_sub(self.first_block);
        self.blocks.truncate(needed);
    }
}
