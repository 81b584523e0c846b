//! What was read of a document before it changed, taken over by its new version.

use super::Lectern;
use super::reading::Lesson;
use super::told::Told;
use crate::kv::{self, CacheIdentity, KvCache, KvError};
use lectern_protocol::Failure;
use tokio::runtime::Handle;

impl Lectern {
    /// Takes over into `cache` what an earlier version's cache holds of the same tokens, if there is one and it holds
    /// more; then removes it. One that another Lectern works on is left alone, one that is damaged is cut first.
    pub(super) fn adopt_earlier(
        &self,
        on: &Handle,
        lesson: &Lesson,
        cache: &KvCache,
    ) -> Result<(), Failure> {
        let row = &lesson.stored.row;
        let Some(text) = row.earlier_text.filter(|text| *text != row.text_sha256) else {
            return Ok(());
        };
        let identity = CacheIdentity {
            text,
            ..lesson.identity()
        };
        let folder = self.library.home().caches().join(identity.folder_name());
        if !folder.exists() {
            return Ok(());
        }
        let donor = match KvCache::open(&folder, &identity, lesson.model.shape()) {
            Ok(donor) => donor,
            Err(KvError::Locked { .. }) => return Ok(()),
            Err(error) => return Err(error.told()),
        };
        let before = cache.tokens();
        let input = lesson.input();
        let now = cache
            .adopt(&donor, &input.ids(), |at| input.chunk(at).start)
            .map_err(Told::told)?;
        drop(donor);
        if now > before {
            tracing::info!("{now} tokens were taken over from the version before");
        }
        let rows = on.block_on(self.library.list())?;
        if rows.iter().any(|row| row.text_sha256 == text) {
            // It is another document's.
            return Ok(());
        }
        match kv::remove(&folder) {
            Ok(()) | Err(KvError::Locked { .. }) => Ok(()),
            Err(error) => Err(error.told()),
        }
    }
}
