//! Starts the extracting child, watches its time, and turns every way it can end into a document or a reason.

use super::{Order, PROGRESS};
use crate::document::Document;
use crate::ingest::code::walk;
use crate::ingest::{Format, IngestError, IngestFault, Limits};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

/// How often cancellation and the clock are looked at.
const TICK: Duration = Duration::from_millis(50);

/// How an item is extracted.
#[derive(Debug, Clone, Default)]
pub struct ExtractOptions {
    /// For encrypted PDFs; the empty password is always tried.
    pub password: Option<String>,
    /// What the item may cost.
    pub limits: Limits,
    /// The `lectern` program; without it, `$LECTERN_BIN`, else the program that is running.
    pub program: Option<PathBuf>,
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
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    run(&absolute, options, progress, cancelled)
        .or_else(|fault| without_symbols(fault, &absolute, options, progress, cancelled))
        .map_err(|fault| fault.at(path))
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
    let mut document = run(path, &plain, progress, cancelled)?;
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
) -> Result<Document, IngestFault> {
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
    };
    let order = postcard::to_stdvec(&order).map_err(|e| not_started(&e))?;

    let mut child = Watched(
        Command::new(program(options)?)
            .arg("extract")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| not_started(&e))?,
    );
    let (Some(mut input), Some(output), Some(errors)) = (
        child.0.stdin.take(),
        child.0.stdout.take(),
        child.0.stderr.take(),
    ) else {
        return Err(IngestFault::NotStarted {
            reason: "it has no pipes".into(),
        });
    };
    let output = read_all(output, output_limit(&options.limits, format));
    let lines = read_lines(errors);
    // A child that ends before it has read its order says why in its status.
    let _ = input.write_all(&order);
    drop(input);

    let mut said = Vec::new();
    watch(
        &lines,
        Instant::now() + time,
        progress,
        cancelled,
        &mut said,
    )
    .map_err(|fault| match fault {
        IngestFault::TimedOut { .. } => IngestFault::TimedOut {
            seconds: time.as_secs(),
        },
        fault => fault,
    })
    .inspect_err(|_| child.end())?;
    let bytes = output.join().unwrap_or_default();
    let status = child.0.wait().map_err(|e| not_started(&e))?;
    if !status.success() {
        return Err(death(status, &said, &options.limits, time));
    }
    let document =
        postcard::from_bytes::<Result<Document, IngestFault>>(&bytes).map_err(|e| {
            IngestFault::Unsound {
                reason: format!("its output cannot be decoded: {e}"),
            }
        })??;
    document.check().map_err(|fault| IngestFault::Unsound {
        reason: fault.to_string(),
    })?;
    Ok(document)
}

fn not_started(error: &dyn std::fmt::Display) -> IngestFault {
    IngestFault::NotStarted {
        reason: error.to_string(),
    }
}

fn program(options: &ExtractOptions) -> Result<PathBuf, IngestFault> {
    match (&options.program, std::env::var_os("LECTERN_BIN")) {
        (Some(program), _) => Ok(program.clone()),
        (None, Some(program)) => Ok(program.into()),
        (None, None) => std::env::current_exe().map_err(|e| not_started(&e)),
    }
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

fn read_lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    spawn(move || {
        for line in BufReader::new(pipe.take(1 << 20))
            .lines()
            .map_while(Result::ok)
        {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Passes progress on until the child closes its standard error, which it does by ending.
fn watch(
    lines: &Receiver<String>,
    deadline: Instant,
    progress: &mut dyn FnMut(f32),
    cancelled: &dyn Fn() -> bool,
    said: &mut Vec<String>,
) -> Result<(), IngestFault> {
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) => match line.strip_prefix(PROGRESS).map(str::parse) {
                Some(Ok(fraction)) => progress(fraction),
                _ => {
                    tracing::debug!(child = %line, "extract");
                    said.push(line);
                }
            },
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if cancelled() {
            return Err(IngestFault::Cancelled);
        }
        if Instant::now() >= deadline {
            return Err(IngestFault::TimedOut { seconds: 0 });
        }
    }
}

/// Why a child ended without a result.
fn death(status: ExitStatus, said: &[String], limits: &Limits, time: Duration) -> IngestFault {
    let out_of_memory = IngestFault::OutOfMemory {
        limit: limits.memory_bytes,
    };
    if said
        .iter()
        .any(|line| line.contains("memory allocation of"))
    {
        return out_of_memory;
    }
    if said
        .iter()
        .any(|line| line.contains("has overflowed its stack"))
    {
        return IngestFault::Crashed {
            detail: "it is nested too deeply".into(),
        };
    }
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match signal {
            libc::SIGXCPU => IngestFault::TimedOut {
                seconds: time.as_secs(),
            },
            libc::SIGKILL => out_of_memory, // not by us: the system was short of memory
            libc::SIGSEGV | libc::SIGBUS => IngestFault::Crashed {
                detail: "it is nested too deeply or read beyond its memory".into(),
            },
            signal => IngestFault::Crashed {
                detail: format!("signal {signal}"),
            },
        };
    }
    let _ = time;
    match said.last() {
        Some(line) => IngestFault::Crashed {
            detail: line.chars().take(200).collect(),
        },
        None => IngestFault::Crashed {
            detail: status.to_string(),
        },
    }
}

/// A child that never outlives its watcher.
struct Watched(Child);

impl Watched {
    fn end(&mut self) {
        // It may have ended by itself meanwhile; then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            self.end();
        }
    }
}
