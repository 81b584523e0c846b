//! What `lectern extract` does.

use super::{NO_REPORT, Order, PROGRESS, PageYield, ScannedPages, Task, Yield, confine};
use crate::ingest::IngestFault;
use crate::ingest::extraction::extract_with;
use crate::ingest::recognition::{PageReader, RecognitionFault};
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Stack of the parsing thread; parsers recurse with the nesting of their input.
const STACK: usize = 64 << 20;

/// The body of `lectern extract`: reads an order from standard input, gives up everything else, extracts, and
/// writes the result to standard output.
pub fn child_main() -> ExitCode {
    let mut order = Vec::new();
    if std::io::stdin().read_to_end(&mut order).is_err() {
        return ExitCode::from(NO_REPORT);
    }
    let Ok(order) = postcard::from_bytes::<Order>(&order) else {
        eprintln!(
            "`lectern extract` is started by Lectern itself, with an order on its standard input. \
             To add a file use `lectern add FILE`."
        );
        return ExitCode::from(2);
    };
    // A panic's message goes into the result, not to the terminal.
    std::panic::set_hook(Box::new(|_| {}));
    let mut readable = vec![order.path.as_path()];
    if let Task::Recognise { networks, .. } = &order.task {
        readable.push(networks);
    }
    for missing in confine::confine(&readable, &order.limits, order.seconds) {
        eprintln!("not confined: {missing}");
    }
    let worker = std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(move || run(order));
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        _ => ExitCode::from(NO_REPORT),
    }
}

fn run(order: Order) -> postcard::Result<()> {
    let Order {
        path,
        password,
        limits,
        task,
        ..
    } = order;
    let password = password.as_deref();
    match task {
        Task::Extract { recognised } => {
            let mut last = Instant::now();
            let mut report = |fraction: f32| {
                if last.elapsed() >= Duration::from_millis(100) {
                    last = Instant::now();
                    // If nobody listens any more, the result will find that out.
                    let _ = writeln!(std::io::stderr(), "{PROGRESS}{fraction:.3}");
                }
            };
            let mut scanned = ScannedPages::default();
            let extracting = AssertUnwindSafe(|| {
                let recognised = recognised.into_iter().collect();
                extract_with(
                    &path,
                    password,
                    &limits,
                    &recognised,
                    &mut report,
                    &mut scanned,
                )
            });
            let document = match catch_unwind(extracting) {
                Ok(result) => result.map_err(|error| error.fault),
                Err(panic) => Err(IngestFault::Crashed {
                    detail: panic_message(&*panic),
                }),
            };
            let mut out = std::io::BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
            // Encoded on the way out: no second copy of the document in this process.
            let result = Yield { document, scanned };
            postcard::to_io(&result, &mut out)?
                .flush()
                .map_err(|_| postcard::Error::SerializeBufferFull)
        }
        Task::Recognise {
            networks,
            parts,
            pages,
            threads,
        } => recognise(&path, password, &networks, &parts, &pages, threads),
    }
}

/// Recognises pages one after another and sends each as it is done.
fn recognise(
    path: &Path,
    password: Option<&str>,
    networks: &Path,
    parts: &[u64],
    pages: &ScannedPages,
    threads: usize,
) -> postcard::Result<()> {
    be_nice();
    let reader = guarded(|| open(path, password, networks, parts, threads));
    for &(index, size) in &pages.pages {
        let page = match &reader {
            Ok(reader) => guarded(|| reader.read(index as usize, pages.count as usize, size)),
            Err(fault) => Err(fault.clone()),
        };
        send(&PageYield { index, page })?;
    }
    Ok(())
}

/// Recognition takes minutes to hours: reading and questions go first. Threads started later are as nice.
fn be_nice() {
    #[cfg(unix)]
    // If it is refused, the pages are read all the same.
    let _ = rustix::process::nice(10);
}

fn open(
    path: &Path,
    password: Option<&str>,
    networks: &Path,
    parts: &[u64],
    threads: usize,
) -> Result<PageReader, RecognitionFault> {
    let unusable = |reason: String| RecognitionFault::Model {
        network: "whole".into(),
        reason,
    };
    let joined = std::fs::read(networks).map_err(|error| unusable(error.to_string()))?;
    let mut rest = joined.as_slice();
    let mut next = |length: u64| {
        let (part, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        rest = tail;
        Some(part)
    };
    let files: Vec<&[u8]> = parts.iter().map_while(|length| next(*length)).collect();
    let [detection, direction, transcription] = files[..] else {
        return Err(unusable(format!(
            "its file has {} bytes, which is not enough",
            joined.len()
        )));
    };
    let pdf = std::fs::read(path).map_err(|error| RecognitionFault::NotDrawn {
        reason: error.to_string(),
    })?;
    PageReader::new(
        pdf,
        password,
        [detection, direction, transcription],
        threads,
    )
}

/// A panic while drawing or reading a page is a fault of that page.
fn guarded<T>(work: impl FnOnce() -> Result<T, RecognitionFault>) -> Result<T, RecognitionFault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(RecognitionFault::NotDrawn {
            reason: panic_message(&*panic),
        })
    })
}

fn send(page: &PageYield) -> postcard::Result<()> {
    let body = postcard::to_stdvec(page)?;
    let mut out = std::io::stdout().lock();
    let sent = out
        .write_all(&(body.len() as u32).to_le_bytes())
        .and_then(|()| out.write_all(&body))
        .and_then(|()| out.flush());
    sent.map_err(|_| postcard::Error::SerializeBufferFull)
}

/// The words of a panic.
pub(in crate::ingest) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no reason given".into());
    message.chars().take(200).collect()
}
