//! The engine process: started when it is first needed, spoken to in lines, started again after a death.
//!
//! One task writes calls to its stdin, one reads replies from its stdout and hands each to the call it belongs to.
//! When the process ends, for whatever reason, every call in flight fails at once with a message a person can read,
//! and the next call starts a fresh process: what was read is on disk, so nothing but the open chunk is lost. The
//! restart is left to the next call, because an engine that dies at start would otherwise be started for ever.

mod process;
mod program;

use lectern_protocol::{Call, Event, Failure, FailureCode, Outcome, PROTOCOL_VERSION, Request};
use process::Process;
pub use program::RunsOn;
use serde::{Deserialize, Serialize};
use specta::Type;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The engine process ended while it was wanted; calls in flight have failed, the next call starts it again.
#[derive(Debug, Clone, Serialize, Deserialize, Type, tauri_specta::Event)]
pub struct EngineStopped {
    /// What happened, in words for a person.
    pub message: String,
}

/// Takes the events of one call.
pub type OnEvent = Box<dyn FnMut(Event) + Send>;

/// A handle on the engine process. Clones share it.
#[derive(Clone)]
pub struct Engine {
    program: Arc<PathBuf>,
    on_stop: Arc<dyn Fn(EngineStopped) + Send + Sync>,
    calls: Arc<Mutex<Calls>>,
    /// Held while a process is started and greeted, so that two calls never start two.
    process: Arc<tokio::sync::Mutex<Option<Process>>>,
    /// Where it computes; nothing is known before the first start.
    runs_on: Arc<Mutex<Option<RunsOn>>>,
}

/// Calls in flight, and the way to the process that works on them.
#[derive(Default)]
struct Calls {
    next_id: u32,
    to_engine: Option<mpsc::UnboundedSender<Call>>,
    /// Counts processes: the end of one must not fail the calls of the next, which may have started by then.
    life: u64,
    /// Whether the process that runs now has said who it is. The end of one that has not is told by the failure of
    /// the call that started it, and by nothing else: whoever listens would start the next, and so for ever.
    greeted: bool,
    waiting: HashMap<u32, Waiting>,
    /// The web view's own key of a call, to the id the engine knows it by.
    keys: HashMap<u32, u32>,
}

struct Waiting {
    /// Of the process that works on it.
    life: u64,
    on_event: OnEvent,
    finish: oneshot::Sender<Result<Outcome, Failure>>,
}

impl Engine {
    /// An engine that will run `program serve`. `on_stop` hears of every unwanted end.
    pub fn new(
        program: PathBuf,
        on_stop: impl Fn(EngineStopped) + Send + Sync + 'static,
    ) -> Engine {
        Engine {
            program: Arc::new(program),
            on_stop: Arc::new(on_stop),
            calls: Arc::default(),
            process: Arc::default(),
            runs_on: Arc::default(),
        }
    }

