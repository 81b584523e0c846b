//! Reading a document, and what has to be true before it begins: a model, a cache, room.

use super::forecast::Ended;
use super::pausing::Pauses;
use super::seat::{LOOK_AGAIN, Precedence, Seated};
use super::told::Told;
use super::way::{Way, way_of};
use super::{ChosenModel, Job, Lectern, blocking, cancelled};
use crate::kv::{BlockFormat, CacheIdentity, KvCache, KvError};
use crate::library::{Reading, StoredDocument};
use crate::reading::{self, ReadingInput, Segments};
use lectern_models::{Model, Token};
use lectern_protocol::{AskStage, DocumentSummary, Event, Failure, ReadProgress};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Tokens of the model's window that are kept free beside the document and the answer: instructions, question,
/// earlier turns (512 at most).
const QUESTION_ROOM: usize = 1024;

/// How often another Lectern's lock on a cache is tried.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// A document with a loaded model: what reading and asking begin from.
pub(super) struct Lesson {
    pub model: Arc<Model>,
    pub stored: Arc<StoredDocument>,
    /// The document's tokens, without the prefix.
    pub tokens: Arc<Vec<Token>>,
    /// What stands before the document.
    pub prefix: Vec<u32>,
    /// How its cache is kept.
    pub format: BlockFormat,
    /// How it is cut, if it is longer than the model reads well.
    pub segments: Option<Arc<Segments>>,
}

impl Lesson {
    /// Tokens to be read, the prefix among them.
    pub fn total(&self) -> usize {
        match &self.segments {
            Some(segments) => segments.ids().len(),
            None => self.prefix.len() + self.tokens.len(),
        }
    }

    /// Tokens of a document that fit beside a question and an answer of `answer` tokens.
    pub fn window(&self, answer: usize) -> usize {
        let context = self.model.context_length();
        let taken = QUESTION_ROOM.min(context / 4) + answer.min(context / 4) + self.prefix.len();
        context.saturating_sub(taken)
    }

    /// Whether the document is longer than that and is not to be read even so.
    pub fn is_too_long(&self, answer: usize) -> bool {
        self.segments.is_none() && self.tokens.len() > self.window(answer)
    }

    /// Tokens of the document that a cache of so many tokens holds.
    pub(super) fn of_document(&self, cached: usize) -> usize {
        match &self.segments {
            Some(segments) => segments.of_document(cached),
            None => cached.saturating_sub(self.prefix.len()),
        }
    }

    /// What is to be read.
    pub fn input(&self) -> ReadingInput {
        ReadingInput {
            prefix: self.prefix.clone(),
            tokens: self.tokens.to_vec(),
            identity: self.identity(),
            segments: self.segments.clone(),
        }
    }

    /// What a list is told once `tokens` of it are read.
    pub(super) fn so_far(&self, tokens: usize, cache_bytes: u64, answer: usize) -> Reading {
        Reading {
            tokens: tokens as u64,
            total: self.tokens.len() as u64,
            window: self.window(answer) as u64,
            cache_bytes,
            way: way_of(&self.identity()),
        }
    }

    /// What its cache is the cache of.
    pub fn identity(&self) -> CacheIdentity {
        CacheIdentity {
            text: self.stored.row.text_sha256,
            model: self.model.fingerprint().to_owned(),
            prompt: CacheIdentity::prompt_hash(&self.prefix),
            format: self.format.number(),
            scope: self.segments.as_ref().map_or(0, |cut| cut.number()),
        }
    }
}

/// What reading within a call came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReadCost {
    pub tokens: usize,
    pub seconds: f64,
}

impl ReadCost {
    /// Both together.
    pub fn and(self, other: ReadCost) -> ReadCost {
        ReadCost {
            tokens: self.tokens + other.tokens,
            seconds: self.seconds + other.seconds,
        }
    }
}

impl Lectern {
    /// Reads a document, or goes on reading it. A document longer than the model's window is only measured, unless the
    /// settings say that it is to be read.
    pub async fn read(self: &Arc<Self>, id: &str, job: &Job) -> Result<DocumentSummary, Failure> {
        let chosen = self.chosen_model()?;
        let stored = self.stored(id).await?;
        let before = self.read_by_now().await?.reading(id);
        let waits = before.map_or(waiting(0, 0), |before| {
            waiting(before.tokens as usize, before.total as usize)
        });
        let held = self
            .hold(id, job, || job.tell(Event::Reading(waits)))
            .await?;
        let under_way = self.under_way.begin(id);
        let lectern = Arc::clone(self);
        let on = Handle::current();
        let reading = job.clone();
        let lesson = blocking(move || {
            let seated = lectern.sit_to_read(Precedence::Reading, &reading, waits)?;
            let lesson = lectern.prepare(&on, &seated, &chosen, stored, &reading)?;
            let answer = lectern.settings().max_answer_tokens as usize;
            match lesson.is_too_long(answer) {
                true => {
                    drop(seated);
                    lectern.note_too_long(&on, &lesson, answer)?;
                }
                false => {
                    let precedence = Precedence::Reading;
                    let (cache, _) =
                        lectern.read_whole(&on, seated, &lesson, answer, precedence, &reading)?;
                    lectern.make_smaller(&on, &lesson, cache, &reading)?;
                }
            }
            Ok(lesson)
        })
        .await?;
        drop((under_way, held));
        // It can be asked from now on; what is still to be done needs no cache.
        let looks = self.look_at(id, job);
        let (lectern, on, job) = (Arc::clone(self), Handle::current(), job.clone());
        blocking(move || {
            lectern.make_vectors(&on, &lesson, &job);
            Ok(())
        })
        .await?;
        drop(looks);
        self.summary(id).await
    }

