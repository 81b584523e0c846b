//! Reading again what was damaged on disk, and nothing else.

use super::{CancelFlag, ReadingError, ReadingInput};
use crate::kv::{BLOCK_TOKENS, KvCache};
use lectern_models::{Logits, Model};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

/// In the folder of a cache: what is computed again of one that was thinned, while it is.
const ANEW: &str = "anew";

/// Finds what of a cache is damaged and computes it again, pass by pass, from what stands before. Returns the tokens
/// that were computed; 0 if nothing was damaged.
///
/// A pass over the same tokens computes the same bytes whenever it is done, so what stands behind it stays true, and the
/// checksums in the blocks' headers say whether they are the same. Where they are not (the processor where a GPU had read,
/// other kernels) the cache is cut there, and the rest is read again by [`read`](super::read).
///
/// Cost: a checksum over the whole cache, and the model's forward pass for every damaged pass; where heads have lost tokens of what
/// stands before, for that too, back to the beginning of the segment.
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
        let tokens = first..cache.tokens().min(end * BLOCK_TOKENS);
        let stands_on_less = input.before(&cache.view(), first).is_thinned();
        let is_mended = match stands_on_less {
            true => {
                let anew = Anew::read(model, input, cache, &ids, begin..end, cancel)?;
                computed += tokens.end - input.run_begins(first);
                let computed = anew.cache.view();
                cache.mend_from(begin, end - begin, &computed)?
            }
            false => {
                let mut attention = input.attention_at(model, cache, first, cancel)?;
                computed += tokens.len();
                model.forward(&ids[tokens], &mut attention, Logits::None)?;
                cache.mend(begin, &attention.into_open_blocks())?
            }
        };
        if !is_mended {
            tracing::warn!(
                "{}: tokens from {first} on come out otherwise than they were sealed",
                cache.folder().display()
            );
            // What goes on there has to see all that stood before.
            let begin = input.goes_on_at(&cache.view(), first);
            cache.cut(begin)?;
            break;
        }
    }
    Ok(computed)
}

/// A cache beside another, with its opening and what was computed again behind that; removed when it is dropped.
struct Anew {
    // Closed before its folder is removed.
    cache: KvCache,
    _folder: Removed,
}

/// A folder that is removed when this is dropped.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // Whoever needs it next removes it first.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Anew {
    /// Reads the run that these blocks of a pass end, all passes of it from its beginning on.
    fn read(
        model: &Model,
        input: &ReadingInput,
        cache: &KvCache,
        ids: &[u32],
        pass: Range<usize>,
        cancel: &CancelFlag,
    ) -> Result<Anew, ReadingError> {
        let folder = Removed(cache.folder().join(ANEW));
        // Of a mending that was cut short.
        let _ = std::fs::remove_dir_all(&folder.0);
        let mut begin = input.run_begins(pass.start * BLOCK_TOKENS) / BLOCK_TOKENS;
        let opening = match begin {
            0 => 0,
            _ => input.opening() / BLOCK_TOKENS,
        };
        let anew = cache.beside(&folder.0, opening)?;
        let view = cache.view();
        let mut attention = input.attention_over(model, &anew, anew.view(), cancel)?;
        while begin < pass.end {
            let end = view.pass(begin).end;
            let last = ids.len().min(end * BLOCK_TOKENS);
            let tokens = &ids[begin * BLOCK_TOKENS..last];
            model.forward(tokens, &mut attention, Logits::None)?;
            attention.seal(&anew, tokens)?;
            begin = end;
        }
        Ok(Anew {
            cache: anew,
            _folder: folder,
        })
    }
}
