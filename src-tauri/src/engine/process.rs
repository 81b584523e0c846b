//! One run of `lectern serve`: its pipes, its two tasks, and how it ended.

use lectern_protocol::{Call, Failure, FailureCode, Reply};
use std::collections::VecDeque;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Lines of stderr kept for the message, should the process die.
const LAST_WORDS: usize = 8;

/// How long what is still in the pipes may take to arrive once the process is gone.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// A running engine.
pub(super) struct Process {
    running: Arc<AtomicBool>,
    life: JoinHandle<()>,
}

impl Process {
    /// Starts `program serve`. `on_reply` gets every line it answers, `on_end` what to tell a person once it is gone.
    pub(super) fn start(
        program: &Path,
        calls: mpsc::UnboundedReceiver<Call>,
        on_reply: impl Fn(Reply) + Send + Sync + 'static,
        on_end: impl FnOnce(String) + Send + 'static,
    ) -> Result<Process, Failure> {
        let mut child = Command::new(program)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure {
                code: FailureCode::Other,
                message: format!(
                    "The reading engine {} cannot be started: {error}.",
                    program.display()
                ),
                advice: Some(
                    "Install Lectern again, or set LECTERN_BIN to the engine's path.".into(),
                ),
            })?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            unreachable!("all three were asked for as pipes");
        };
        let running = Arc::new(AtomicBool::new(true));
        let still_running = Arc::clone(&running);
        let life = tokio::spawn(async move {
            let writing = tokio::spawn(write_calls(stdin, calls));
            let words = Arc::default();
            let reporting = tokio::spawn(keep_last_words(stderr, Arc::clone(&words)));
            let mut lines = BufReader::new(stdout).lines();
            let hear = |line: String| match serde_json::from_str::<Reply>(&line) {
                Ok(reply) => on_reply(reply),
                Err(error) => tracing::warn!(%error, line, "not a line of the protocol"),
            };
            let status = loop {
                tokio::select! {
                    biased;
                    line = lines.next_line() => match line {
                        Ok(Some(line)) => hear(line),
                        // It can no longer answer: if it lives, it is of no use.
                        _ => break match timeout(LAST_MOMENT, child.wait()).await {
                            Ok(status) => status.ok(),
                            Err(_) => {
                                let _ = child.kill().await;
                                None
                            }
                        },
                    },
                    // A process of its own may outlive it and hold its pipes open: its death is what counts.
                    status = child.wait() => {
                        while let Ok(Ok(Some(line))) = timeout(LAST_MOMENT, lines.next_line()).await {
                            hear(line);
                        }
                        break status.ok();
                    }
                }
            };
            still_running.store(false, Ordering::Release);
            writing.abort();
            let _ = timeout(LAST_MOMENT, reporting).await;
            let words = words.lock().unwrap_or_else(PoisonError::into_inner).clone();
            on_end(obituary(status, &words));
        });
        Ok(Process { running, life })
    }

    /// Whether it still answers.
    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Waits for the end after stdin was closed; kills it once `patience` is over.
    pub(super) async fn end(&mut self, patience: Duration) {
        if timeout(patience, &mut self.life).await.is_err() {
            // Dropping the task drops the child, which is killed on drop.
            self.life.abort();
        }
    }
}

async fn write_calls(mut stdin: ChildStdin, mut calls: mpsc::UnboundedReceiver<Call>) {
    while let Some(call) = calls.recv().await {
        let mut line = match serde_json::to_vec(&call) {
            Ok(line) => line,
            Err(error) => {
                tracing::error!(%error, "a call that is no JSON");
                continue;
            }
        };
        line.push(b'\n');
        if stdin.write_all(&line).await.is_err() || stdin.flush().await.is_err() {
            return;
        }
    }
}

async fn keep_last_words(stderr: ChildStderr, kept: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("{line}");
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == LAST_WORDS {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

fn obituary(status: Option<ExitStatus>, words: &VecDeque<String>) -> String {
    let how = match status {
        Some(status) if status.success() => "ended".to_owned(),
        Some(status) => match (killed_by(status), status.code()) {
            (Some(9), _) => "was killed, perhaps because memory ran out".to_owned(),
            (Some(signal), _) => format!("was ended by signal {signal}"),
            (None, Some(code)) => format!("ended with error {code}"),
            (None, None) => "ended".to_owned(),
        },
        None => "stopped answering".to_owned(),
    };
    match words.iter().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("The reading engine {how}. It last said: {}", line.trim()),
        None => format!("The reading engine {how}."),
    }
}

#[cfg(unix)]
fn killed_by(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn killed_by(_: ExitStatus) -> Option<i32> {
    None
}
