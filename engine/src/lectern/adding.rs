//! From files and folders to documents in the library.

use super::recognising::{Taken, Turn, turn_of};
use super::{Job, Lectern, blocking, cancelled};
use crate::document;
use crate::ingest::{self, Limits};
use crate::library::{ContentHash, DocumentRow, Incoming, NewDocument};
use lectern_protocol::{
    Added, DocumentSummary, Event, Failure, IngestProgress, IngestStage, Refreshed,
};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Books of a folder that are added at most in one call.
const MOST_BOOKS: usize = 1000;

/// What extraction brought.
pub(super) struct Extracted {
    pub hash: ContentHash,
    pub original: Option<Incoming>,
    pub document: document::Document,
    pub passages: Vec<document::Span>,
}

impl Lectern {
    /// Adds files and folders, one after the other. A bad file is an entry with a failure; only being cancelled ends
    /// the whole, and what was added until then stays.
    ///
    /// One entry a path, with one exception: each PDF, EPUB and office file in a folder is a document of its own,
    /// before the folder, whose document is made of its source and text files. A folder of books alone gives only the books.
    /// A folder that a document was made of before is refreshed.
    ///
    /// Documents whose scanned pages have to be recognised come last: that takes long. A PDF that was added before
    /// its pages could be recognised is refreshed.
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
        let mut turn = self.turn_to_add(job).await?;
        let mut added: Vec<(usize, Added)> = Vec::with_capacity(items.len());
        let mut queue: VecDeque<(usize, bool)> = (0..items.len())
            .map(|place| (place, items.len() == 1))
            .collect();
        while let Some((place, recognise)) = queue.pop_front() {
            let item = &items[place];
            let result = self
                .add_one(item, password, recognise, job, &mut turn)
                .await;
            if matches!(result, Ok(Came::Scanned)) {
                queue.push_back((place, true));
                continue;
            }
            tell(job, &item.path, IngestStage::Finished, None);
            if job.cancel.is_cancelled() {
                return Err(cancelled());
            }
            let mut entry = Added {
                path: item.path.display().to_string(),
                document: None,
                known: false,
                refreshed: None,
                failure: None,
            };
            match result {
                Ok(Came::New(document)) => entry.document = Some(document),
                Ok(Came::Known(document)) => {
                    entry.known = true;
                    entry.document = Some(document);
                }
                Ok(Came::Refreshed(refreshed)) => {
                    entry.document = Some(refreshed.document.clone());
                    entry.refreshed = Some(refreshed);
                }
                Ok(Came::Nothing | Came::Scanned) => continue,
                Err(failure) => entry.failure = Some(failure),
            }
            added.push((place, entry));
        }
        added.sort_by_key(|(place, _)| *place);
        Ok(added.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Waits until nothing else is being extracted.
    pub(super) async fn turn_to_add(&self, job: &Job) -> Result<Turn<'_>, Failure> {
        turn_of(&self.adding, job).await
    }

    /// What became of an item. `recognise`: whether its scanned pages are recognised now.
    async fn add_one<'l>(
        &'l self,
        item: &Item,
        password: Option<&str>,
        recognise: bool,
        job: &Job,
        turn: &mut Turn<'l>,
    ) -> Result<Came, Failure> {
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
            && let Some(known) = self.library.known(&hash).await?
        {
            let row = self.library.row(&known).await?;
            if !ingest::has_unread_scans(&row.notices) || !self.recognises()? {
                return Ok(Came::Known(self.summary(&known).await?));
            }
            if !recognise {
                return Ok(Came::Scanned);
            }
            let stamp = row.stamp.clone();
            let refreshed = self
                .take_in(&row, Some(path), Some(hash), stamp, password, job, turn)
                .await?;
            return Ok(Came::Refreshed(refreshed));
        }
        if let Some(hash) = hash
            && let Some(row) = self.made_of_folder(path).await?
        {
            let stamp = crate::ingest::stamp(path);
            let refreshed = self
                .take_in(&row, None, Some(hash), stamp, password, job, turn)
                .await?;
            return Ok(Came::Refreshed(refreshed));
        }
        let extracted = match self
            .take(item, hash, password, recognise, job, turn)
            .await?
        {
            Taken::Extracted(extracted) => *extracted,
            Taken::Nothing => return Ok(Came::Nothing),
            Taken::Scanned => return Ok(Came::Scanned),
        };
        if job.cancel.is_cancelled() {
            return Err(cancelled());
        }
        tell(job, path, IngestStage::Storing, None);
        let source = absolute(path);
        let stored = self
            .library
            .insert(&NewDocument {
                hash: extracted.hash,
                source: &source,
                original: extracted.original.as_ref(),
                document: &extracted.document,
                passages: &extracted.passages,
            })
            .await?;
        let (id, known) = stored;
        let document = self.summary(&id).await?;
        Ok(match known {
            true => Came::Known(document),
            false => Came::New(document),
        })
    }

    /// The document that was made of this folder, if there is one. A folder is one thing that changes; a file of the
    /// same name may be another document altogether.
    async fn made_of_folder(&self, path: &Path) -> Result<Option<DocumentRow>, Failure> {
        if !path.is_dir() {
            return Ok(None);
        }
        let source = absolute(path);
        let rows = self.library.list().await?;
        // As paths: with or without a slash at the end it is the same folder.
        let same = |row: &DocumentRow| Path::new(&row.source) == Path::new(&source);
        Ok(rows.into_iter().find(same))
    }
}

/// What became of a path.
enum Came {
    New(DocumentSummary),
    /// Its content was in the library.
    Known(DocumentSummary),
    /// It is a folder that had been added, and it has changed.
    Refreshed(Refreshed),
    /// It is a folder that holds books and nothing else.
    Nothing,
    /// Its scanned pages have to be recognised first.
    Scanned,
}

/// A path as the library keeps it.
fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.display().to_string()
}

/// What becomes one document.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub path: PathBuf,
    /// A folder whose books are items of their own, so that it may hold nothing else.
    pub has_books: bool,
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

/// Whether a file is larger than every format accepts.
pub(super) fn is_too_large(path: &Path) -> bool {
    let limits = Limits::default();
    let largest = limits.container_bytes.max(limits.plain_file_bytes());
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() > largest)
}

pub(super) fn tell(job: &Job, path: &Path, stage: IngestStage, fraction: Option<f32>) {
    job.tell(Event::Ingest(IngestProgress {
        path: path.display().to_string(),
        stage,
        fraction,
        pages: None,
    }));
}
