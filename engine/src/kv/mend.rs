//! Writing damaged parts of sealed blocks again, in their places.

use super::view::{SealedBlock, map};
use super::{BLOCK_TOKENS, KvCache, KvError, KvView, OpenBlock};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

impl KvCache {
    /// Writes the damaged parts of the blocks from index `first` on again, whose keys and values were computed anew and
    /// stand in `blocks`; of a thinned block what its heads keep. Returns whether all of these blocks are sound now: not, if what was computed is not what was
    /// sealed, by the checksums in the blocks' headers. Such parts are left as they are.
    ///
    /// A crash meanwhile leaves a block that is as damaged as before.
    ///
    /// # Errors
    /// [`KvError::Cut`] if a view other than the cache's own is alive; [`KvError::Io`]; [`KvError::Shape`] if there are
    /// no such blocks.
    pub fn mend(&self, first: usize, blocks: &[OpenBlock]) -> Result<bool, KvError> {
        self.mend_with(first, blocks.len(), |nth, sealed, layer, part| {
            let (block, tokens) = (&blocks[nth], sealed.header.tokens.len());
            sealed
                .format
                .encode(self.shape(), block, layer, tokens, part);
        })
    }

    /// As [`KvCache::mend`], of blocks that were computed anew into another cache of this shape and format and are the last `blocks` of
    /// `anew`.
    ///
    /// # Errors
    /// As [`KvCache::mend`].
    pub fn mend_from(&self, first: usize, blocks: usize, anew: &KvView) -> Result<bool, KvError> {
        let computed = anew.blocks().saturating_sub(blocks);
        self.mend_with(first, blocks, |nth, sealed, layer, part| {
            // Of another format, it would not be what was sealed.
            let found = anew.sealed().get(computed + nth);
            if let Some(found) = found.filter(|found| found.format == sealed.format) {
                anew.full_part(found, layer, part);
            }
        })
    }

    /// Mends these blocks with what `full` puts into a full part, which is zeroed, of a layer of the nth of them.
    fn mend_with(
        &self,
        first: usize,
        blocks: usize,
        full: impl Fn(usize, &SealedBlock, usize, &mut [u8]),
    ) -> Result<bool, KvError> {
        let mut writer = self.writer();
        let old = self.view();
        let Some(sealed) = old.sealed().get(first..first + blocks) else {
            return Err(KvError::Shape {
                path: self.folder().to_owned(),
                fact: format!("it has no {blocks} blocks from {first} on"),
            });
        };
        let mut parts = Vec::new();
        let mut sound = true;
        for (nth, sealed) in sealed.iter().enumerate() {
            for layer in 0..self.shape().layers {
                if old.verify(layer, first + nth..first + nth + 1).is_ok() {
                    continue;
                }
                let mut part = vec![0; sealed.format.part_bytes(self.shape())];
                full(nth, sealed, layer, &mut part);
                if let Some(kept) = sealed.header.kept_of(layer, self.shape().kv_heads) {
                    let mut thin = Vec::new();
                    sealed.format.thin(self.shape(), &part, kept, &mut thin);
                    part = thin;
                }
                if xxh3_64(&part) == sealed.header.checksums[layer] {
                    parts.push((sealed.part_range(layer).start as u64, part));
                } else {
                    sound = false;
                }
            }
        }
        let all = old.sealed().to_vec();
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        // As in `cut`: nobody may look at mapped bytes while they change.
        if old.map().is_some_and(|map| Arc::strong_count(map) > 2) {
            return Err(KvError::Cut {
                path: self.folder().to_owned(),
                tokens: first * BLOCK_TOKENS,
                why: "it is being read",
            });
        }
        drop(old);
        *view = self.new_view(Vec::new(), None);
        let written = parts
            .iter()
            .try_for_each(|(offset, part)| writer.storage.write_at(*offset, part))
            .and_then(|()| writer.storage.sync());
        *view = self.new_view(all, map(&self.file, &self.path)?);
        written.map_err(KvError::io(&*self.path, "mend"))?;
        let damaged = view.damaged().first().copied();
        self.first_damaged
            .store(damaged.unwrap_or(usize::MAX), Ordering::Release);
        Ok(sound)
    }
}