    /// Loads the model and cuts the document into its tokens.
    pub(super) fn prepare(
        &self,
        on: &Handle,
        seated: &Seated<'_>,
        chosen: &ChosenModel,
        stored: Arc<StoredDocument>,
        job: &Job,
    ) -> Result<Lesson, Failure> {
        let model = self
            .seat
            .model(seated, &chosen.path, self.settings().stretch, || {
                job.tell(Event::Stage {
                    stage: AskStage::LoadingModel,
                });
            })
            .map_err(Told::told)?;
        on.block_on(self.note_fingerprint(&chosen.path, model.fingerprint()))?;
        let mut lesson = Lesson {
            tokens: self.opened.tokens(&stored, &model).map_err(Told::told)?,
            prefix: reading::prefix(model.chat_template(), model.tokenizer())
                .map_err(Told::told)?,
            model,
            stored,
            format: chosen.kv_format,
            segments: None,
        };
        let window = lesson.window(self.settings().max_answer_tokens as usize);
        let way = Way::of(
            lesson.tokens.len(),
            window,
            self.whole_tokens(chosen),
            self.settings().beyond_window,
        );
        if way == Way::InSegments {
            lesson.segments = Some(self.opened.segments(&lesson).map_err(Told::told)?);
        }
        lesson.format = self.cache_format(&lesson.identity(), chosen.kv_format, job)?;
        Ok(lesson)
    }

    /// Tokens of a document up to which this model reads it with attention to everything.
    pub(super) fn whole_tokens(&self, chosen: &ChosenModel) -> usize {
        let tokens = match self.settings().whole_tokens {
            0 => chosen.whole_tokens,
            tokens => tokens as usize,
        };
        let window = chosen
            .context
            .map(|tokens| tokens * self.settings().stretch.max(1) as usize);
        tokens.min(window.unwrap_or(usize::MAX))
    }

    /// Reads the rest of a document; returns its cache, complete, and what it cost. Gives up
    /// the seat.
    pub(super) fn read_whole(
        &self,
        on: &Handle,
        seated: Seated<'_>,
        lesson: &Lesson,
        answer: usize,
        precedence: Precedence,
        job: &Job,
    ) -> Result<(KvCache, ReadCost), Failure> {
        // Another Lectern may hold the cache for a long time: wait for it standing.
        drop(seated);
        let cache = self.open_cache(lesson, job)?;
        let found = cache.tokens();
        let earlier = self.adopt_earlier(on, lesson, &cache)?;
        let before = cache.tokens();
        let note = |tokens: usize, cache_bytes: u64| {
            on.block_on(self.library.note_reading(
                &lesson.stored.row.id,
                lesson.model.fingerprint(),
                lesson.so_far(tokens, cache_bytes, answer),
            ))
        };
        if before == lesson.total() {
            note(lesson.tokens.len(), cache.bytes())?;
            job.tell(Event::Reading(ReadProgress {
                tokens: lesson.tokens.len() as u32,
                cache_bytes: cache.bytes(),
                seconds_left: Some(0.0),
                waiting: false,
                making_smaller: false,
                ..waiting(0, lesson.tokens.len())
            }));
            return Ok((cache, ReadCost::default()));
        }
        self.make_room(on, lesson, &cache, job)?;
        let input = lesson.input();
        let read_before = lesson.of_document(before);
        let waits = waiting(read_before, lesson.tokens.len());
        let seated = self.sit_to_read(precedence, job, waits)?;
        let began = Instant::now();
        // Noted before it is told: whoever saw the number finds it again after a crash.
        let progress = |progress: &ReadProgress| {
            if let Err(error) = note(progress.tokens as usize, progress.cache_bytes) {
                tracing::warn!("the read state was not noted: {error}");
            }
            job.tell(Event::Reading(*progress));
        };
        let pauses = Pauses::default();
        let waits_here = || waiting(lesson.of_document(cache.tokens()), lesson.tokens.len());
        let stand_up = || {
            self.under_way.show(&lesson.stored.row.id, cache.view());
            match precedence {
                Precedence::Reading => self.stand_back(&pauses, &seated, job, &waits_here),
                // Somebody waits for what is read.
                Precedence::Question => {
                    seated.let_questions_through(|| job.tell(Event::Reading(waits_here())));
                }
            }
        };
        let vectors = self.vectors_to_make(on, lesson, precedence);
        let along = |tokens: usize| {
            if let Some(vectors) = &vectors {
                let text_bytes = lesson.stored.document.text.len();
                let next = lesson.tokens.get(tokens);
                vectors.along(next.map_or(text_bytes, |token| token.start as usize), job);
            }
        };
        let read = reading::read(
            &lesson.model,
            &input,
            &cache,
            reading::Followers {
                cancel: &job.cancel,
                progress: &progress,
                yield_point: &stand_up,
                along: &along,
                earlier: earlier.as_ref(),
                behind: (precedence == Precedence::Reading).then(|| self.seat.wanted()),
            },
        );
        note(lesson.of_document(cache.tokens()), cache.bytes())?;
        let pace = read.map_err(Told::told)?;
        drop(earlier);
        self.forget_earlier(on, lesson)?;
        let kept = cache.tokens().saturating_sub(found + pace.tokens());
        let share = 100 * kept / cache.tokens().max(1);
        if share > 0 {
            job.tell(Event::Notice {
                message: format!("{share}% of it had been read before it changed and was kept."),
            });
        }
        // What was taken over took no time, and says nothing of how long reading takes.
        if cache.tokens() == before + pace.tokens() {
            self.forecaster.learn(&Ended {
                model: lesson.model.fingerprint(),
                text_bytes: lesson.stored.document.text.len(),
                tokens: lesson.tokens.len(),
                cached: cache.tokens(),
                cache_bytes: cache.bytes(),
                resumed_at: before,
                looks_at: lesson.segments.as_ref().map(|cut| cut.looked_at()),
                pace: &pace,
            });
        }
        let cost = ReadCost {
            tokens: pace.tokens(),
            seconds: began.elapsed().as_secs_f64(),
        };
        Ok((cache, cost))
    }

