//! The index of the document that was asked last, kept for its next question.

use super::{Sparse, SparseRead};
use crate::kv::KvView;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Room for one index: they are large, and questions mostly come to one document.
///
/// An index belongs to a cache's file. That is enough to know it by: a file's folder is named by all that the cache is
/// the cache of, and equal tokens give equal bytes, so even a cache that was cut and read again has the same pages.
#[derive(Debug, Default)]
pub struct KeptIndex(Mutex<Option<(PathBuf, Sparse)>>);

impl KeptIndex {
    /// Lets it go.
    pub fn forget(&self) {
        *self.slot() = None;
    }

    /// Bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.slot().as_ref().map_or(0, |(_, sparse)| sparse.bytes())
    }

    /// The index of this cache, if it is the one kept and pages are judged in the same way; otherwise it lets go of
    /// what it has, so that there is no second one beside the one that is made now.
    pub(in crate::attention) fn take(&self, view: &KvView, read: SparseRead) -> Option<Sparse> {
        let (file, kept) = self.slot().take()?;
        (file == view.file()).then_some(())?;
        kept.serving(read, view)
    }

    /// Keeps the index of this cache.
    pub(in crate::attention) fn put(&self, view: &KvView, sparse: Sparse) {
        *self.slot() = Some((view.file().to_owned(), sparse));
    }

    fn slot(&self) -> MutexGuard<'_, Option<(PathBuf, Sparse)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
