//! Reading again what was damaged on disk, and nothing else.

use super::{CancelFlag, ReadingError, ReadingInput};
use crate::attention::DenseAttention;
use crate::kv::{BLOCK_TOKENS, KvCache};
use lectern_models::{Logits, Model};
use std::collections::BTreeSet;

/// Finds what of a cache is damaged and computes it again, chunk by chunk, from what stands before. Returns the tokens
/// that were computed; 0 if nothing was damaged.
///
/// A chunk computes the same bytes whenever it is read, so what stands behind it stays true, and the checksums in the
/// blocks' headers say whether they are the same. Where they are not (another processor, other kernels) the cache is
/// cut there, and the rest is read again by [`read`](super::read).
///
/// Cost: a checksum over the whole cache, and the model's forward pass for every damaged chunk.
///
/// # Errors
/// As [`read`](super::read).
pub fn mend(
    model: &Model,
    input: &ReadingInput,
    cache: &KvCache,
    cancel: &CancelFlag,
) -> Result<usize, ReadingError> {
    let ids = input.ids();
    let blocks = cache.view().damaged();
    let chunks: BTreeSet<usize> = blocks
        .iter()
        .map(|block| input.chunk(block * BLOCK_TOKENS).start)
        .collect();
    let mut computed = 0;
    for first in chunks {
        let chunk = &ids[first..cache.tokens().min(input.chunk(first).end)];
        let before = input.before(&cache.view(), first);
        let mut attention = DenseAttention::over_view(before, model.shape(), cancel.clone())?;
        model.forward(chunk, &mut attention, Logits::None)?;
        let blocks = attention.into_open_blocks();
        computed += chunk.len();
        if !cache.mend(first / BLOCK_TOKENS, &blocks)? {
            tracing::warn!(
                "{}: tokens from {first} on come out otherwise than they were sealed",
                cache.folder().display()
            );
            cache.cut(first)?;
            break;
        }
    }
    Ok(computed)
}
