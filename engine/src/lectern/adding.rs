//! From files and folders to documents in the library.

use super::{Job, Lectern, blocking, cancelled};
use crate::home::Home;
use crate::ingest::{self, ExtractOptions, IngestFault, Limits};
use crate::library::{ContentHash, Incoming, NewDocument};
use crate::{document, retrieval};
use lectern_protocol::{Added, DocumentSummary, Event, Failure, IngestProgress, IngestStage};
use std::path::{Path, PathBuf};

/// Books of a folder that are added at most in one call.
const MOST_BOOKS: usize = 1000;

/// What extraction brought.
struct Extracted {
    hash: ContentHash,
    original: Option<Incoming>,
    document: document::Document,
    passages: Vec<document::Span>,
}

impl Lectern {
    /// Adds files and folders, one after the other. A bad file is an entry with a failure; only being cancelled ends
    /// the whole, and what was added until then stays.
    ///
    /// One entry a path, with one exception: each PDF, EPUB and office file in a folder is a document of its own,
    /// before the folder, whose document is made of its source and text files. A folder of books alone gives only the books.
    pub async fn add(
        &self,
        paths: &[PathBuf],
        password: Option<&str>,
        job: &Job,
    ) -> Result<Vec<Added>, Failure> {
        let items: Vec<Item> = {
            let paths = paths.to_vec();
            blocking(move || Ok(paths.iter().flat_map(|path| items_of(path)).collect())).await?
        };
        for item in &items {
            tell(job, &item.path, IngestStage::Queued, None);
        }
        let _turn = loop {
            match tokio::time::timeout(super::seat::LOOK_AGAIN, self.adding.acquire()).await {
                Ok(turn) => break turn.ok(),
                Err(_) if job.cancel.is_cancelled() => return Err(cancelled()),
                Err(_) => {}
            }
        };
        let mut added = Vec::with_capacity(items.len());
        for item in &items {
            let result = self.add_one(item, password, job).await;
            tell(job, &item.path, IngestStage::Finished, None);
            if job.cancel.is_cancelled() {
                return Err(cancelled());
            }
            let (document, known, failure) = match result {
                Ok(Some((document, known))) => (Some(document), known, None),
                Ok(None) => continue,
                Err(failure) => (None, false, Some(failure)),
            };
            added.push(Added {
                path: item.path.display().to_string(),
                document,
                known,
                failure,
            });
        }
        Ok(added)
    }

    /// The document of an item and whether it was known; none if there is nothing in a folder that has books.
    async fn add_one(
        &self,
        item: &Item,
        password: Option<&str>,
        job: &Job,
    ) -> Result<Option<(DocumentSummary, bool)>, Failure> {
        let path = &item.path;
        tell(job, path, IngestStage::Extracting, None);
        // The same content again costs one pass over it, and no copy.
        let hash = {
            let path = path.clone();
            blocking(move || match is_too_large(&path) {
                true => Ok(None),
                false => Ok(Some(ContentHash(ingest::fingerprint(&path)?))),
            })
            .await?
        };
        if let Some(hash) = hash
            && self.library.has_content(&hash).await?
        {
            return Ok(Some((self.summary(&hash.id()).await?, true)));
        }
        let extracted = {
            let (home, item, job) = (self.library.home().clone(), item.clone(), job.clone());
            let options = ExtractOptions {
                password: password.map(str::to_owned),
                program: self.options.program.clone(),
                ..ExtractOptions::default()
            };
            blocking(move || extract(&home, &item, hash, &options, &job)).await?
        };
        let Some(extracted) = extracted else {
            return Ok(None);
        };
        if job.cancel.is_cancelled() {
            return Err(cancelled());
        }
        tell(job, path, IngestStage::Storing, None);
        let source = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let stored = self
            .library
            .insert(&NewDocument {
                hash: extracted.hash,
                source: &source.display().to_string(),
                original: extracted.original.as_ref(),
                document: &extracted.document,
                passages: &extracted.passages,
            })
            .await?;
        Ok(Some((self.summary(&stored.0).await?, stored.1)))
    }
}

/// What becomes one document.
#[derive(Debug, Clone)]
struct Item {
    path: PathBuf,
    /// A folder whose books are items of their own, so that it may hold nothing else.
    has_books: bool,
}

/// A file or folder, behind the books in it.
fn items_of(path: &Path) -> Vec<Item> {
    let book = |path: PathBuf| Item {
        path,
        has_books: false,
    };
    let mut items: Vec<Item> = match path.is_dir() {
        false => Vec::new(),
        true => ignore::WalkBuilder::new(path)
            .sort_by_file_path(Ord::cmp)
            .build()
            .flatten()
            .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
            .map(ignore::DirEntry::into_path)
            .filter(|path| ingest::is_book(path))
            .take(MOST_BOOKS)
            .map(book)
            .collect(),
    };
    items.push(Item {
        path: path.to_owned(),
        has_books: !items.is_empty(),
    });
    items
}

/// Extracts an item: a folder where it lies, a file from the library's own copy, so that nothing changes or
/// vanishes under the parser and what is kept is what was read.
fn extract(
    home: &Home,
    item: &Item,
    hash: Option<ContentHash>,
    options: &ExtractOptions,
    job: &Job,
) -> Result<Option<Extracted>, Failure> {
    let path = item.path.as_path();
    let stop = || job.cancel.is_cancelled();
    // What is too large for any format was not hashed and is not copied: extraction refuses it.
    let original = match hash.is_some() && path.is_file() {
        true => Some(Incoming::copy(home, path, &stop)?),
        false => None,
    };
    let input = original.as_ref().map_or(path, Incoming::path);
    let mut progress = |share| tell(job, path, IngestStage::Extracting, Some(share));
    let document = match ingest::extract(input, options, &mut progress, &stop) {
        Err(error) if item.has_books && matches!(error.fault, IngestFault::NoTextFiles { .. }) => {
            return Ok(None);
        }
        extracted => extracted?,
    };
    let hash = match (&original, hash) {
        (Some(original), _) => original.hash(),
        (None, Some(hash)) => hash,
        (None, None) => ContentHash(ingest::fingerprint(path)?),
    };
    Ok(Some(Extracted {
        hash,
        passages: retrieval::passages(&document),
        document,
        original,
    }))
}

/// Whether a file is larger than every format accepts.
fn is_too_large(path: &Path) -> bool {
    let limits = Limits::default();
    let largest = limits.container_bytes.max(limits.plain_file_bytes());
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() > largest)
}

fn tell(job: &Job, path: &Path, stage: IngestStage, fraction: Option<f32>) {
    job.tell(Event::Ingest(IngestProgress {
        path: path.display().to_string(),
        stage,
        fraction,
    }));
}
