//! One question being worked: the document's ground, the question read behind it, the answer drawn token by token.

use super::answer::{GrowingAnswer, cited};
use super::document::OpenDocument;
use super::ground::Opened;
use super::lookup;
use super::sampler::{Sampler, goes_in_circles};
use super::{AskError, Ground, Listener, Question, Reader};
use crate::attention::CancelFlag;
use crate::citing::{AttentionEvidence, sentence_mass};
use crate::document::Span;
use crate::reading::{Suffix, asked, suffix};
use lectern_models::attention::AttentionError;
use lectern_models::{ForwardError, Logits, Model};
use lectern_protocol::{Answer, AskStage, Event, TextSpan, Timings};
use std::collections::VecDeque;
use std::time::Instant;

/// Question tokens read at a time; attention is recorded for passes no longer than this.
const QUESTION_CHUNK: usize = 64;

/// A question being worked.
pub(super) struct Conversation<'c> {
    model: &'c Model,
    document: &'c OpenDocument,
    question: &'c Question<'c>,
    cancel: &'c CancelFlag,
    opened: Opened,
    suffix: Suffix,
    /// Tokens of an answer at most: what was asked for, or what the window leaves.
    max_tokens: usize,
    recorded: bool,
    /// `[rows, vocabulary]`, of the last pass of which any were wanted.
    logits: Vec<f32>,
    /// Tokens that were guessed to come next and are in the attention's tail already; the last rows of `logits` are what
    /// comes after each.
    guessed: VecDeque<u32>,
    mass: QuestionMass,
    growing: GrowingAnswer,
    timings: Timings,
    stopped: bool,
}

/// Attention by sentence of the document, before the answer.
#[derive(Default)]
struct QuestionMass {
    /// Of the rows between document and question.
    null: Vec<f32>,
    /// Of the rows from the question on.
    question: Vec<f32>,
}

