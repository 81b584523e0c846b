//! A question that a server answers, from passages that were picked here; what it says is cited here.

use super::answer::{GrowingAnswer, cited};
use super::document::in_order;
use super::{OpenDocument, Sampling, Turn};
use crate::attention::CancelFlag;
use crate::document::Span;
use crate::endpoint::{BYTES_A_TOKEN, Chat, Ended, EndpointError, Server};
use crate::reading::{asked, gap, messages};
use lectern_protocol::{Answer, AskStage, Event, Strategy, TextSpan, Timings};
use std::ops::ControlFlow;
use std::time::Instant;

/// What part of the passages is sent again to a server whose window was too small for all: a budget for 8,192 tokens then
/// fits 4,096.
const LESS: usize = 3;

/// A question for a server.
#[derive(Debug, Clone)]
pub struct ServedQuestion<'q> {
    /// In any language.
    pub text: &'q str,
    /// What the model is told behind it, such as how long to answer; no part of what its answer is cited for.
    pub told: Option<&'q str>,
    /// Earlier turns of the conversation, oldest first; the last two are used, 512 tokens at most.
    pub history: &'q [Turn],
    /// Tokens of the answer at most.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens of the document that go along at most.
    pub document_tokens: usize,
}

/// Asks `server` about `document`. `pick` gives the spans that go along, so many bytes of them at most; they are picked
/// again, once, if the server's window is too small.
///
/// With an answer that broke off comes why; what was said until then is in it, [`Answer::stopped`] is set, and its
/// sentences are cited like any others. `on_event` is called from this thread.
///
/// # Errors
/// Why nothing was said at all.
pub fn ask_server(
    server: &Server,
    document: &OpenDocument,
    question: &ServedQuestion,
    pick: &dyn Fn(usize) -> Vec<Span>,
    cancel: &CancelFlag,
    on_event: &mut dyn FnMut(Event),
) -> Result<(Answer, Option<EndpointError>), EndpointError> {
    let started = Instant::now();
    let mut budget = question.document_tokens * BYTES_A_TOKEN;
    let mut asked = Asked::new(document, question, pick(budget), started);
    let mut ended = asked.ask(server, cancel, on_event);
    if let Err(EndpointError::TooLong { .. }) = ended
        && asked.said_nothing()
    {
        budget = budget.min(asked.bytes()) / LESS;
        asked = Asked::new(document, question, pick(budget), started);
        ended = asked.ask(server, cancel, on_event);
    }
    on_event(Event::Stage {
        stage: AskStage::Citing,
    });
    match ended {
        Err(error) if asked.said_nothing() => Err(error),
        Err(error) => {
            let ended = Ended {
                stopped: true,
                tokens: asked.pieces,
            };
            Ok((asked.finish(server, ended, on_event), Some(error)))
        }
        Ok(ended) => Ok((asked.finish(server, ended, on_event), None)),
    }
}

/// A question with the passages that go along, and the answer as it grows.
struct Asked<'a> {
    document: &'a OpenDocument,
    question: &'a ServedQuestion<'a>,
    coverage: Vec<Span>,
    growing: GrowingAnswer,
    started: Instant,
    first_at: Option<Instant>,
    pieces: u32,
}

impl<'a> Asked<'a> {
    fn new(
        document: &'a OpenDocument,
        question: &'a ServedQuestion<'a>,
        passages: Vec<Span>,
        started: Instant,
    ) -> Asked<'a> {
        Asked {
            document,
            question,
            coverage: in_order(&passages, &document.document.text),
            growing: GrowingAnswer::default(),
            started,
            first_at: None,
            pieces: 0,
        }
    }

    fn said_nothing(&self) -> bool {
        self.first_at.is_none()
    }

    /// Bytes of the document that go along.
    fn bytes(&self) -> usize {
        self.coverage.iter().map(|span| span.len()).sum()
    }

    fn ask(
        &mut self,
        server: &Server,
        cancel: &CancelFlag,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Ended, EndpointError> {
        let question = self.question;
        let (temperature, seed) = match question.sampling {
            Sampling::Greedy => (0.0, None),
            Sampling::Seeded { seed, temperature } => (temperature, Some(seed)),
        };
        let chat = Chat {
            messages: messages(
                &excerpt(self.document, &self.coverage),
                question.history,
                &asked(question.text, question.told),
                BYTES_A_TOKEN,
            ),
            max_tokens: question.max_tokens,
            temperature,
            seed,
        };
        on_event(Event::Stage {
            stage: AskStage::WaitingForEndpoint,
        });
        server.ask(&chat, cancel, &mut |piece| self.hear(piece, on_event))
    }

    /// Takes a piece of the answer; ends it where it goes in circles.
    fn hear(&mut self, piece: &str, on_event: &mut dyn FnMut(Event)) -> ControlFlow<()> {
        let text = self.growing.push(piece).to_owned();
        if text.is_empty() {
            return ControlFlow::Continue(());
        }
        self.pieces += 1;
        if self.first_at.is_none() {
            self.first_at = Some(Instant::now());
            on_event(Event::Stage {
                stage: AskStage::Answering,
            });
        }
        on_event(Event::Token { text });
        match self.cite(false, on_event) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn cite(&mut self, finished: bool, on_event: &mut dyn FnMut(Event)) -> bool {
        let (document, question) = (self.document, self.question.text);
        self.growing.cite_whole_sentences(
            finished,
            // A server tells nothing of its attention: citations rest on words.
            &mut |span, words| cited(document, question, span, words, None),
            on_event,
        )
    }

    fn finish(mut self, server: &Server, ended: Ended, on_event: &mut dyn FnMut(Event)) -> Answer {
        self.cite(true, on_event);
        let citing = self.growing.citing();
        let first_at = self.first_at.unwrap_or(self.started);
        let seconds = first_at.elapsed().saturating_sub(citing).as_secs_f64();
        let (answer, sentences) = self.growing.finish();
        Answer {
            question: self.question.text.to_owned(),
            answer,
            sentences,
            coverage: self.coverage.iter().copied().map(TextSpan::from).collect(),
            timings: Timings {
                first_token_ms: (first_at - self.started).as_secs_f64() * 1e3,
                tokens: ended.tokens,
                decode_tokens_per_s: match ended.tokens {
                    2.. if seconds > 0.0 => f64::from(ended.tokens - 1) / seconds,
                    _ => 0.0,
                },
                cite_s: citing.as_secs_f64(),
                ..Timings::default()
            },
            model: server.name(),
            strategy: Strategy::Endpoint,
            conversation: None,
            stopped: ended.stopped,
            far: false,
            nearest: Vec::new(),
            looked_for: None,
        }
    }
}

/// The passages as they are sent, with marks where text is left out; as they are read on this machine.
fn excerpt(document: &OpenDocument, passages: &[Span]) -> String {
    let document = &document.document;
    let mut excerpt = String::new();
    let mut end = 0;
    for span in passages {
        if !document.text[end..span.start].trim().is_empty() {
            excerpt.push_str(&gap(document.belongs_to(*span)));
        }
        excerpt.push_str(span.of(&document.text).unwrap_or_default());
        end = span.end;
    }
    if !document.text[end..].trim().is_empty() {
        excerpt.push_str(&gap(None));
    }
    excerpt
}
