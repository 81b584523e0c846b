//! One question and its answer over HTTP.

use super::certificates::root_certificates;
use super::chunk::{self, Finish, Piece, Said};
use super::error::clean;
use super::events::Events;
use super::refusal::{header, is_about_length};
use super::thought::Thought;
use super::{Address, EndpointError, LOOK_AGAIN};
use crate::attention::CancelFlag;
use lectern_models::ChatMessage;
use lectern_protocol::{Endpoint, Secret};
use serde::Serialize;
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use ureq::http::{Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// Longest wait for a connection.
pub(super) const CONNECTING: Duration = Duration::from_secs(10);

/// Longest wait for the next byte: a busy server reads a long prompt for minutes before it says a word.
const SILENCE: Duration = Duration::from_secs(300);

/// Bytes of an answer at most: some 60,000 tokens.
const LONGEST_ANSWER: usize = 256 << 10;

/// Bytes of a whole stream at most, with everything that servers wrap around each word.
const LONGEST_STREAM: usize = 64 << 20;

/// Pieces that may wait to be told; beyond that the server waits.
const PIECES_AHEAD: usize = 256;

/// A server, ready to be asked.
#[derive(Debug, Clone)]
pub struct Server {
    pub(super) address: Address,
    pub(super) model: String,
    pub(super) key: Option<Secret>,
    pub(super) silence: Duration,
}

/// A question as it is sent.
#[derive(Debug, Clone)]
pub struct Chat {
    /// Who said what, the question last.
    pub messages: Vec<ChatMessage>,
    /// Tokens of the answer at most.
    pub max_tokens: usize,
    /// 0 for the likeliest words.
    pub temperature: f32,
    /// Of the server's sampler.
    pub seed: Option<u64>,
}

/// How an answer ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Stopped by whoever asked.
    pub stopped: bool,
    /// Its tokens: as the server counted them, else its pieces.
    pub tokens: u32,
}

/// The request's body.
#[derive(Serialize)]
struct Request<'c> {
    model: &'c str,
    messages: &'c [ChatMessage],
    max_tokens: usize,
    temperature: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    stream: bool,
}

type Heard = Result<Piece, EndpointError>;

impl Server {
    /// The server of the settings, with its key.
    ///
    /// # Errors
    /// If its address is none, or no model is named.
    pub fn new(endpoint: &Endpoint, key: Option<Secret>) -> Result<Server, EndpointError> {
        let address = Address::parse(&endpoint.url)?;
        let model = endpoint.model.trim().to_owned();
        if model.is_empty() {
            return Err(EndpointError::NoModelNamed {
                host: address.host(),
            });
        }
        Ok(Server {
            address,
            model,
            key,
            silence: SILENCE,
        })
    }

    /// Who answers, as answers carry it.
    pub fn name(&self) -> String {
        format!("{} at {}", self.model, self.address.host())
    }