    /// Waits for the seat to read, for its own sake or for a question's.
    pub(super) fn sit_to_read(
        &self,
        precedence: Precedence,
        job: &Job,
        waits: ReadProgress,
    ) -> Result<Seated<'_>, Failure> {
        self.seat
            .take(precedence, &job.cancel, || {
                job.tell(Event::Reading(waits));
            })
            .ok_or_else(cancelled)
    }

    /// Opens the document's cache; waits while another Lectern has it.
    fn open_cache(&self, lesson: &Lesson, job: &Job) -> Result<KvCache, Failure> {
        let identity = lesson.identity();
        let folder = self.library.home().caches().join(identity.folder_name());
        let mut told = false;
        loop {
            match KvCache::open(&folder, &identity, lesson.model.shape()) {
                Err(KvError::Locked { .. }) if !job.cancel.is_cancelled() => {
                    if !told {
                        told = true;
                        job.tell(Event::Notice {
                            message: "Another Lectern is working on this document; waiting for it."
                                .to_owned(),
                        });
                        job.tell(Event::Reading(waiting(0, lesson.tokens.len())));
                    }
                    let until = Instant::now() + TRY_AGAIN;
                    while Instant::now() < until && !job.cancel.is_cancelled() {
                        std::thread::sleep(LOOK_AGAIN);
                    }
                }
                Err(KvError::Locked { .. }) => return Err(cancelled()),
                opened => {
                    let cache = opened.map_err(Told::told)?;
                    if let Some(recovery) = cache.recovery() {
                        tracing::warn!("a cache was cut back to what is whole: {recovery:?}");
                    }
                    return Ok(cache);
                }
            }
        }
    }

    /// What an earlier reading left of a document; `None` if another Lectern works on it.
    pub(super) fn read_so_far(
        &self,
        on: &Handle,
        lesson: &Lesson,
    ) -> Result<Option<KvCache>, Failure> {
        let identity = lesson.identity();
        let folder = self.library.home().caches().join(identity.folder_name());
        match KvCache::open(&folder, &identity, lesson.model.shape()) {
            Ok(cache) => {
                self.adopt_earlier(on, lesson, &cache)?;
                Ok(Some(cache))
            }
            Err(KvError::Locked { .. }) => Ok(None),
            Err(error) => Err(error.told()),
        }
    }

    pub(super) fn note_too_long(
        &self,
        on: &Handle,
        lesson: &Lesson,
        answer: usize,
    ) -> Result<(), Failure> {
        on.block_on(self.library.note_reading(
            &lesson.stored.row.id,
            lesson.model.fingerprint(),
            lesson.so_far(0, 0, answer),
        ))?;
        Ok(())
    }
}

/// The progress of a reading that waits.
pub(super) fn waiting(tokens: usize, total: usize) -> ReadProgress {
    ReadProgress {
        tokens: tokens as u32,
        total: total as u32,
        tokens_per_s: 0.0,
        seconds_left: None,
        cache_bytes: 0,
        waiting: true,
        making_smaller: false,
    }
}
