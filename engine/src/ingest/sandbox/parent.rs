//! Starts the extracting child, watches its time, and turns every way it can end into a document or a reason.

use super::process::start;
use super::recognising::Recognised;
use super::{Order, ScannedPages, Task, Yield};
use crate::document::Document;
use crate::ingest::code::walk;
use crate::ingest::{Format, IngestError, IngestFault, Limits};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

/// How an item is extracted.
#[derive(Debug, Clone, Default)]
pub struct ExtractOptions {
    /// For encrypted PDFs; the empty password is always tried.
    pub password: Option<String>,
    /// What the item may cost.
    pub limits: Limits,
    /// The `lectern` program; without it, `$LECTERN_BIN`, else the program that is running.
    pub program: Option<PathBuf>,
    /// What was recognised of its scanned pages.
    pub recognised: Recognised,
}

/// What one look at an item brings.
#[derive(Debug)]
pub struct Surveyed {
    /// The document, or why there is none: a PDF of nothing but scanned pages holds no text.
    pub document: Result<Document, IngestError>,
    /// Scanned pages of which nothing is known yet.
    pub scanned: ScannedPages,
}

/// Extracts an item in a confined child process and checks what comes back.
///
/// `progress` gets the share done, 0 to 1, a few times a second; `cancelled` is asked about twenty times a second,
/// and ends the child at once. Blocks until the child has ended; no child outlives this call.
pub fn extract(
    path: &Path,
    options: &ExtractOptions,
    progress: &mut dyn FnMut(f32),
    cancelled: &dyn Fn() -> bool,
) -> Result<Document, IngestError> {
    survey(path, options, progress, cancelled).document
}

/// As [`extract`], and says which scanned pages could be recognised.
pub fn survey(
    path: &Path,
    options: &ExtractOptions,
    progress: &mut dyn FnMut(f32),
    cancelled: &dyn Fn() -> bool,
) -> Surveyed {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (document, scanned) = match run(&absolute, options, progress, cancelled) {
        Ok(Yield { document, scanned }) => (document, scanned),
        Err(fault) => (
            without_symbols(fault, &absolute, options, progress, cancelled),
            ScannedPages::default(),
        ),
    };
    Surveyed {
        document: document.map_err(|fault| fault.at(path)),
        scanned,
    }
}

/// Extracts source code once more, without looking for symbols, if that may be what ended the child: the parsers of
/// some dozen languages are C, and one bad file must not cost a codebase.
fn without_symbols(
    fault: IngestFault,
    path: &Path,
    options: &ExtractOptions,
    progress: &mut dyn FnMut(f32),
    cancelled: &dyn Fn() -> bool,
) -> Result<Document, IngestFault> {
    let ended = matches!(
        fault,
        IngestFault::Crashed { .. }
            | IngestFault::OutOfMemory { .. }
            | IngestFault::TimedOut { .. }
    );
    let source = matches!(
        Format::of(path),
        Ok(Format::Folder | Format::Archive | Format::SourceFile)
    );
    if !ended || !source || options.limits.symbol_time.is_zero() {
        return Err(fault);
    }
    let mut plain = options.clone();
    plain.limits.symbol_time = Duration::ZERO;
    let mut document = run(path, &plain, progress, cancelled)?.document?;
    document.notices.push(format!(
        "Functions and classes are not listed: looking for them failed ({fault})."
    ));
    Ok(document)
}

fn run(
    path: &Path,
    options: &ExtractOptions,
    progress: &mut dyn FnMut(f32),
    cancelled: &dyn Fn() -> bool,
) -> Result<Yield, IngestFault> {
    // Looks at the first kilobyte only. What is plainly missing, empty or foreign needs no process.
    let format = Format::of(path)?;
    let bytes = match format {
        Format::Folder => walk(path, &options.limits)?.files.len() as u64 * 10_000,
        _ => std::fs::metadata(path)
            .map_err(|e| IngestFault::from_io(&e, true))?
            .len(),
    };
    let time = options.limits.time(bytes);
    let order = Order {
        path: std::fs::canonicalize(path).map_err(|e| IngestFault::from_io(&e, true))?,
        password: options.password.clone(),
        limits: options.limits.clone(),
        seconds: time.as_secs(),
        task: Task::Extract {
            recognised: options.recognised.pages.clone(),
        },
    };
    let (mut child, output) = start(options.program.as_ref(), &order)?;
    drop(order);
    let output = read_all(output, output_limit(&options.limits, format));
    let deadline = Instant::now() + time;
    child
        .watch(&|| deadline, progress, cancelled)
        .map_err(|fault| match fault {
            IngestFault::TimedOut { .. } => IngestFault::TimedOut {
                seconds: time.as_secs(),
            },
            fault => fault,
        })?;
    let bytes = output.join().unwrap_or_default();
    child.outcome(&options.limits, time)?;
    let result = postcard::from_bytes::<Yield>(&bytes).map_err(|e| IngestFault::Unsound {
        reason: format!("its output cannot be decoded: {e}"),
    })?;
    if let Ok(document) = &result.document {
        document.check().map_err(|fault| IngestFault::Unsound {
            reason: fault.to_string(),
        })?;
    }
    Ok(result)
}

/// Most bytes a child may write: text, and blocks, sections and marks at no more than three times its size; for PDF
/// a box of 16 bytes besides for each character.
fn output_limit(limits: &Limits, format: Format) -> u64 {
    const OVERHEAD: u64 = 16 << 20;
    match format {
        Format::Pdf => limits.pdf_text_bytes * 20 + OVERHEAD,
        _ => limits.text_bytes * 4 + OVERHEAD,
    }
}

fn read_all(pipe: impl Read + Send + 'static, limit: u64) -> JoinHandle<Vec<u8>> {
    spawn(move || {
        let mut bytes = Vec::new();
        // A child that writes more than it may is cut off here, and fails to decode.
        match pipe.take(limit).read_to_end(&mut bytes) {
            Ok(_) => bytes,
            Err(_) => Vec::new(),
        }
    })
}
