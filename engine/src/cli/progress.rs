//! Progress and problems on stderr: one line that changes on a terminal, plain lines elsewhere.

use lectern_protocol::{AskStage, Event, Failure, FailureCode, IngestStage};
use std::io::{IsTerminal, Write, stderr, stdin};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often plain lines are written.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// How often the changing line is redrawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Characters of a bar.
const BAR: usize = 24;

/// What a person sees of a job.
pub struct Progress {
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether a changing line stands on the terminal now.
    drawn: bool,
    last: Option<Instant>,
}

impl Progress {
    /// Nothing is shown yet.
    pub fn new() -> Progress {
        Progress {
            terminal: stderr().is_terminal(),
            state: Mutex::default(),
        }
    }

    /// Shows an event. Words of an answer are not progress: they are the caller's.
    pub fn show(&self, event: &Event) {
        match event {
            Event::Ingest(ingest) => match ingest.stage {
                IngestStage::Extracting => {
                    let share = ingest.fraction.map(f64::from);
                    self.line(
                        &format!("{} adding {}", bar(share), short(&ingest.path)),
                        false,
                    );
                }
                IngestStage::Recognising => {
                    let (pages, left) = ingest.pages.map_or_else(Default::default, |pages| {
                        (
                            format!(", {} of {} pages", pages.done, pages.total),
                            pages.seconds_left.map(left).unwrap_or_default(),
                        )
                    });
                    let share = ingest.fraction.map(f64::from);
                    self.line(
                        &format!(
                            "{} recognising {}{pages}{left}",
                            bar(share),
                            short(&ingest.path)
                        ),
                        false,
                    );
                }
                IngestStage::Storing => {
                    self.line(&format!("storing {}", short(&ingest.path)), false)
                }
                IngestStage::Queued | IngestStage::Finished => {}
            },
            Event::Reading(reading) if reading.waiting => {
                if reading.total > 0 {
                    self.line("waiting for the model", false);
                }
            }
            // It was read before.
            Event::Reading(reading)
                if reading.tokens == reading.total && reading.tokens_per_s == 0.0 =>
            {
                if let Some(seconds) = reading.seconds_left.filter(|seconds| *seconds > 0.0) {
                    self.line(&format!("preparing passages{}", left(seconds)), false);
                }
            }
            Event::Reading(reading) => {
                let share = f64::from(reading.tokens) / f64::from(reading.total.max(1));
                let left = reading.seconds_left.map(left).unwrap_or_default();
                let done = reading.tokens == reading.total;
                let doing = match reading.making_smaller {
                    true => "making it smaller,",
                    false => "reading",
                };
                self.line(
                    &format!(
                        "{} {doing} {} of {} tokens, {:.0} a second{left}",
                        bar(Some(share)),
                        reading.tokens,
                        reading.total,
                        reading.tokens_per_s
                    ),
                    done,
                );
            }
            Event::Download(download) => {
                let share = download.bytes as f64 / download.total.max(1) as f64;
                let doing = if download.verifying {
                    "checking"
                } else {
                    "downloading"
                };
                self.line(
                    &format!(
                        "{} {doing} {}: {:.0} of {:.0} MB, {:.1} MB/s",
                        bar(Some(share)),
                        download.name,
                        download.bytes as f64 / 1e6,
                        download.total as f64 / 1e6,
                        download.bytes_per_s / 1e6
                    ),
                    download.bytes == download.total,
                );
            }
            Event::Stage { stage } => match stage {
                AskStage::Waiting => self.line("waiting for another question", false),
                AskStage::LoadingModel => self.line("loading the model", false),
                AskStage::ReadingDocument => self.line("reading", false),
                AskStage::Retrieving => self.line("choosing passages", false),
                AskStage::ReadingPassages => self.line("reading passages", false),
                AskStage::WaitingForEndpoint => self.line("waiting for the server", false),
                AskStage::ReadingQuestion => self.line("thinking", false),
                AskStage::Answering | AskStage::Citing => self.clear(),
            },
            Event::Notice { message } => self.say(message),
            Event::Token { .. } | Event::Sentence { .. } => {}
        }
    }

    /// Writes a line that stays.
    pub fn say(&self, message: &str) {
        self.clear();
        eprintln!("{message}");
    }

    /// Takes the changing line away.
    pub fn clear(&self) {
        let mut state = self.state();
        if state.drawn {
            eprint!("\r\x1b[K");
            let _ = stderr().flush();
            state.drawn = false;
        }
    }

    fn line(&self, text: &str, now: bool) {
        let mut state = self.state();
        let pause = if self.terminal {
            DRAW_EVERY
        } else {
            PLAIN_EVERY
        };
        if !now && state.last.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        state.last = Some(Instant::now());
        if self.terminal {
            // Cut to the narrowest usual width: a line that wraps cannot be redrawn.
            let cut: String = text.chars().take(78).collect();
            eprint!("\r\x1b[K{cut}");
            let _ = stderr().flush();
            state.drawn = true;
        } else {
            eprintln!("{}", text.trim_start_matches(['█', '░', ' ']));
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Tells a person what went wrong and what to do.
pub fn say_failure(failure: &Failure) {
    if failure.code == FailureCode::Cancelled {
        eprintln!("stopped");
        return;
    }
    let full = failure.code == FailureCode::DiskFull && !failure.message.contains("disk is full");
    let prefix = if full { "the disk is full: " } else { "" };
    eprintln!("error: {prefix}{}", failure.message);
    match (&failure.advice, failure.code) {
        (_, FailureCode::PasswordNeeded) if !stdin().is_terminal() => {
            eprintln!("Give it with --password.");
        }
        (Some(advice), _) => eprintln!("{advice}"),
        (None, _) => {}
    }
}

fn bar(share: Option<f64>) -> String {
    let Some(share) = share else {
        return "░".repeat(BAR);
    };
    let full = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

fn short(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

fn left(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => String::new(),
        s => format!(", {} left", about(s)),
    }
}

/// A length of time, roughly.
pub fn about(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
