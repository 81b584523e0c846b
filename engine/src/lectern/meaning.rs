//! Passages found by their meaning: vectors made of them while a document is read, and compared with a question's.

use super::reading::Lesson;
use super::seat::Precedence;
use super::told::Told;
use super::{Job, Lectern, lock};
use crate::asking::{OpenDocument, Turn};
use crate::background;
use crate::document::Span;
use crate::library::StoredDocument;
use crate::retrieval::{self, Ranked, Transformer, Vectors};
use lectern_protocol::{Event, Failure, ReadProgress};
use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::runtime::Handle;

/// Passages that are worth telling the person about: they take some seconds.
const WORTH_SAYING: usize = 40;

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

    /// The sentence transformer, and the vectors that it made of a document's passages.
    pub(super) fn vectors(
        &self,
        on: &Handle,
        open: &OpenDocument,
    ) -> Result<Option<(Arc<Transformer>, Vectors)>, Failure> {
        let Some(transformer) = self.transformer() else {
            return Ok(None);
        };
        let vectors = on.block_on(self.library.vectors(&open.id, transformer.number()))?;
        Ok(Some((transformer, vectors)))
    }

    /// The passages of a document for a question, best first: by their words, and by their meaning as far as vectors were
    /// made of them.
    pub(super) fn ranked(
        &self,
        on: &Handle,
        open: &OpenDocument,
        question: &str,
        earlier: Option<&Turn>,
    ) -> Result<Vec<Ranked>, Failure> {
        let vectors = self.vectors(on, open)?;
        let vectors = vectors
            .as_ref()
            .map(|(transformer, of)| (&**transformer, of));
        self.ranked_by(on, open, vectors, question, earlier)
    }

    /// Likewise, with what [`vectors`](Lectern::vectors) gave.
    pub(super) fn ranked_by(
        &self,
        on: &Handle,
        open: &OpenDocument,
        vectors: Option<(&Transformer, &Vectors)>,
        question: &str,
        earlier: Option<&Turn>,
    ) -> Result<Vec<Ranked>, Failure> {
        let earlier = earlier.map(Turn::words);
        let earlier = earlier.as_deref();
        let by_words = retrieval::rank(&self.library, &open.id, question, earlier);
        let by_words = on.block_on(by_words)?;
        let by_words = retrieval::raise_named(&open.document, &open.passages, question, by_words);
        let Some((transformer, vectors)) = vectors else {
            return Ok(by_words);
        };
        let text = &open.document.text;
        let both = transformer.rank(&by_words, text, &open.passages, vectors, question, earlier);
        Ok(both.unwrap_or_else(|error| {
            tracing::warn!("passages are found by their words alone: {error}");
            by_words
        }))
    }

    /// The vectors that are still to be made of a document's passages, as urgent as this says; `None` if there is nothing to make
    /// them with, or none is needed.
    pub(super) fn vectors_to_make<'l>(
        &'l self,
        on: &'l Handle,
        lesson: &Lesson,
        precedence: Precedence,
    ) -> Option<VectorsToMake<'l>> {
        if !self.is_chosen_from(lesson) {
            return None;
        }
        let transformer = self.transformer()?;
        let missing = self.passages_without(on, &transformer, &lesson.stored);
        let missing = missing.unwrap_or_else(|failure| {
            tracing::warn!("no vectors are made: {}", failure.message);
            VecDeque::new()
        });
        (!missing.is_empty()).then(|| VectorsToMake {
            lectern: self,
            on,
            transformer,
            stored: Arc::clone(&lesson.stored),
            in_background: precedence == Precedence::Reading,
            missing: RefCell::new(missing),
        })
    }

    /// Whether a question looks at parts of the document, not at the whole.
    fn is_chosen_from(&self, lesson: &Lesson) -> bool {
        let answer = self.settings().max_answer_tokens as usize;
        lesson.segments.is_some() || lesson.is_too_long(answer)
    }

    /// The passages of which this transformer can make a vector and has none, in order. Vectors of what is no passage any
    /// more are forgotten.
    fn passages_without(
        &self,
        on: &Handle,
        transformer: &Transformer,
        stored: &StoredDocument,
    ) -> Result<VecDeque<Span>, Failure> {
        let (id, document) = (&stored.row.id, &stored.document);
        let kept = on.block_on(self.library.vectors(id, transformer.number()))?;
        let passages = retrieval::passages(document);
        let number =
            |span: &Span| retrieval::text_number(span.of(&document.text).unwrap_or_default());
        let all: HashSet<u64> = passages.iter().map(number).collect();
        if kept.keys().any(|number| !all.contains(number)) {
            let tidied = self
                .library
                .keep_only_vectors(id, transformer.number(), &all);
            on.block_on(tidied)?;
        }
        if all.iter().all(|number| kept.contains_key(number)) {
            return Ok(VecDeque::new());
        }
        let mut missing = match transformer
            .speaks(document, &passages)
            .map_err(Told::told)?
        {
            true => VecDeque::from(passages),
            false => VecDeque::new(),
        };
        missing.retain(|span| !kept.contains_key(&number(span)));
        Ok(missing)
    }

    /// Makes the vectors that a document lacks, while nobody asks. Stopped, it leaves the rest to the next reading: the
    /// document is read all the same.
    pub(super) fn make_vectors(&self, on: &Handle, lesson: &Lesson, job: &Job) {
        if !self.is_chosen_from(lesson) {
            return;
        }
        // As a reading that is at its end: all tokens are read, or none will be.
        let tokens = lesson.tokens.len() as u32;
        let progress = |waiting: bool, seconds_left: Option<f64>| {
            job.tell(Event::Reading(ReadProgress {
                tokens,
                total: tokens,
                tokens_per_s: 0.0,
                seconds_left,
                cache_bytes: 0,
                waiting,
                making_smaller: false,
            }));
        };
        let waits = || progress(true, None);
        let seat = &self.seat;
        let Some(seated) = seat.take(Precedence::Reading, &job.cancel, waits) else {
            return;
        };
        // Who sat here before may have made them.
        let Some(vectors) = self.vectors_to_make(on, lesson, Precedence::Reading) else {
            return;
        };
        let all = vectors.count();
        if all >= WORTH_SAYING {
            job.tell(Event::Notice {
                message: "Passages are prepared to be found by their meaning.".to_owned(),
            });
        }
        let began = Instant::now();
        while vectors.make(usize::MAX, job) && !job.cancel.is_cancelled() {
            let left = vectors.count();
            let each = began.elapsed().as_secs_f64() / (all - left).max(1) as f64;
            progress(false, Some(each * left as f64));
            seated.let_questions_through(waits);
        }
    }
}

