//! Asks children for the text of scanned pages, a few pages each, and keeps every page as it comes.
//!
//! A child has only so many pages so that what it holds cannot grow with the book, and so that one that is ended loses
//! little. Whatever ends it, the page it was at is given up and the next child goes on behind it.

use super::process::{not_started, start};
use super::{Order, PageYield, ScannedPages, Task};
use crate::ingest::recognition::{KeptError, KeptPages, RecognisedPage, RecognitionFault};
use crate::ingest::{IngestError, IngestFault, Limits};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

/// Pages of one child.
const PAGES: usize = 16;
/// Most bytes of one page: some ten thousand characters have 100 kB.
const PAGE_BYTES: u32 = 16 << 20;
/// Pages in a row that may end their child before the rest is given up.
const ENDED: usize = 5;
/// Threads at most: more gain little, and each takes address space, which is limited.
const THREADS: usize = 8;

/// What recognises scanned pages, and where recognised pages are kept.
#[derive(Debug, Clone)]
pub struct Recogniser {
    /// The file of its networks.
    pub networks: PathBuf,
    /// Bytes of each network in it: detection, direction, transcription.
    pub parts: Vec<u64>,
    /// What it is: pages of another one are not used.
    pub identity: String,
    /// The file of recognised pages of the document at hand.
    pub kept: PathBuf,
}

/// What is known of the scanned pages of one item.
#[derive(Debug, Clone, Default)]
pub struct Recognised {
    pub(super) pages: Vec<(u32, Option<RecognisedPage>)>,
}

/// How far recognition is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RecognitionProgress {
    /// Pages done, those of earlier times included.
    pub done: u32,
    /// Pages in all.
    pub total: u32,
    /// Seconds left, once a page was done.
    pub seconds_left: Option<f64>,
}

/// Recognises scanned pages of a PDF, or goes on with it. Blocks until all are done.
///
/// `progress` is told after each page; `cancelled` is asked about twenty times a second. What was done until then is
/// kept, whatever ends this.
pub fn recognise(
    path: &Path,
    scanned: &ScannedPages,
    recogniser: &Recogniser,
    options: &super::ExtractOptions,
    progress: &mut dyn FnMut(RecognitionProgress),
    cancelled: &dyn Fn() -> bool,
) -> Result<Recognised, IngestError> {
    all_pages(path, scanned, recogniser, options, progress, cancelled)
        .map_err(|fault| fault.at(path))
}

fn all_pages(
    path: &Path,
    scanned: &ScannedPages,
    recogniser: &Recogniser,
    options: &super::ExtractOptions,
    progress: &mut dyn FnMut(RecognitionProgress),
    cancelled: &dyn Fn() -> bool,
) -> Result<Recognised, IngestFault> {
    let mut kept = KeptPages::open(&recogniser.kept, &recogniser.identity).map_err(not_kept)?;
    let path = std::fs::canonicalize(path).map_err(|e| IngestFault::from_io(&e, true))?;
    let total = scanned.pages.len() as u32;
    let mut failed: BTreeSet<u32> = BTreeSet::new();
    let mut in_a_row = 0;
    let began = Instant::now();
    let mut done_now = 0u32;
    loop {
        let left: Vec<(u32, [f32; 2])> = scanned
            .pages
            .iter()
            .filter(|(index, _)| !kept.pages().contains_key(index) && !failed.contains(index))
            .copied()
            .collect();
        let tell = |left: u32, done_now: u32, progress: &mut dyn FnMut(RecognitionProgress)| {
            let each = began.elapsed().as_secs_f64() / f64::from(done_now.max(1));
            progress(RecognitionProgress {
                done: total - left,
                total,
                seconds_left: (done_now > 0).then_some(each * f64::from(left)),
            });
        };
        tell(left.len() as u32, done_now, progress);
        if left.is_empty() || in_a_row >= ENDED {
            failed.extend(left.iter().map(|(index, _)| index));
            break;
        }
        let batch = ScannedPages {
            count: scanned.count,
            pages: left.iter().take(PAGES).copied().collect(),
        };
        let mut open: Vec<u32> = batch.pages.iter().map(|(index, _)| *index).collect();
        let mut left = left.len() as u32;
        let ended = batch_of_pages(&path, batch, recogniser, options, cancelled, &mut |page| {
            let Some(place) = open.iter().position(|index| *index == page.index) else {
                return Err(IngestFault::Unsound {
                    reason: "it recognised a page that it was not asked for".into(),
                });
            };
            open.remove(place);
            match page.page {
                Ok(read) => kept.add(page.index, read).map_err(not_kept)?,
                Err(fault @ RecognitionFault::Model { .. }) => {
                    return Err(IngestFault::RecogniserUnusable {
                        reason: fault.to_string(),
                    });
                }
                Err(fault @ RecognitionFault::NotDrawn { .. }) => {
                    tracing::warn!(page = page.index + 1, "{fault}");
                    failed.insert(page.index);
                }
            }
            in_a_row = 0;
            left -= 1;
            done_now += 1;
            tell(left, done_now, progress);
            Ok(())
        });
        match ended {
            Ok(()) if open.is_empty() => {}
            Ok(())
            | Err(
                IngestFault::Crashed { .. }
                | IngestFault::OutOfMemory { .. }
                | IngestFault::TimedOut { .. },
            ) => {
                // Pages come in order: the first that did not come is the one.
                if let Some(index) = open.first() {
                    tracing::warn!(page = index + 1, "recognising it ended with {ended:?}");
                    failed.insert(*index);
                }
                in_a_row += 1;
            }
            Err(fault) => return Err(fault),
        }
    }
    let pages = scanned.pages.iter().filter_map(|(index, _)| {
        match (kept.pages().get(index), failed.contains(index)) {
            (Some(page), _) => Some((*index, Some(page.clone()))),
            (None, true) => Some((*index, None)),
            (None, false) => None,
        }
    });
    Ok(Recognised {
        pages: pages.collect(),
    })
}

