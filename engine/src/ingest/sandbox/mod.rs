//! The extracting child process: how it is started and watched (`process`), what it is asked for (`parent`,
//! `recognising`), what it does (`child`), and what it gives up before it reads a byte (`confine`).
//!
//! On its standard input the child gets an [`Order`]; on standard error it writes `progress 0.25` lines; on standard
//! output what its task yields, in postcard: one [`Yield`], or a length and a [`PageYield`] for each page. The password
//! never stands in the arguments.

mod child;
mod confine;
mod parent;
mod process;
mod recognising;

pub use child::child_main;
pub use parent::{ExtractOptions, Surveyed, extract, survey};
pub use recognising::{Recogniser, RecognitionProgress, recognise};

use super::recognition::{RecognisedPage, RecognitionFault};
use super::{IngestFault, Limits};
use crate::document::Document;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the child is to do.
#[derive(Serialize, Deserialize)]
struct Order {
    path: PathBuf,
    password: Option<String>,
    limits: Limits,
    /// Processor time.
    seconds: u64,
    task: Task,
}

/// With which purpose it opens its input.
#[derive(Serialize, Deserialize)]
enum Task {
    /// One document; pages that were recognised before, by index, are part of it. One without lines could not be.
    Extract {
        recognised: Vec<(u32, Option<RecognisedPage>)>,
    },
    /// The text of scanned pages.
    Recognise {
        /// The networks' file, and the bytes of each in it.
        networks: PathBuf,
        parts: Vec<u64>,
        pages: ScannedPages,
        threads: usize,
    },
}

/// Pages of a PDF that hold a picture and no text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScannedPages {
    /// Pages of the file.
    pub count: u32,
    /// Index of each, and its width and height in points as displayed.
    pub pages: Vec<(u32, [f32; 2])>,
}

/// What extracting yields.
#[derive(Serialize, Deserialize)]
struct Yield {
    document: Result<Document, IngestFault>,
    scanned: ScannedPages,
}

/// What recognising a page yields.
#[derive(Serialize, Deserialize)]
struct PageYield {
    index: u32,
    page: Result<RecognisedPage, RecognitionFault>,
}

/// How a line of progress begins.
const PROGRESS: &str = "progress ";

/// Exit status of a child that could not even report.
const NO_REPORT: u8 = 70;
