//! From files and folders to documents in the library.

use super::{Job, Lectern, blocking, cancelled};
use crate::home::Home;
use crate::ingest::{self, ExtractOptions, Limits};
use crate::library::{ContentHash, Incoming, NewDocument};
use crate::{document, retrieval};
use lectern_protocol::{Added, DocumentSummary, Event, Failure, IngestProgress, IngestStage};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What extraction brought.
struct Extracted {
    hash: ContentHash,
    original: Option<Incoming>,
    document: document::Document,
    passages: Vec<document::Span>,
}

impl Lectern {
    /// Adds files and folders, one after the other; one entry a path. A bad file is an entry with a failure; only
    /// being cancelled ends the whole, and what was added until then stays.
    pub async fn add(
        &self,
        paths: &[PathBuf],
        password: Option<&str>,
        job: &Job,
    ) -> Result<Vec<Added>, Failure> {
        for path in paths {
            tell(job, path, IngestStage::Queued, None);
        }
        let _turn = loop {
            match tokio::time::timeout(super::seat::LOOK_AGAIN, self.adding.acquire()).await {
                Ok(turn) => break turn.ok(),
                Err(_) if job.cancel.is_cancelled() => return Err(cancelled()),
                Err(_) => {}
            }
        };
        let mut added = Vec::with_capacity(paths.len());
        for path in paths {
            let result = self.add_one(path, password, job).await;
            tell(job, path, IngestStage::Finished, None);
            if job.cancel.is_cancelled() {
                return Err(cancelled());
            }
            let (document, known, failure) = match result {
                Ok((document, known)) => (Some(document), known, None),
                Err(failure) => (None, false, Some(failure)),
            };
            added.push(Added {
                path: path.display().to_string(),
                document,
                known,
                failure,
            });
        }
        Ok(added)
    }

    async fn add_one(
        &self,
        path: &Path,
        password: Option<&str>,
        job: &Job,
    ) -> Result<(DocumentSummary, bool), Failure> {
        tell(job, path, IngestStage::Extracting, None);
        let hashed = path.to_owned();
        // The same content again costs one pass over it, and no copy.
        let hash = blocking(move || Ok(ContentHash(ingest::fingerprint(&hashed)?))).await?;
        if self.library.has_content(&hash).await? {
            return Ok((self.summary(&hash.id()).await?, true));
        }
        let extracted = {
            let (home, path, job) = (self.library.home().clone(), path.to_owned(), job.clone());
            let options = ExtractOptions {
                password: password.map(str::to_owned),
                program: self.options.program.clone(),
                ..ExtractOptions::default()
            };
            blocking(move || extract(&home, &path, hash, &options, &job)).await?
        };
        if job.cancel.is_cancelled() {
            return Err(cancelled());
        }
        tell(job, path, IngestStage::Storing, None);
        let source = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let (id, known) = self
            .library
            .insert(&NewDocument {
                hash: extracted.hash,
                source: &source.display().to_string(),
                original: extracted.original.as_ref(),
                document: &extracted.document,
                passages: &extracted.passages,
            })
            .await?;
        Ok((self.summary(&id).await?, known))
    }
}

/// Extracts an item: a folder where it lies, a file from the library's own copy, so that nothing changes or
/// vanishes under the parser and what is kept is what was read.
fn extract(
    home: &Home,
    path: &Path,
    hash: ContentHash,
    options: &ExtractOptions,
    job: &Job,
) -> Result<Extracted, Failure> {
    let stop = || job.cancel.is_cancelled();
    let metadata = std::fs::metadata(path);
    // What is too large for any format is refused before it is copied.
    let copied = metadata
        .is_ok_and(|metadata| metadata.is_file() && metadata.len() <= largest(&options.limits));
    let original = match copied {
        true => Some(Incoming::copy(home, path, &stop)?),
        false => None,
    };
    let shown = Arc::new(path.to_owned());
    let input = original.as_ref().map_or(path, Incoming::path);
    let document = ingest::extract(
        input,
        options,
        &mut |share| tell(job, &shown, IngestStage::Extracting, Some(share)),
        &stop,
    )?;
    Ok(Extracted {
        hash: original.as_ref().map_or(hash, Incoming::hash),
        passages: retrieval::passages(&document),
        document,
        original,
    })
}

/// Bytes of the largest file that some format accepts.
fn largest(limits: &Limits) -> u64 {
    limits.container_bytes.max(limits.plain_file_bytes())
}

fn tell(job: &Job, path: &Path, stage: IngestStage, fraction: Option<f32>) {
    job.tell(Event::Ingest(IngestProgress {
        path: path.display().to_string(),
        stage,
        fraction,
    }));
}