fn not_kept(error: KeptError) -> IngestFault {
    IngestFault::NotKept {
        reason: error.to_string(),
    }
}

/// Has one child recognise some pages. Ends well, or with what ended the child, or with what `each` said.
fn batch_of_pages(
    path: &Path,
    pages: ScannedPages,
    recogniser: &Recogniser,
    options: &super::ExtractOptions,
    cancelled: &dyn Fn() -> bool,
    each: &mut dyn FnMut(PageYield) -> Result<(), IngestFault>,
) -> Result<(), IngestFault> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS));
    let limits: &Limits = &options.limits;
    let time = limits.page_time;
    let order = Order {
        path: path.to_owned(),
        password: options.password.clone(),
        limits: limits.clone(),
        seconds: time.as_secs() * (pages.pages.len() * threads) as u64,
        task: Task::Recognise {
            networks: std::fs::canonicalize(&recogniser.networks).map_err(|e| not_started(&e))?,
            parts: recogniser.parts.clone(),
            pages,
            threads,
        },
    };
    let (mut child, output) = start(options.program.as_ref(), &order)?;
    // When the page before came, in milliseconds since now.
    let began = Instant::now();
    let last = AtomicU64::new(0);
    let coming = read_pages(output);
    let fault = std::cell::RefCell::new(None);
    let each = std::cell::RefCell::new(each);
    let take = || {
        while let Ok(page) = coming.try_recv() {
            last.store(began.elapsed().as_millis() as u64, Ordering::Relaxed);
            if fault.borrow().is_none()
                && let Err(said) = each.borrow_mut()(page)
            {
                *fault.borrow_mut() = Some(said);
            }
        }
        fault.borrow().is_some()
    };
    let deadline = || began + Duration::from_millis(last.load(Ordering::Relaxed)) + time;
    let watched = child.watch(&deadline, &mut |_| {}, &|| take() || cancelled());
    // What it sent before it ended is still to be taken: the reading thread ends with the pipe.
    while let Ok(page) = coming.recv() {
        if fault.borrow().is_none()
            && let Err(said) = each.borrow_mut()(page)
        {
            *fault.borrow_mut() = Some(said);
        }
    }
    if let Some(fault) = fault.into_inner() {
        return Err(fault);
    }
    watched.map_err(|fault| match fault {
        IngestFault::TimedOut { .. } => IngestFault::TimedOut {
            seconds: time.as_secs(),
        },
        fault => fault,
    })?;
    child.outcome(limits, time)
}

/// The pages that a child sends, as they come. What is no page ends the reading: its end is then told by its status,
/// or by the pages that are missing.
fn read_pages(mut pipe: impl Read + Send + 'static) -> Receiver<PageYield> {
    let (sender, receiver) = channel();
    spawn(move || {
        loop {
            let mut length = [0; 4];
            if pipe.read_exact(&mut length).is_err() {
                return;
            }
            let length = u32::from_le_bytes(length);
            if length > PAGE_BYTES {
                return;
            }
            let mut body = vec![0; length as usize];
            if pipe.read_exact(&mut body).is_err() {
                return;
            }
            let Ok(page) = postcard::from_bytes(&body) else {
                return;
            };
            if sender.send(page).is_err() {
                return;
            }
        }
    });
    receiver
}