/// Passages of a document without a vector.
pub(super) struct VectorsToMake<'l> {
    lectern: &'l Lectern,
    on: &'l Handle,
    transformer: Arc<Transformer>,
    stored: Arc<StoredDocument>,
    /// Nobody waits for them.
    in_background: bool,
    /// In order.
    missing: RefCell<VecDeque<Span>>,
}

impl VectorsToMake<'_> {
    /// How many.
    fn count(&self) -> usize {
        self.missing.borrow().len()
    }

    /// Makes the vectors of some passages that end before byte `read`, beside a reading that has come so far; too few are
    /// left for the next time, but at the end.
    pub fn along(&self, read: usize, job: &Job) {
        let is_end = read >= self.stored.document.text.len();
        if is_end || self.together(read) == Transformer::TOGETHER {
            self.make(read, job);
        }
    }

    /// Passages that end before `byte`, as many as are made at once at most.
    fn together(&self, byte: usize) -> usize {
        let missing = self.missing.borrow();
        let next = missing.iter().take(Transformer::TOGETHER);
        next.take_while(|span| span.end <= byte).count()
    }

    /// Makes the vectors of some passages that end before `byte` and keeps them; says whether there may be more to make.
    /// What fails is logged: a document is read and asked without them as well.
    fn make(&self, byte: usize, job: &Job) -> bool {
        let together = self.together(byte);
        let mut missing = self.missing.borrow_mut();
        if together == 0 || job.cancel.is_cancelled() {
            return !missing.is_empty();
        }
        let text = &self.stored.document.text;
        let of = |span: Span| span.of(text).unwrap_or_default();
        let texts: Vec<&str> = missing.drain(..together).map(of).collect();
        let transformer = &self.transformer;
        let codes = background::run_if(self.in_background, || transformer.codes(&texts));
        let vectors = match codes {
            Ok(vectors) => vectors,
            Err(error) => {
                tracing::warn!("no vectors are made: {error}");
                missing.clear();
                return false;
            }
        };
        let numbers = texts.iter().map(|text| retrieval::text_number(text));
        let made: Vec<_> = numbers.zip(vectors).collect();
        let library = &self.lectern.library;
        let kept = library.keep_vectors(&self.stored.row.id, self.transformer.number(), &made);
        if let Err(error) = self.on.block_on(kept) {
            tracing::warn!("vectors were not kept: {error}");
            missing.clear();
        }
        !missing.is_empty()
    }
}
