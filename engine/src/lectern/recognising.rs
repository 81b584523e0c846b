//! Items extracted, their scanned pages recognised on the way if what recognises them is here.
//!
//! Extracting takes seconds and goes one item after the other; recognising takes minutes to hours. So the turn to add is
//! given back while pages are recognised, and taken again for the second extraction, which has them.

use super::adding::{Extracted, Item, tell};
use super::{Job, Lectern, blocking, cancelled};
use crate::home::Home;
use crate::ingest::{
    self, ExtractOptions, IngestFault, Recogniser, RecognitionProgress, ScannedPages,
};
use crate::library::{ContentHash, Incoming};
use crate::retrieval;
use lectern_protocol::{Event, Failure, IngestProgress, IngestStage, PagesRecognised};
use std::path::{Path, PathBuf};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The turn to add, while it is held.
pub(super) type Turn<'l> = Option<SemaphorePermit<'l>>;

/// What a person's item came to.
pub(super) enum Taken {
    Extracted(Box<Extracted>),
    /// A folder that holds books and nothing else.
    Nothing,
    /// It has scanned pages that would have to be recognised first.
    Scanned,
}

/// What is read: a file from the library's own copy, so that nothing changes or vanishes under the parser and what is
/// kept is what was read; a folder where it lies.
struct Input {
    item: Item,
    hash: Option<ContentHash>,
    original: Option<Incoming>,
    options: ExtractOptions,
}

impl Input {
    fn open(
        home: &Home,
        item: Item,
        hash: Option<ContentHash>,
        options: ExtractOptions,
        job: &Job,
    ) -> Result<Input, Failure> {
        // What is too large for any format was not hashed and is not copied: extraction refuses it.
        let original = match hash.is_some() && item.path.is_file() {
            true => Some(Incoming::copy(home, &item.path, &|| {
                job.cancel.is_cancelled()
            })?),
            false => None,
        };
        Ok(Input {
            item,
            hash,
            original,
            options,
        })
    }

    fn path(&self) -> &Path {
        self.original
            .as_ref()
            .map_or(&self.item.path, Incoming::path)
    }

    fn survey(&self, job: &Job) -> ingest::Surveyed {
        let mut progress = |share| {
            tell(job, &self.item.path, IngestStage::Extracting, Some(share));
        };
        ingest::survey(self.path(), &self.options, &mut progress, &|| {
            job.cancel.is_cancelled()
        })
    }

    fn taken(self, surveyed: ingest::Surveyed) -> Result<Taken, Failure> {
        let document = match surveyed.document {
            Err(error)
                if self.item.has_books
                    && matches!(error.fault, IngestFault::NoTextFiles { .. }) =>
            {
                return Ok(Taken::Nothing);
            }
            extracted => extracted?,
        };
        let hash = match (&self.original, self.hash) {
            (Some(original), _) => original.hash(),
            (None, Some(hash)) => hash,
            (None, None) => ContentHash(ingest::fingerprint(&self.item.path)?),
        };
        Ok(Taken::Extracted(Box::new(Extracted {
            hash,
            passages: retrieval::passages(&document),
            document,
            original: self.original,
        })))
    }
}

