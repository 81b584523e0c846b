//! Documents whose source has changed: which they are, and their new versions.

use super::adding::{Extracted, Item, is_too_large, tell};
use super::recognising::{Taken, Turn};
use super::{Job, Lectern, blocking, cancelled};
use crate::citing::{Settled, settle};
use crate::document::Versions;
use crate::ingest;
use crate::library::{ContentHash, DocumentRow, NewDocument, NewVersion};
use lectern_protocol::{
    Failure, IngestStage, Refreshed, RefreshedState, SourceChange, SourceState,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What a source turned out to be.
enum Source {
    Missing,
    /// What the document holds, under this stamp.
    Same(Option<String>),
    /// Something else; what it is, unless it is too large to look at.
    Changed(Option<ContentHash>, Option<String>),
}

impl Lectern {
    /// The documents whose source has changed or is gone, newest first. Costs a look at the names, sizes and times of
    /// their files; a source whose stamp is new is read through.
    pub async fn changes(&self) -> Result<Vec<SourceChange>, Failure> {
        let mut changes = Vec::new();
        for row in self.library.list().await? {
            let document = row.id.clone();
            // One that cannot be looked at now (permission denied, say) has not changed as far as one can tell.
            let Ok(source) = self.look_at_source(row).await else {
                continue;
            };
            let state = match source {
                Source::Same(_) => continue,
                Source::Missing => SourceState::Missing,
                Source::Changed(..) => SourceState::Changed,
            };
            changes.push(SourceChange { document, state });
        }
        Ok(changes)
    }

    /// Ingests a document's source again if it has changed, or in any case with `again`; the document keeps its id
    /// and its conversations, whose citations are brought into step.
    ///
    /// The old version stays until the new one is stored whole. Then jobs that hold the document are ended.
    pub async fn refresh(
        &self,
        id: &str,
        password: Option<&str>,
        again: bool,
        job: &Job,
    ) -> Result<Refreshed, Failure> {
        let row = self.library.row(id).await?;
        let unchanged = |state| async move {
            Ok(Refreshed {
                document: self.summary(id).await?,
                state,
                unchanged_bytes: 0,
                citations_kept: 0,
                citations_gone: 0,
            })
        };
        let (hash, stamp) = match self.look_at_source(row.clone()).await? {
            Source::Missing => return unchanged(RefreshedState::Missing).await,
            Source::Same(_) if !again => return unchanged(RefreshedState::Unchanged).await,
            Source::Same(stamp) => (None, stamp),
            Source::Changed(hash, stamp) => (hash, stamp),
        };
        let path = PathBuf::from(&row.source);
        tell(job, &path, IngestStage::Queued, None);
        let mut turn = self.turn_to_add(job).await?;
        let refreshed = self
            .take_in(&row, None, hash, stamp, password, job, &mut turn)
            .await;
        tell(job, &path, IngestStage::Finished, None);
        refreshed
    }

    /// Makes the next version of a document of its source (or of what lies at `path` and holds the same), which holds
    /// `hash` and looks like `stamp`; the caller has the turn to add.
    #[expect(clippy::too_many_arguments, reason = "each is a fact of its own")]
    pub(super) async fn take_in<'l>(
        &'l self,
        row: &DocumentRow,
        path: Option<&Path>,
        hash: Option<ContentHash>,
        stamp: Option<String>,
        password: Option<&str>,
        job: &Job,
        turn: &mut Turn<'l>,
    ) -> Result<Refreshed, Failure> {
        let path = path.map_or_else(|| PathBuf::from(&row.source), Path::to_owned);
        let extracted = self.extract_again(&path, hash, password, job, turn).await?;
        if job.cancel.is_cancelled() {
            return Err(cancelled());
        }
        tell(job, &path, IngestStage::Storing, None);
        self.put_version(row, extracted, stamp).await
    }

    async fn extract_again<'l>(
        &'l self,
        path: &Path,
        hash: Option<ContentHash>,
        password: Option<&str>,
        job: &Job,
        turn: &mut Turn<'l>,
    ) -> Result<Extracted, Failure> {
        tell(job, path, IngestStage::Extracting, None);
        let item = Item {
            path: path.to_owned(),
            has_books: false,
        };
        let hash = {
            let path = item.path.clone();
            blocking(move || match (hash, is_too_large(&path)) {
                (None, false) => Ok(Some(ContentHash(ingest::fingerprint(&path)?))),
                (hash, _) => Ok(hash),
            })
            .await?
        };
        match self.take(&item, hash, password, true, job, turn).await? {
            Taken::Extracted(extracted) => Ok(*extracted),
            Taken::Nothing | Taken::Scanned => {
                Err(ingest::IngestFault::Empty.at(&item.path).into())
            }
        }
    }

    /// Stores a version in the place of the one that `row` tells of.
    async fn put_version(
        &self,
        row: &DocumentRow,
        extracted: Extracted,
        stamp: Option<String>,
    ) -> Result<Refreshed, Failure> {
        let id = row.id.as_str();
        let earlier = self.stored(id).await?;
        let _turn = self.end_jobs(id).await;
        let earlier_text = self.kept_text(row)?;
        let later = Arc::new(extracted.document);
        let settled = Mutex::new(Settled::default());
        let versions = Versions::new(&earlier.document, &later);
        let unchanged_bytes = versions.same_start() as u32;
        let add = |answer: &mut lectern_protocol::Answer| {
            let of_this = settle(answer, &versions);
            let mut all = settled.lock().unwrap_or_else(PoisonError::into_inner);
            all.kept += of_this.kept;
            all.gone += of_this.gone;
        };
        let new = NewDocument {
            hash: extracted.hash,
            source: &row.source,
            original: extracted.original.as_ref(),
            document: &later,
            passages: &extracted.passages,
        };
        let version = NewVersion {
            new: &new,
            earlier_text,
            stamp: stamp.as_deref(),
        };
        self.library.replace(id, &version, &add).await?;
        if extracted.hash.hex() != row.sha256 {
            self.forget_recognised(&row.sha256);
        }
        self.opened.forget(id);
        self.index.forget();
        let settled = *settled.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Refreshed {
            document: self.summary(id).await?,
            state: RefreshedState::Updated,
            unchanged_bytes,
            citations_kept: settled.kept as u32,
            citations_gone: settled.gone as u32,
        })
    }

    /// The text whose caches are worth keeping for the next version: the one now if any model has read of it, else
    /// the one that was kept before.
    fn kept_text(&self, row: &DocumentRow) -> Result<Option<[u8; 32]>, Failure> {
        let read = self
            .caches()?
            .iter()
            .any(|cache| cache.identity.text == row.text_sha256 && cache.bytes > 0);
        Ok(match read {
            true => Some(row.text_sha256),
            false => row.earlier_text,
        })
    }

    /// Compares a document with its source; notes the source's stamp if they agree.
    async fn look_at_source(&self, row: DocumentRow) -> Result<Source, Failure> {
        let id = row.id.clone();
        let known = row.stamp.clone();
        let source = blocking(move || {
            let path = PathBuf::from(&row.source);
            if !path.exists() {
                return Ok(Source::Missing);
            }
            let stamp = ingest::stamp(&path);
            if stamp.is_some() && stamp == row.stamp {
                return Ok(Source::Same(stamp));
            }
            if is_too_large(&path) {
                return Ok(Source::Changed(None, stamp));
            }
            let hash = ContentHash(ingest::fingerprint(&path)?);
            Ok(match hash.hex() == row.sha256 {
                true => Source::Same(stamp),
                false => Source::Changed(Some(hash), stamp),
            })
        })
        .await?;
        if let Source::Same(Some(stamp)) = &source
            && known.as_ref() != Some(stamp)
        {
            self.library.note_stamp(&id, stamp).await?;
        }
        Ok(source)
    }
}
