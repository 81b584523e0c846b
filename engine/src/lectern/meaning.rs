//! Passages found by their meaning: vectors made of them while a document is read, and compared with a question's.

use super::reading::Lesson;
use super::seat::Precedence;
use super::{Job, Lectern, lock};
use crate::document::Span;
use crate::library::StoredDocument;
use crate::retrieval::{self, Ranked, Transformer};
use lectern_models::EmbedderError;
use lectern_protocol::{Event, Failure, ReadProgress};
use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::runtime::Handle;

/// Passages between two chunks of a reading at most, so that one that was begun without vectors is not held up.
const MOST_ALONG: usize = 8;

/// Passages that are worth telling the person about: they take some seconds.
const WORTH_SAYING: usize = 40;

/// Passages between two looks at whether somebody asks.
const BETWEEN_LOOKS: usize = 4;

/// The sentence transformer, once it was needed.
#[derive(Default)]
pub(super) struct Meaning {
    loaded: Mutex<Option<Arc<Transformer>>>,
}

impl Meaning {
    /// Lets it go until it is needed again.
    pub fn forget(&self) {
        *lock(&self.loaded) = None;
    }
}

impl Lectern {
    /// The sentence transformer, if it is here and whole.
    fn transformer(&self) -> Option<Arc<Transformer>> {
        let mut loaded = lock(&self.meaning.loaded);
        if loaded.is_none() {
            let catalogue = self.catalogue().ok()?;
            *loaded = match Transformer::of_catalogue(&catalogue) {
                Ok(transformer) => transformer.map(Arc::new),
                Err(error) => {
                    tracing::warn!("passages are found by their words alone: {error}");
                    None
                }
            };
        }
        loaded.clone()
    }

    /// The passages of a document for a question, best first: by their words, and by their meaning as far as vectors were
    /// made of them.
    pub(super) fn ranked(
        &self,
        on: &Handle,
        stored: &StoredDocument,
        question: &str,
        earlier: Option<&str>,
    ) -> Result<Vec<Ranked>, Failure> {
        let id = &stored.row.id;
        let by_words = on.block_on(retrieval::rank(&self.library, id, question, earlier))?;
        let Some(transformer) = self.transformer() else {
            return Ok(by_words);
        };
        let vectors = on.block_on(self.library.vectors(id, transformer.number()))?;
        let document = &stored.document;
        let both = transformer.rank(&by_words, document, &vectors, question, earlier);
        Ok(both.unwrap_or_else(|error| {
            tracing::warn!("passages are found by their words alone: {error}");
            by_words
        }))
    }