impl Lectern {
    /// Extracts an item. Its scanned pages are recognised if what recognises them is here, `recognise` says so, and
    /// the item has any; `turn` is let go of meanwhile.
    pub(super) async fn take<'l>(
        &'l self,
        item: &Item,
        hash: Option<ContentHash>,
        password: Option<&str>,
        recognise: bool,
        job: &Job,
        turn: &mut Turn<'l>,
    ) -> Result<Taken, Failure> {
        let options = ExtractOptions {
            password: password.map(str::to_owned),
            program: self.options.program.clone(),
            ..ExtractOptions::default()
        };
        let input = {
            let (home, item, job) = (self.library.home().clone(), item.clone(), job.clone());
            blocking(move || Input::open(&home, item, hash, options, &job)).await?
        };
        let recogniser = match &input.original {
            Some(original) => self.recogniser(&original.hash())?,
            None => None,
        };
        let (input, surveyed) = surveyed(input, job).await?;
        let scanned = &surveyed.scanned;
        let Some(recogniser) = recogniser.filter(|_| !scanned.pages.is_empty()) else {
            return blocking(move || input.taken(surveyed)).await;
        };
        if job.cancel.is_cancelled() {
            return Err(cancelled());
        }
        if !recognise {
            return Ok(Taken::Scanned);
        }
        *turn = None;
        let scanned = surveyed.scanned;
        let input = self.recognised(input, scanned, recogniser, job).await?;
        *turn = self.turn_to_add(job).await?;
        let (input, surveyed) = self::surveyed(input, job).await?;
        blocking(move || input.taken(surveyed)).await
    }

    /// Has the scanned pages of an item recognised, after those of other items.
    async fn recognised(
        &self,
        mut input: Input,
        scanned: ScannedPages,
        recogniser: Recogniser,
        job: &Job,
    ) -> Result<Input, Failure> {
        let path = input.item.path.clone();
        tell(job, &path, IngestStage::Recognising, None);
        let _turn = turn_of(&self.recognising, job).await?;
        let job = job.clone();
        blocking(move || {
            let mut progress = |now| tell_recognised(&job, &path, now);
            input.options.recognised = ingest::recognise(
                input.path(),
                &scanned,
                &recogniser,
                &input.options,
                &mut progress,
                &|| job.cancel.is_cancelled(),
            )?;
            Ok(input)
        })
        .await
    }

    /// What recognises the pages of the document with this content, if it is here.
    fn recogniser(&self, content: &ContentHash) -> Result<Option<Recogniser>, Failure> {
        let catalogue = self.catalogue()?;
        let entry = catalogue.recogniser();
        Ok(entry
            .filter(|entry| catalogue.is_installed(entry))
            .map(|entry| Recogniser {
                networks: catalogue.path(entry),
                parts: entry.parts.clone(),
                identity: entry.sha256.clone().unwrap_or_else(|| entry.name.clone()),
                kept: self.kept_pages(&content.hex()),
            }))
    }

    /// Whether scanned pages can be recognised.
    pub(super) fn recognises(&self) -> Result<bool, Failure> {
        let catalogue = self.catalogue()?;
        let entry = catalogue.recogniser();
        Ok(entry.is_some_and(|entry| catalogue.is_installed(entry)))
    }

    /// The file of recognised pages of a document with this content.
    fn kept_pages(&self, sha256: &str) -> PathBuf {
        let name = format!("{sha256}.pages");
        self.library.home().recognised().join(name)
    }

    /// Removes what was recognised of a document whose content is in the library no more.
    pub(super) fn forget_recognised(&self, sha256: &str) {
        let path = self.kept_pages(sha256);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!("{} stays: {error}", path.display());
            }
            _ => {}
        }
    }
}

async fn surveyed(input: Input, job: &Job) -> Result<(Input, ingest::Surveyed), Failure> {
    let job = job.clone();
    blocking(move || {
        let surveyed = input.survey(&job);
        Ok((input, surveyed))
    })
    .await
}

/// Waits for a permit, unless the job is cancelled.
pub(super) async fn turn_of<'l>(turns: &'l Semaphore, job: &Job) -> Result<Turn<'l>, Failure> {
    loop {
        match tokio::time::timeout(super::seat::LOOK_AGAIN, turns.acquire()).await {
            Ok(turn) => return Ok(turn.ok()),
            Err(_) if job.cancel.is_cancelled() => return Err(cancelled()),
            Err(_) => {}
        }
    }
}

fn tell_recognised(job: &Job, path: &Path, now: RecognitionProgress) {
    job.tell(Event::Ingest(IngestProgress {
        path: path.display().to_string(),
        stage: IngestStage::Recognising,
        fraction: Some(now.done as f32 / now.total.max(1) as f32),
        pages: Some(PagesRecognised {
            done: now.done,
            total: now.total,
            seconds_left: now.seconds_left,
        }),
    }));
}
