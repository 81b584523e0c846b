//! The child as a process: started with an order, watched, and never left behind.

use super::{Order, PROGRESS};
use crate::ingest::{IngestFault, Limits};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

/// How often cancellation and the clock are looked at.
const TICK: Duration = Duration::from_millis(50);

/// A child that has its order.
pub(super) struct Started {
    child: Watched,
    lines: Receiver<String>,
    said: Vec<String>,
}

/// Starts a child of `program` (without, `$LECTERN_BIN`, else the program that is running); returns it and its output.
pub(super) fn start(
    program: Option<&PathBuf>,
    order: &Order,
) -> Result<(Started, ChildStdout), IngestFault> {
    let order = postcard::to_stdvec(order).map_err(|e| not_started(&e))?;
    let program = match (program, std::env::var_os("LECTERN_BIN")) {
        (Some(program), _) => program.clone(),
        (None, Some(program)) => program.into(),
        (None, None) => std::env::current_exe().map_err(|e| not_started(&e))?,
    };
    let mut child = Watched(
        Command::new(program)
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
    let lines = read_lines(errors);
    // A child that ends before it has read its order says why in its status.
    let _ = input.write_all(&order);
    drop(input);
    let started = Started {
        child,
        lines,
        said: Vec::new(),
    };
    Ok((started, output))
}

pub(super) fn not_started(error: &dyn std::fmt::Display) -> IngestFault {
    IngestFault::NotStarted {
        reason: error.to_string(),
    }
}

impl Started {
    /// Passes progress on until the child closes its standard error, which it does by ending. Ends it when it is
    /// cancelled or the deadline is past; `deadline` is asked each time, so that it may be put off.
    pub fn watch(
        &mut self,
        deadline: &dyn Fn() -> Instant,
        progress: &mut dyn FnMut(f32),
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), IngestFault> {
        let fault = loop {
            match self.lines.recv_timeout(TICK) {
                Ok(line) => match line.strip_prefix(PROGRESS).map(str::parse) {
                    Some(Ok(fraction)) => progress(fraction),
                    _ => {
                        tracing::debug!(child = %line, "extract");
                        self.said.push(line);
                    }
                },
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if cancelled() {
                break IngestFault::Cancelled;
            }
            if Instant::now() >= deadline() {
                break IngestFault::TimedOut { seconds: 0 };
            }
        };
        self.child.end();
        Err(fault)
    }

    /// How it ended: nothing if well, else why.
    pub fn outcome(mut self, limits: &Limits, time: Duration) -> Result<(), IngestFault> {
        let status = self.child.0.wait().map_err(|e| not_started(&e))?;
        match status.success() {
            true => Ok(()),
            false => Err(death(status, &self.said, limits, time)),
        }
    }
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