    /// The vectors that are still to be made of a document's passages; `None` if there is nothing to make them with, or none
    /// is needed.
    pub(super) fn vectors_to_make<'l>(
        &'l self,
        on: &'l Handle,
        lesson: &Lesson,
    ) -> Option<VectorsToMake<'l>> {
        // What is looked at whole is not chosen from.
        let answer = self.settings().max_answer_tokens as usize;
        if lesson.segments.is_none() && !lesson.is_too_long(answer) {
            return None;
        }
        let transformer = self.transformer()?;
        let stored = Arc::clone(&lesson.stored);
        let missing = || -> Result<Option<VecDeque<Span>>, Failure> {
            let kept = self.library.vectors(&stored.row.id, transformer.number());
            let kept = on.block_on(kept)?;
            let document = &stored.document;
            let passages = retrieval::passages(document);
            let number =
                |span: &Span| retrieval::text_number(span.of(&document.text).unwrap_or_default());
            let all: HashSet<u64> = passages.iter().map(number).collect();
            if kept.keys().any(|number| !all.contains(number)) {
                let tidied =
                    self.library
                        .keep_only_vectors(&stored.row.id, transformer.number(), &all);
                on.block_on(tidied)?;
            }
            let mut missing: VecDeque<Span> = passages.into();
            missing.retain(|span| !kept.contains_key(&number(span)));
            let speaks = missing.is_empty() || transformer.speaks(document).map_err(unusable)?;
            Ok((speaks && !missing.is_empty()).then_some(missing))
        };
        let missing = missing().unwrap_or_else(|failure| {
            tracing::warn!("no vectors are made: {}", failure.message);
            None
        })?;
        Some(VectorsToMake {
            lectern: self,
            on,
            transformer,
            stored,
            missing: RefCell::new(missing),
        })
    }

    /// Makes the vectors that a document lacks, while nobody asks. Stopped, it leaves the rest to the next reading: the
    /// document is read all the same.
    pub(super) fn make_vectors(&self, on: &Handle, lesson: &Lesson, job: &Job) {
        let Some(vectors) = self.vectors_to_make(on, lesson) else {
            return;
        };
        let all = vectors.count();
        if all >= WORTH_SAYING {
            job.tell(Event::Notice {
                message: "Passages are prepared to be found by their meaning.".to_owned(),
            });
        }
        let tokens = lesson.tokens.len() as u32;
        let began = Instant::now();
        // As a reading that is at its end: all tokens are read, or none will be.
        let progress = |waiting: bool| {
            let made = all - vectors.count();
            let each = began.elapsed().as_secs_f64() / made as f64;
            ReadProgress {
                tokens,
                total: tokens,
                tokens_per_s: 0.0,
                seconds_left: (made > 0).then(|| each * vectors.count() as f64),
                cache_bytes: 0,
                waiting,
            }
        };
        let Ok(seated) = self.sit_to_read(Precedence::Reading, job, progress(true)) else {
            return;
        };
        while vectors.make(BETWEEN_LOOKS, usize::MAX, job) && !job.cancel.is_cancelled() {
            job.tell(Event::Reading(progress(false)));
            seated.let_questions_through(|| job.tell(Event::Reading(progress(true))));
        }
    }
}

/// Passages of a document without a vector.
pub(super) struct VectorsToMake<'l> {
    lectern: &'l Lectern,
    on: &'l Handle,
    transformer: Arc<Transformer>,
    stored: Arc<StoredDocument>,
    /// In order.
    missing: RefCell<VecDeque<Span>>,
}

impl VectorsToMake<'_> {
    /// How many.
    fn count(&self) -> usize {
        self.missing.borrow().len()
    }

    /// Makes the vectors of passages that end before byte `read`, a few at most, beside a reading that has come so far.
    pub fn along(&self, read: usize, job: &Job) {
        self.make(MOST_ALONG, read, job);
    }

    /// Makes up to `most` vectors of passages that end before `byte` and keeps them; says whether there may be more to make.
    /// What fails is logged: a document is read and asked without them as well.
    fn make(&self, most: usize, byte: usize, job: &Job) -> bool {
        let mut missing = self.missing.borrow_mut();
        let mut made = Vec::new();
        while made.len() < most && !job.cancel.is_cancelled() {
            let Some(span) = missing.front().filter(|span| span.end <= byte) else {
                break;
            };
            let text = span.of(&self.stored.document.text).unwrap_or_default();
            match self.transformer.code(text) {
                Ok(vector) => made.push((retrieval::text_number(text), vector)),
                Err(error) => {
                    tracing::warn!("no vectors are made: {error}");
                    missing.clear();
                    break;
                }
            }
            missing.pop_front();
        }
        let library = &self.lectern.library;
        let kept = library.keep_vectors(&self.stored.row.id, self.transformer.number(), &made);
        if let Err(error) = self.on.block_on(kept) {
            tracing::warn!("vectors were not kept: {error}");
            missing.clear();
        }
        !missing.is_empty()
    }
}

fn unusable(error: EmbedderError) -> Failure {
    Failure {
        code: lectern_protocol::FailureCode::Other,
        message: error.to_string(),
        advice: None,
    }
}
