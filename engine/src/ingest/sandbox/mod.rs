//! The extracting child process: how it is started and watched (`parent`), what it does (`child`), and what it gives
//! up before it reads a byte (`confine`).
//!
//! On its standard input the child gets an [`Order`]; on standard error it writes `progress 0.25` lines; on standard
//! output one `Result<Document, IngestFault>`, both in postcard. The password never stands in the arguments.

mod child;
mod confine;
mod parent;

pub use child::child_main;
pub use parent::{ExtractOptions, extract};

use super::Limits;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the child is to do.
#[derive(Serialize, Deserialize)]
struct Order {
    path: PathBuf,
    password: Option<String>,
    limits: Limits,
    /// Processor and wall time.
    seconds: u64,
}

/// How a line of progress begins.
const PROGRESS: &str = "progress ";

/// Exit status of a child that could not even report.
const NO_REPORT: u8 = 70;
