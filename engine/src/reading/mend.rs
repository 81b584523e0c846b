//! Reading again what was damaged on disk, and nothing else.

use super::{CancelFlag, ReadingError, ReadingInput};
use crate::kv::{BLOCK_TOKENS, KvCache};
use lectern_models::{Logits, Model};
use std::collections::BTreeMap;

/// Finds what of a cache is damaged and computes it again, pass by pass, from what stands before. Returns the tokens
/// that were computed; 0 if nothing was damaged.
///
/// A pass over the same tokens computes the same bytes whenever it is done, so what stands behind it stays true, and the
/// checksums in the blocks' headers say whether they are the same. Where they are not (the processor where a GPU had read,
/// other kernels) the cache is cut there, and the rest is read again by [`read`](super::read).
///
/// Cost: a checksum over the whole cache, and the model's forward pass for every damaged pass.
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
    let passes: BTreeMap<usize, usize> = {
        let view = cache.view();
        let damaged = view.damaged();
        let passes = damaged.into_iter().map(|block| view.pass(block));
        passes.map(|pass| (pass.start, pass.end)).collect()
    };
    let mut computed = 0;
    for (begin, end) in passes {
        let first = begin * BLOCK_TOKENS;
        let tokens = &ids[first..cache.tokens().min(end * BLOCK_TOKENS)];
        let mut attention = input.attention_at(model, cache, first, cancel)?;
        model.forward(tokens, &mut attention, Logits::None)?;
        let blocks = attention.into_open_blocks();
        computed += tokens.len();
        if !cache.mend(begin, &blocks)? {
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