    /// Asks; `each` is given the answer's pieces as they come, on this thread, and may end it. Ends the connection as soon
    /// as `cancel` is raised, also before it stands.
    ///
    /// # Errors
    /// What the server or the way there failed with; pieces that came before are the answer's.
    pub fn ask(
        &self,
        chat: &Chat,
        cancel: &CancelFlag,
        each: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Ended, EndpointError> {
        let body = serde_json::to_string(&Request {
            model: &self.model,
            messages: &chat.messages,
            max_tokens: chat.max_tokens,
            temperature: chat.temperature,
            seed: chat.seed,
            stream: true,
        })
        .map_err(|error| EndpointError::Malformed {
            host: self.address.host(),
            reason: error.to_string(),
        })?;
        let line = Line(self.agent()?);
        let (tell, heard) = sync_channel(PIECES_AHEAD);
        let (server, agent) = (self.clone(), line.0.clone());
        // It is not waited for: it ends by itself once the line is cut, a connection that does not come about after a while.
        std::thread::spawn(move || {
            if let Err(error) = server.exchange(&agent, body, &tell) {
                // Nobody listens after a stop.
                let _ = tell.send(Err(error));
            }
        });
        self.listen(&heard, cancel, each)
    }

    fn listen(
        &self,
        heard: &Receiver<Heard>,
        cancel: &CancelFlag,
        each: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Ended, EndpointError> {
        let host = || self.address.host();
        let mut thought = Thought::default();
        let (mut pieces, mut counted, mut bytes, mut said_any) = (0, None, 0, false);
        let mut finish = None;
        let ended = |stopped, counted: Option<u32>, pieces| Ended {
            stopped,
            tokens: counted.unwrap_or(pieces),
        };
        loop {
            if cancel.is_cancelled() {
                return Ok(ended(true, counted, pieces));
            }
            let piece = match heard.recv_timeout(LOOK_AGAIN) {
                Ok(piece) => piece?,
                Err(RecvTimeoutError::Timeout) => continue,
                // The stream is at its end.
                Err(RecvTimeoutError::Disconnected) => break,
            };
            counted = piece.tokens.or(counted);
            finish = piece.finish.or(finish);
            if !piece.text.is_empty() {
                pieces += 1;
                bytes += piece.text.len();
                if bytes > LONGEST_ANSWER {
                    return Err(EndpointError::TooMuch {
                        host: host(),
                        what: "an answer",
                        limit: LONGEST_ANSWER,
                    });
                }
                let text = thought.push(&piece.text);
                said_any |= !text.trim().is_empty();
                if !text.is_empty() && each(&text).is_break() {
                    return Ok(ended(false, counted, pieces));
                }
            }
        }
        let rest = thought.finish();
        said_any |= !rest.trim().is_empty();
        if !rest.is_empty() {
            let _ = each(&rest);
        }
        match finish {
            None => Err(EndpointError::CutOff { host: host() }),
            Some(Finish::Filter) => Err(EndpointError::Withheld { host: host() }),
            Some(finish) if !said_any => Err(EndpointError::NothingSaid {
                host: host(),
                all_used: finish == Finish::Length,
            }),
            Some(_) => Ok(ended(false, counted, pieces)),
        }
    }

    /// Sends the question and passes on what comes, until the stream ends or nobody listens.
    fn exchange(
        &self,
        agent: &Agent,
        body: String,
        tell: &SyncSender<Heard>,
    ) -> Result<(), EndpointError> {
        let mut request = agent
            .post(self.address.chat())
            .header("Content-Type", "application/json")
            .header("Accept", "text/event-stream");
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {}", key.reveal()));
        }
        let response = request
            .send(body)
            .map_err(|error| self.no_response(error))?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response));
        }
        let found = header(&response, "content-type");
        let announced = found.trim().to_ascii_lowercase();
        if !announced.starts_with("text/event-stream") {
            return Err(EndpointError::NoStream {
                host: self.address.host(),
                found: clean(&found),
            });
        }
        self.read_stream(response, tell)
    }

    fn read_stream(
        &self,
        response: Response<Body>,
        tell: &SyncSender<Heard>,
    ) -> Result<(), EndpointError> {
        let host = || self.address.host();
        let mut reader = response
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        let mut events = Events::default();
        let mut buffer = vec![0; 16 << 10];
        let mut bytes = 0;
        loop {
            let read = reader
                .read(&mut buffer)
                .map_err(|error| self.broken_stream(&error))?;
            if read == 0 {
                return Ok(());
            }
            bytes += read;
            if bytes > LONGEST_STREAM {
                return Err(EndpointError::TooMuch {
                    host: host(),
                    what: "a stream",
                    limit: LONGEST_STREAM,
                });
            }
            let mut said = Vec::new();
            let held = events.push(&buffer[..read], &mut |data| said.push(chunk::read(data)));
            for said in said {
                match said {
                    Ok(Said::Piece(piece)) => {
                        if tell.send(Ok(piece)).is_err() {
                            return Ok(());
                        }
                    }
                    Ok(Said::Done) => return Ok(()),
                    Ok(Said::Failed(words)) => {
                        return Err(match is_about_length(&words, "") {
                            true => EndpointError::TooLong {
                                host: host(),
                                said: self.quoted(&words),
                            },
                            false => EndpointError::GaveUp {
                                host: host(),
                                said: self.quoted(&words),
                            },
                        });
                    }
                    Err(reason) => {
                        return Err(EndpointError::Malformed {
                            host: host(),
                            reason: self.quoted(&reason),
                        });
                    }
                }
            }
            held.map_err(|_| EndpointError::Malformed {
                host: host(),
                reason: "one of its events does not end".to_owned(),
            })?;
        }
    }

    /// A client for one question. Nothing is kept between questions: an open connection would tell the server when
    /// Lectern runs.
    fn agent(&self) -> Result<Agent, EndpointError> {
        let roots = match self.address.is_encrypted() {
            true => root_certificates()?,
            false => RootCerts::WebPki,
        };
        let config = Agent::config_builder()
            .timeout_resolve(Some(CONNECTING))
            .timeout_connect(Some(CONNECTING))
            .timeout_per_read(Some(self.silence))
            .timeout_per_write(Some(self.silence))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("lectern/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build());
        // A proxy for the world outside has nothing to do with this machine.
        Ok(match self.address.is_loopback() {
            true => config.proxy(None).build(),
            false => config.build(),
        }
        .into())
    }
}

/// A connection that ends when this is dropped, whatever the thread that reads from it waits for.
struct Line(Agent);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.clone().shutdown();
    }
}
