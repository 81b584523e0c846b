//! A client of `lectern serve`.

use crate::Home;
use anyhow::{Context, Result, bail, ensure};
use lectern_protocol::{Call, Event, Failure, Outcome, Reply, ReplyBody, Request};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Longer than anything a test waits for, on a slow and busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// A running `lectern serve`; killed when dropped.
pub struct Serve {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Replies to calls nobody has waited for yet.
    early: VecDeque<Reply>,
    next_id: u32,
}

/// Everything that came for one call.
#[derive(Debug)]
pub struct Conclusion {
    /// In order.
    pub events: Vec<Event>,
    /// The last line.
    pub result: Result<Outcome, Failure>,
}

impl Conclusion {
    /// The outcome, or the failure as an error.
    pub fn outcome(self) -> Result<Outcome> {
        self.result
            .map_err(|failure| anyhow::anyhow!("{failure:?}"))
    }

    /// The failure; an error if it succeeded.
    pub fn failure(self) -> Result<Failure> {
        match self.result {
            Ok(outcome) => bail!("it should have failed: {outcome:?}"),
            Err(failure) => Ok(failure),
        }
    }
}

impl Serve {
    /// Starts `lectern serve` in a library.
    pub fn start(home: &Home) -> Result<Serve> {
        let mut child = home
            .lectern(["serve"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("lectern serve could not be started")?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("stdout was asked for")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Serve {
            child,
            input,
            lines,
            early: VecDeque::new(),
            next_id: 1,
        })
    }

    /// Process id.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a request and returns its id at once.
    pub fn send(&mut self, request: Request) -> Result<u32> {
        let id = self.next_id;
        self.next_id += 1;
        let line = serde_json::to_string(&Call { id, request })?;
        self.send_line(&line)?;
        Ok(id)
    }

    /// Sends a line as it is.
    pub fn send_line(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("stdin was closed")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
    }

    /// The next reply to any call.
    pub fn next_reply(&mut self) -> Result<Reply> {
        if let Some(reply) = self.early.pop_front() {
            return Ok(reply);
        }
        self.receive(Instant::now() + PATIENCE)
    }

    /// Waits for the next event of a call; an error if the call ends first.
    pub fn next_event(&mut self, id: u32) -> Result<Event> {
        match self.reply_to(id)? {
            ReplyBody::Event(event) => Ok(event),
            end => bail!("call {id} ended while an event was waited for: {end:?}"),
        }
    }

    /// Waits for the end of a call.
    pub fn conclude(&mut self, id: u32) -> Result<Conclusion> {
        let mut events = Vec::new();
        loop {
            let result = match self.reply_to(id)? {
                ReplyBody::Event(event) => {
                    events.push(event);
                    continue;
                }
                ReplyBody::Result(outcome) => Ok(outcome),
                ReplyBody::Error(failure) => Err(failure),
            };
            return Ok(Conclusion { events, result });
        }
    }

    /// Sends a request and waits for its end.
    pub fn call(&mut self, request: Request) -> Result<Conclusion> {
        let id = self.send(request)?;
        self.conclude(id)
    }

    /// Closes its input and waits for it to end by itself.
    pub fn close(mut self) -> Result<ExitStatus> {
        drop(self.input.take());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(
                Instant::now() < deadline,
                "lectern serve goes on after the end of its input"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `kill -9`.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn reply_to(&mut self, id: u32) -> Result<ReplyBody> {
        if let Some(place) = self.early.iter().position(|reply| reply.id == id)
            && let Some(reply) = self.early.remove(place)
        {
            return Ok(reply.body);
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reply = self.receive(deadline)?;
            if reply.id == id {
                return Ok(reply.body);
            }
            self.early.push_back(reply);
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<Reply> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let line = match self.lines.recv_timeout(patience) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                bail!("no line from lectern serve for {PATIENCE:?}")
            }
            Err(RecvTimeoutError::Disconnected) => bail!("lectern serve has ended"),
        };
        serde_json::from_str(&line).with_context(|| format!("not a reply: {line}"))
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // It may have ended already; either way nothing of it is left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
