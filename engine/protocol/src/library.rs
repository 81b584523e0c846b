//! Documents in the library.

use crate::*;
use serde::{Deserialize, Serialize};
use specta::Type;

/// A document in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct DocumentSummary {
    /// Id: the first 16 hexadecimal digits of the content's SHA-256.
    pub id: String,
    /// Title.
    pub title: String,
    /// Authors as one line.
    pub authors: Option<String>,
    /// Format family.
    pub format: DocumentFormat,
    /// Where it was added from.
    pub source: String,
    /// Bytes of canonical text.
    pub text_bytes: u32,
    /// Words of canonical text.
    pub words: u32,
    /// Pages of a PDF.
    pub pages: Option<u32>,
    /// Unix seconds.
    pub added: u32,
    /// How far the current model has read it.
    pub reading: ReadState,
    /// What reading it will take, if it is not begun and something was read on this machine before.
    pub forecast: Option<Forecast>,
    /// What the person should know of it.
    pub notices: Vec<String>,
    /// Pages of it are scanned and not recognised: once what recognises them is here, adding its source again does.
    #[serde(default)]
    pub scans_unread: bool,
    /// More of what was read is kept than the settings want: reading it again makes that smaller, without reading a word of it.
    #[serde(default)]
    pub could_be_smaller: bool,
}

/// Format family; decides how the viewer shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum DocumentFormat {
    /// pdf.js.
    Pdf,
    /// Chapters of blocks.
    Epub,
    /// Blocks.
    Html,
    /// Blocks.
    Markdown,
    /// Blocks.
    Text,
    /// Files of numbered lines.
    Code,
    /// Texts of word processors: blocks.
    Word,
    /// Presentations: blocks.
    Slides,
    /// Sheets and tables: rows.
    Sheets,
    /// Messages: blocks.
    Mail,
}

/// How far the current model has read a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ReadState {
    /// Not begun.
    Unread,
    /// Part of it is on disk; reading goes on from there.
    Partly {
        /// Tokens read.
        tokens: u32,
        /// Tokens in all.
        total: u32,
    },
    /// Whole.
    Read {
        /// Tokens.
        tokens: u32,
        /// Bytes of the cache on disk.
        cache_bytes: u64,
    },
    /// Longer than the model's window: each question reads the passages that match it best.
    TooLong {
        /// Tokens in all.
        tokens: u32,
        /// Tokens that fit.
        window: u32,
    },
}

/// What reading a document will take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct Forecast {
    /// Tokens.
    pub tokens: u32,
    /// Bytes of the cache on disk.
    pub cache_bytes: u64,
    /// Seconds, if nothing else uses the machine.
    pub seconds: f64,
    /// By how much earlier forecasts were off, as a share of what reading took then.
    pub error: Option<f64>,
    /// Whether the disk and the budget for caches have room for it.
    pub fits: bool,
    /// What would lie on the GPU, in words; nothing where the processor reads.
    #[serde(default)]
    pub gpu: Option<String>,
}

/// What became of one path of an `add`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct Added {
    /// The path.
    pub path: String,
    /// The document, new or known already.
    pub document: Option<DocumentSummary>,
    /// Whether the same content was in the library.
    pub known: bool,
    /// The path is a folder that a document was made of before, and has changed since: what became of that document.
    #[serde(default)]
    pub refreshed: Option<Refreshed>,
    /// Why it could not be added.
    pub failure: Option<Failure>,
}

/// A document that is not what its source is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct SourceChange {
    /// Document id.
    pub document: String,
    /// How they differ.
    pub state: SourceState,
}

/// What became of the file or folder that a document was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// It holds something else now.
    Changed,
    /// It is not where it was.
    Missing,
}

/// What became of one `refresh`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct Refreshed {
    /// As it is now.
    pub document: DocumentSummary,
    /// What was done.
    pub state: RefreshedState,
    /// Bytes of text that are the same from the beginning: what was read of them is kept. What follows is read again, but segments that
    /// have not changed.
    /// This and the counts below are 0 unless it was updated.
    pub unchanged_bytes: u32,
    /// Citations whose words still stand.
    pub citations_kept: u32,
    /// Citations whose words do not stand any more.
    pub citations_gone: u32,
}

/// What a `refresh` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum RefreshedState {
    /// The new version is there.
    Updated,
    /// The source holds what the document holds.
    Unchanged,
    /// The source is gone; the document stays as it is.
    Missing,
}

/// Progress of ingest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct IngestProgress {
    /// The path of the call it belongs to.
    pub path: String,
    /// What is being done.
    pub stage: IngestStage,
    /// Share done, 0..=1, where it is known.
    pub fraction: Option<f32>,
    /// While pages are recognised: how far that is.
    #[serde(default)]
    pub pages: Option<PagesRecognised>,
}

/// How far the recognition of a document's scanned pages is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Type)]
pub struct PagesRecognised {
    /// Pages done and on disk, those of earlier times included.
    pub done: u32,
    /// Scanned pages in all.
    pub total: u32,
    /// Seconds left, once it can be told.
    pub seconds_left: Option<f64>,
}

/// What ingest is doing with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum IngestStage {
    /// Waiting for its turn.
    Queued,
    /// Its text is being extracted.
    Extracting,
    /// The text of its scanned pages is being recognised. Each page is kept as it is done: when it is stopped, adding
    /// the file again goes on from there.
    Recognising,
    /// It is being stored and indexed.
    Storing,
    /// Finished, for better or worse.
    Finished,
}

/// Progress of reading.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Type)]
pub struct ReadProgress {
    /// Tokens read and on disk.
    pub tokens: u32,
    /// Tokens in all.
    pub total: u32,
    /// Speed now.
    pub tokens_per_s: f64,
    /// Seconds left, once it can be told.
    pub seconds_left: Option<f64>,
    /// Bytes of the cache on disk so far.
    pub cache_bytes: u64,
    /// Waiting behind another reading or a question.
    pub waiting: bool,
    /// All of it is read; it is gone over again to find what can be left out, so many tokens by now.
    #[serde(default)]
    pub making_smaller: bool,
}
