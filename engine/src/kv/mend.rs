//! Writing damaged parts of sealed blocks again, in their places.

use super::view::map;
use super::{BLOCK_TOKENS, KvCache, KvError, OpenBlock};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

impl KvCache {
    /// Writes the damaged parts of the blocks from index `first` on again, whose keys and values were computed anew and
    /// stand in `blocks`. Returns whether all of these blocks are sound now: not, if what was computed is not what was
    /// sealed, by the checksums in the blocks' headers. Such parts are left as they are.
    ///
    /// A crash meanwhile leaves a block that is as damaged as before.
    ///
    /// # Errors
    /// [`KvError::Cut`] if a view other than the cache's own is alive; [`KvError::Io`]; [`KvError::Shape`] if there are
    /// no such blocks.
    pub fn mend(&self, first: usize, blocks: &[OpenBlock]) -> Result<bool, KvError> {
        let mut writer = self.writer();
        let old = self.view();
        let Some(sealed) = old.sealed().get(first..first + blocks.len()) else {
            return Err(KvError::Shape {
                path: self.folder().to_owned(),
                fact: format!("it has no {} blocks from {first} on", blocks.len()),
            });
        };
        let mut parts = Vec::new();
        let mut sound = true;
        for ((nth, sealed), block) in (first..).zip(sealed).zip(blocks) {
            let tokens = sealed.header.tokens.len();
            let format = self.format().of_block(nth, tokens);
            let mut part = vec![0; format.part_bytes(self.shape())];
            for layer in 0..self.shape().layers {
                if old.verify(layer, nth..nth + 1).is_ok() {
                    continue;
                }
                format.encode(self.shape(), block, layer, tokens, &mut part);
                if xxh3_64(&part) == sealed.header.checksums[layer] {
                    parts.push((sealed.part_range(layer).start as u64, part.clone()));
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
