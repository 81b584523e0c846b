//! Taking over what another cache holds of the same tokens.
//!
//! Keys and values of a token depend on the tokens that it looks at and on nothing else. So when a document has changed, the
//! blocks before the first token that differs, and those of every segment that has not changed, are what reading the new text
//! would compute again, byte for byte; only their places and the identity in their headers are others.

use super::view::SealedBlock;
use super::{BLOCK_TOKENS, CacheIdentity, KvCache, KvError, KvView};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The segments of a cache of an earlier text, to be taken over one by one.
pub struct Donor {
    view: KvView,
    /// The blocks in which segments begin, by the tokens of that block.
    begins: HashMap<Vec<u32>, Vec<usize>>,
    /// Locked as long as this lives.
    _cache: KvCache,
}

impl Donor {
    /// Looks for the segments of `donor` that `cache` could take over, whose first `opening` tokens are to be these; `None` if
    /// there are none, as where the opening is another: every segment looked at it.
    ///
    /// # Errors
    /// [`KvError::OtherIdentity`] if the caches differ in more than the text.
    pub fn new(cache: &KvCache, donor: KvCache, opening: &[u32]) -> Result<Option<Donor>, KvError> {
        cache.check_donor(&donor)?;
        let view = donor.view();
        let mut begins: HashMap<Vec<u32>, Vec<usize>> = HashMap::new();
        if view.common_prefix(opening) == opening.len() {
            for (nth, block) in view.sealed().iter().enumerate() {
                if nth > 0 && block.header.looked_at_from as usize == nth {
                    let same = begins.entry(block.header.tokens.clone());
                    same.or_default().push(nth);
                }
            }
        }
        Ok((!begins.is_empty()).then_some(Donor {
            view,
            begins,
            _cache: donor,
        }))
    }

    /// The first of the blocks that hold a segment of these tokens.
    fn find(&self, tokens: &[u32]) -> Option<usize> {
        let first = tokens.get(..BLOCK_TOKENS.min(tokens.len()))?;
        let blocks = tokens.len().div_ceil(BLOCK_TOKENS);
        let holds = |begin: usize| {
            let run = self.view.sealed().get(begin..begin + blocks);
            run.is_some_and(|run| {
                let same = |(block, tokens): (&Arc<SealedBlock>, &[u32])| {
                    block.header.tokens == tokens && block.header.looked_at_from as usize == begin
                };
                run.iter().zip(tokens.chunks(BLOCK_TOKENS)).all(same)
            })
        };
        let begins = self.begins.get(first)?.iter();
        begins.copied().find(|&begin| holds(begin))
    }
}

impl KvCache {
    /// Takes over from `donor`, a cache of another text read by the same model behind the same prompt into the same
    /// format in the same way, the blocks whose tokens are the first of `tokens`, as far as reading can go on: `begin` gives for a position the one
    /// at or before it where it can, a multiple of 64.
    /// Returns how many tokens this cache holds then. What it held before is given up, unless that is as much.
    ///
    /// The blocks are checked against their checksums first, and are durable when this returns.
    ///
    /// # Errors
    /// [`KvError::OtherIdentity`] if the caches differ in more than the text; [`KvError::DiskFull`] and
    /// [`KvError::Io`] leave an empty cache.
    pub fn adopt(
        &self,
        donor: &KvCache,
        tokens: &[u32],
        begin: impl Fn(usize) -> usize,
    ) -> Result<usize, KvError> {
        self.check_donor(donor)?;
        let view = donor.view();
        let common = begin(view.common_prefix(tokens)) / BLOCK_TOKENS;
        let common = begin(view.sound(0..common)? * BLOCK_TOKENS);
        if common <= self.tokens() {
            return Ok(self.tokens());
        }
        self.cut(0)?;
        self.append_copies(&view, 0..common / BLOCK_TOKENS)?;
        Ok(self.tokens())
    }

    /// Appends what `donor` holds of a segment of these tokens, if it holds one and it is undamaged; says whether it did.
    /// Durable when this returns.
    ///
    /// # Errors
    /// As [`KvCache::append`].
    pub fn adopt_segment(&self, donor: &Donor, tokens: &[u32]) -> Result<bool, KvError> {
        let Some(begin) = donor.find(tokens) else {
            return Ok(false);
        };
        let blocks = begin..begin + tokens.len().div_ceil(BLOCK_TOKENS);
        if donor.view.sound(blocks.clone())? < blocks.len() {
            return Ok(false);
        }
        self.append_copies(&donor.view, blocks)?;
        Ok(true)
    }

    /// A cache of the same in another folder, with copies of its first `blocks` blocks.
    ///
    /// # Errors
    /// As [`KvCache::open`] and [`KvCache::append`]; [`KvError::Damaged`] if one of the blocks is.
    pub fn beside(&self, folder: &Path, blocks: usize) -> Result<KvCache, KvError> {
        let view = self.view();
        for layer in 0..self.shape().layers {
            view.verify(layer, 0..blocks)?;
        }
        let beside = KvCache::open_with(folder, self.identity(), *self.shape(), |file| {
            Ok(Box::new(file))
        })?;
        if beside.tokens() == 0 && blocks > 0 {
            beside.append_copies(&view, 0..blocks)?;
        }
        Ok(beside)
    }

    fn check_donor(&self, donor: &KvCache) -> Result<(), KvError> {
        let of_this_text = CacheIdentity {
            text: self.identity().text,
            ..donor.identity().clone()
        };
        if of_this_text != *self.identity() || self.shape() != donor.shape() {
            return Err(KvError::OtherIdentity {
                path: donor.folder().to_owned(),
                difference: "not the same model, prompt, format and way of reading",
            });
        }
        Ok(())
    }
}