    /// Where the engine computes, once it has been started.
    pub fn runs_on(&self) -> Option<RunsOn> {
        let runs_on = self.runs_on.lock();
        runs_on
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// The program to start: chosen when it is first needed; one that ran on the GPU and ended without being asked to
    /// is not started again before the window is.
    async fn program(&self) -> PathBuf {
        let died_on_gpu = self.runs_on().is_some_and(|runs_on| runs_on.gpu);
        let (program, runs_on) = if died_on_gpu {
            let words = "The engine ended while it used the GPU, so it computes without it until Lectern is started again.";
            let runs_on = RunsOn {
                gpu: false,
                words: Some(words.to_owned()),
            };
            ((*self.program).clone(), runs_on)
        } else if let Some(before) = self.runs_on() {
            ((*self.program).clone(), before)
        } else {
            program::choose(&self.program).await
        };
        *self
            .runs_on
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(runs_on);
        program
    }

    /// Sends a request and waits for its outcome; events go to `on_event` in order. Starts the process if none runs.
    ///
    /// `key`, if given, names the call for [`Engine::cancel`].
    pub async fn call(
        &self,
        key: Option<u32>,
        request: Request,
        on_event: OnEvent,
    ) -> Result<Outcome, Failure> {
        self.ensure_running().await?;
        let answer = self.send(key, request, on_event)?;
        let outcome = answer.await.unwrap_or_else(|_| Err(gone()));
        if let Some(key) = key {
            self.lock().keys.remove(&key);
        }
        outcome
    }

    /// Asks the engine to end the call the web view named `key`; nothing happens if it is finished already.
    pub fn cancel(&self, key: u32) {
        let mut calls = self.lock();
        let Some(&call) = calls.keys.get(&key) else {
            return;
        };
        let id = calls.take_id();
        if let Some(to_engine) = &calls.to_engine {
            // The reply to this line belongs to no waiting call and is dropped; the other call's failure is the answer.
            let request = Request::Cancel { call };
            let _ = to_engine.send(Call { id, request });
        }
    }

    /// Closes the engine's stdin, which means "finish what must not be torn, then exit", and waits up to `patience`.
    pub async fn shut_down(&self, patience: Duration) {
        self.lock().to_engine = None;
        if let Some(mut process) = self.process.lock().await.take() {
            process.end(patience).await;
        }
    }

    async fn ensure_running(&self) -> Result<(), Failure> {
        let mut process = self.process.lock().await;
        if process.as_ref().is_some_and(Process::is_running) {
            return Ok(());
        }
        let program = self.program().await;
        let (to_engine, from_window) = mpsc::unbounded_channel();
        let on_reply = {
            let engine = self.clone();
            move |reply| engine.dispatch(reply)
        };
        let life = {
            let mut calls = self.lock();
            calls.life += 1;
            calls.to_engine = Some(to_engine);
            calls.greeted = false;
            calls.life
        };
        let on_end = {
            let engine = self.clone();
            move |message: String| engine.bury(life, &message)
        };
        *process = Some(Process::start(&program, from_window, on_reply, on_end)?);
        // Greet it before any call goes through: another version of the protocol would fail in stranger ways later.
        let hello = self.send(None, Request::Hello, Box::new(|_| {}))?;
        match hello.await.unwrap_or_else(|_| Err(gone()))? {
            Outcome::Hello(hello) if hello.protocol == PROTOCOL_VERSION => {
                self.lock().greeted = true;
                Ok(())
            }
            Outcome::Hello(hello) => {
                if let Some(mut other) = process.take() {
                    self.lock().to_engine = None;
                    other.end(Duration::from_secs(1)).await;
                }
                Err(Failure {
                    code: FailureCode::Other,
                    message: format!(
                        "{} speaks version {} of the protocol, this window version {PROTOCOL_VERSION}.",
                        self.program.display(),
                        hello.protocol
                    ),
                    advice: Some("Install the window and the engine from the same release.".into()),
                })
            }
            _ => Err(failure(format!(
                "{} did not say who it is.",
                self.program.display()
            ))),
        }
    }

    fn send(
        &self,
        key: Option<u32>,
        request: Request,
        on_event: OnEvent,
    ) -> Result<oneshot::Receiver<Result<Outcome, Failure>>, Failure> {
        let (finish, answer) = oneshot::channel();
        let mut calls = self.lock();
        let (id, life) = (calls.take_id(), calls.life);
        let waiting = Waiting {
            life,
            on_event,
            finish,
        };
        calls.waiting.insert(id, waiting);
        if let Some(key) = key {
            calls.keys.insert(key, id);
        }
        let sent = calls
            .to_engine
            .as_ref()
            .is_some_and(|to_engine| to_engine.send(Call { id, request }).is_ok());
        if !sent {
            calls.waiting.remove(&id);
            return Err(gone());
        }
        Ok(answer)
    }

    fn dispatch(&self, reply: lectern_protocol::Reply) {
        use lectern_protocol::ReplyBody;
        let mut calls = self.lock();
        let result = match reply.body {
            ReplyBody::Event(event) => {
                if let Some(waiting) = calls.waiting.get_mut(&reply.id) {
                    (waiting.on_event)(event);
                }
                return;
            }
            ReplyBody::Result(outcome) => Ok(outcome),
            ReplyBody::Error(failure) => Err(failure),
        };
        if let Some(waiting) = calls.waiting.remove(&reply.id) {
            // The receiver is gone only if the window is closing.
            let _ = waiting.finish.send(result);
        }
    }

    /// Fails every call that a process was working on when it ended.
    fn bury(&self, life: u64, message: &str) {
        let (unwanted, waiting) = {
            let mut calls = self.lock();
            let current = calls.life == life;
            let unwanted = current && calls.to_engine.take().is_some() && calls.greeted;
            let waiting: Vec<Waiting> = calls
                .waiting
                .extract_if(|_, call| call.life == life)
                .map(|(_, call)| call)
                .collect();
            (unwanted, waiting)
        };
        for call in waiting {
            let _ = call.finish.send(Err(failure(message.to_owned())));
        }
        if unwanted {
            (self.on_stop)(EngineStopped {
                message: message.to_owned(),
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Calls {
    fn take_id(&mut self) -> u32 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }
}

/// The engine's executable: `LECTERN_BIN`, else `lectern` beside this program.
pub fn find_program() -> PathBuf {
    let name = format!("lectern{}", std::env::consts::EXE_SUFFIX);
    if let Some(program) = std::env::var_os("LECTERN_BIN") {
        return program.into();
    }
    std::env::current_exe()
        .ok()
        .and_then(|window| window.parent().map(|folder| folder.join(&name)))
        .filter(|program| Path::is_file(program))
        .unwrap_or_else(|| name.into())
}

fn gone() -> Failure {
    failure("The reading engine is not running.".into())
}

fn failure(message: String) -> Failure {
    Failure {
        code: FailureCode::Other,
        message,
        advice: Some("Try again: the engine is started anew, and what was read is kept.".into()),
    }
}

#[cfg(test)]
mod tests;