impl<'c> Conversation<'c> {
    /// Opens the ground and makes the prompt; nothing of the question is computed yet.
    pub fn open(
        reader: &Reader<'c>,
        document: &'c OpenDocument,
        ground: &Ground,
        question: &'c Question<'c>,
        cancel: &'c CancelFlag,
        listener: &mut Listener,
    ) -> Result<Conversation<'c>, AskError> {
        let model = reader.model;
        let suffix = suffix(
            model.chat_template(),
            model.tokenizer(),
            question.history,
            &asked(question.text, question.told),
        )?;
        let mut opened = ground.open(model, document, cancel, listener)?;
        let window = model.context_length();
        let tokens = opened.attention.tokens() + suffix.tokens.len();
        if tokens >= window {
            return Err(AskError::NoRoom { tokens, window });
        }
        #[cfg(feature = "cuda")]
        let gpu = ground.format().map(|format| crate::attention::GpuRead {
            spread: crate::model::spread_of(model),
            format,
            cached_tokens: opened.attention.tokens(),
            // Guessed tokens may reach a pass beyond the last one said.
            window_tokens: suffix.tokens.len() + question.max_tokens + QUESTION_CHUNK,
            pass_tokens: QUESTION_CHUNK,
        });
        let look_at = question.look_at;
        #[cfg(feature = "cuda")]
        let look_at = look_at.filter(|_| {
            gpu.as_ref()
                .is_none_or(|gpu| !gpu.is_best_whole(model.shape()))
        });
        match ground.kept_index() {
            Some(kept) => opened.attention.look_at_with(look_at, kept),
            None => opened.attention.look_at(look_at),
        }
        #[cfg(feature = "cuda")]
        if let Some(gpu) = gpu {
            opened.attention.use_gpu_if_sound(&gpu);
        }
        opened.attention.record(reader.retrieval_heads);
        Ok(Conversation {
            model,
            document,
            question,
            cancel,
            opened,
            suffix,
            max_tokens: question.max_tokens.min(window - tokens),
            recorded: !reader.retrieval_heads.is_empty(),
            logits: Vec::new(),
            guessed: VecDeque::new(),
            mass: QuestionMass::default(),
            growing: GrowingAnswer::default(),
            timings: Timings::default(),
            stopped: false,
        })
    }

    /// Reads the question, so that the answer's first token can be chosen; `false` if it was stopped.
    pub fn read_question(&mut self) -> Result<bool, AskError> {
        let tokens = std::mem::take(&mut self.suffix.tokens);
        let (before, from_question) = tokens.split_at(self.suffix.question.start);
        let (opening, earlier) = before.split_at(self.suffix.opening);
        // only the rows before any question are a null: earlier turns know what they were about
        for (rows, null) in [(opening, true), (earlier, false)] {
            for chunk in rows.chunks(QUESTION_CHUNK) {
                if !self.forward(chunk, Logits::None)? {
                    return Ok(false);
                }
            }
            let mass = self.take_mass();
            if null {
                self.mass.null = mass;
            }
        }
        for chunk in from_question.chunks(QUESTION_CHUNK) {
            if !self.forward(chunk, Logits::Last)? {
                return Ok(false);
            }
        }
        self.mass.question = self.take_mass();
        Ok(true)
    }

    /// Draws the answer to the question that was read, and cites its sentences as they become whole.
    pub fn answer(&mut self, started: Instant, listener: &mut Listener) -> Result<(), AskError> {
        let mut sampler = Sampler::new(self.question.sampling);
        let mut stream = self.model.tokenizer().stream();
        let mut said: Vec<u32> = Vec::new();
        let mut first_at: Option<Instant> = None;
        let mut row = Some(0);
        while let Some(nth) = row {
            let vocabulary = self.model.vocabulary_size();
            let after_last = self.logits.chunks_exact(vocabulary).nth(nth);
            let token = after_last.and_then(|logits| sampler.next(logits));
            let token = token.ok_or(AskError::NoLogits)?;
            if first_at.is_none() {
                self.timings.first_token_ms = started.elapsed().as_secs_f64() * 1e3;
                first_at = Some(Instant::now());
                listener.stage(AskStage::Answering);
            }
            if self.model.ends_answer(token) {
                break;
            }
            said.push(token);
            if let Some(piece) = stream.push(token) {
                let text = self.growing.push(&piece).to_owned();
                if !text.is_empty() {
                    listener.event(Event::Token { text });
                }
            }
            let repeated = self.cite_whole_sentences(false, listener);
            if repeated || said.len() >= self.max_tokens || goes_in_circles(&said) {
                break;
            }
            if self.cancel.is_cancelled() {
                self.stopped = true;
                break;
            }
            row = self.after(&said)?;
        }
        if let Some(rest) = stream.finish() {
            let text = self.growing.push(&rest).to_owned();
            listener.event(Event::Token { text });
        }
        self.timings.tokens = said.len() as u32;
        if let Some(first_at) = first_at {
            let seconds = (first_at.elapsed().saturating_sub(self.growing.citing())).as_secs_f64();
            let decoded = said.len().saturating_sub(1) as f64;
            self.timings.decode_tokens_per_s = if seconds > 0.0 {
                decoded / seconds
            } else {
                0.0
            };
        }
        Ok(())
    }

    /// Leaves what the next question can use.
    pub fn leave_index(&mut self, ground: &Ground) {
        if let Some(kept) = ground.kept_index() {
            self.opened.attention.leave_index(kept);
        }
    }

    /// Cites what is left and puts the answer together.
    pub fn finish(mut self, listener: &mut Listener) -> Answer {
        self.cite_whole_sentences(true, listener);
        self.timings.cite_s = self.growing.citing().as_secs_f64();
        self.timings.read_tokens = self.opened.read_tokens as u32;
        self.timings.read_s = self.opened.read_s;
        let (answer, sentences) = self.growing.finish();
        Answer {
            question: self.question.text.to_owned(),
            answer,
            sentences,
            coverage: self
                .opened
                .coverage
                .iter()
                .copied()
                .map(TextSpan::from)
                .collect(),
            timings: self.timings,
            model: self.model.name().to_owned(),
            strategy: self.opened.strategy,
            conversation: None,
            stopped: self.stopped,
            far: false,
            nearest: Vec::new(),
            looked_for: None,
        }
    }

    /// The row of the logits after the last of `said`: of a guess that came true, or of a new pass, which new guesses
    /// join.
    fn after(&mut self, said: &[u32]) -> Result<Option<usize>, AskError> {
        let Some(&token) = said.last() else {
            return Ok(None);
        };
        let tokens = self.verified_tokens();
        if self.guessed.pop_front() == Some(token) {
            self.timings.guessed_tokens += 1;
            let rows = self.logits.len() / self.model.vocabulary_size();
            return Ok(Some(rows - 1 - self.guessed.len()));
        }
        self.guessed.clear();
        self.opened.attention.rewind(tokens);
        let guesses = match self.question.lookup {
            true => lookup::guess(&self.opened.tokens, said),
            false => &[],
        };
        // The last token that may be said needs no guess after it.
        let left = self.max_tokens.saturating_sub(said.len() + 1);
        let guesses = &guesses[..guesses.len().min(left)];
        let went_on = if guesses.is_empty() {
            self.forward(&[token], Logits::Last)?
        } else {
            let tokens = [&[token], guesses].concat();
            let went_on = self.forward(&tokens, Logits::All)?;
            if went_on {
                self.guessed.extend(&tokens[1..]);
            }
            went_on
        };
        Ok(went_on.then_some(0))
    }

    /// Tokens behind which the answer goes on: those of the attention without what is only guessed.
    fn verified_tokens(&self) -> usize {
        self.opened.attention.tokens() - self.guessed.len()
    }

    /// One pass; `false` (and `stopped`) if it was stopped.
    fn forward(&mut self, tokens: &[u32], wanted: Logits) -> Result<bool, AskError> {
        let attention = &mut self.opened.attention;
        let passed = self
            .model
            .forward_to(tokens, attention, wanted, &mut self.logits);
        match passed {
            Ok(()) => Ok(true),
            Err(ForwardError::Attention(AttentionError::Cancelled)) => {
                self.stopped = true;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Attention since the last take, by sentence of the document.
    fn take_mass(&mut self) -> Vec<f32> {
        if !self.recorded {
            return Vec::new();
        }
        let verified = self.verified_tokens();
        let mass = self.opened.attention.take_mass_before(verified);
        sentence_mass(
            &self.document.sentences,
            self.opened.positions.masses(&mass),
        )
    }

    /// Cites every sentence that is whole by now; returns whether one of them was said before, which ends the
    /// answer in front of it.
    fn cite_whole_sentences(&mut self, finished: bool, listener: &mut Listener) -> bool {
        let mut growing = std::mem::take(&mut self.growing);
        let Listener { on_event, observe } = listener;
        let mut cite = |span: Span, words: &str| {
            let mass = self.take_mass();
            let evidence = self
                .recorded
                .then(|| AttentionEvidence::new(&mass, &self.mass.question, &self.mass.null));
            observe(words, evidence.as_ref());
            let question = self.question.text;
            cited(self.document, question, span, words, evidence.as_ref())
        };
        let repeated = growing.cite_whole_sentences(finished, &mut cite, on_event);
        self.growing = growing;
        repeated
    }
}
