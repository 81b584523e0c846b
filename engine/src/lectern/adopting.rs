//! What was read of a document before it changed, taken over by its new version.

use super::Lectern;
use super::reading::Lesson;
use super::told::Told;
use crate::kv::{self, CacheIdentity, Donor, KvCache, KvError};
use lectern_protocol::Failure;
use std::path::PathBuf;
use tokio::runtime::Handle;

impl Lectern {
    /// Takes over into `cache` the beginning of an earlier version's cache as far as it holds the same tokens, if there is one and
    /// it holds more. Returns it where more of it can be taken over, segment by segment, as the rest is read; else it
    /// is removed. One that another Lectern works on is left alone; of one that is damaged the sound parts are taken.
    pub(super) fn adopt_earlier(
        &self,
        on: &Handle,
        lesson: &Lesson,
        cache: &KvCache,
    ) -> Result<Option<Donor>, Failure> {
        let Some((identity, folder)) = self.earlier_cache(lesson) else {
            return Ok(None);
        };
        let donor = match KvCache::open(&folder, &identity, lesson.model.shape()) {
            Ok(donor) => donor,
            Err(KvError::Locked { .. }) => return Ok(None),
            Err(error) => return Err(error.told()),
        };
        let before = cache.tokens();
        let input = lesson.input();
        let view = donor.view();
        let now = cache
            .adopt(&donor, &input.ids(), |at| input.goes_on_at(&view, at))
            .map_err(Told::told)?;
        drop(view);
        if now > before {
            tracing::info!("{now} tokens were taken over from the version before");
        }
        if let Some(segments) = lesson.segments.as_ref().filter(|_| now < lesson.total()) {
            let opening = &segments.ids()[..segments.opening().min(segments.ids().len())];
            let donor = Donor::new(cache, donor, opening).map_err(Told::told)?;
            if donor.is_some() {
                return Ok(donor);
            }
        } else {
            drop(donor);
        }
        self.forget_earlier(on, lesson)?;
        Ok(None)
    }

    /// Removes what was read of the version before, of which nothing more can be taken over.
    pub(super) fn forget_earlier(&self, on: &Handle, lesson: &Lesson) -> Result<(), Failure> {
        let Some((identity, folder)) = self.earlier_cache(lesson) else {
            return Ok(());
        };
        let rows = on.block_on(self.library.list())?;
        if rows.iter().any(|row| row.text_sha256 == identity.text) {
            // It is another document's.
            return Ok(());
        }
        match kv::remove(&folder) {
            Ok(()) | Err(KvError::Locked { .. }) => Ok(()),
            Err(error) => Err(error.told()),
        }
    }

    /// The cache of the version before, if there is one.
    fn earlier_cache(&self, lesson: &Lesson) -> Option<(CacheIdentity, PathBuf)> {
        let row = &lesson.stored.row;
        let text = row.earlier_text.filter(|text| *text != row.text_sha256)?;
        let identity = CacheIdentity {
            text,
            ..lesson.identity()
        };
        let folder = self.library.home().caches().join(identity.folder_name());
        folder.exists().then_some((identity, folder))
    }
}
