//! Questions: from a protocol [`Ask`] to an [`Answer`] that is kept in its conversation.
//!
//! A question is answered over the whole document, which is read first; over those of its segments that match best, if it is
//! longer than the model reads well, and passages of what is not read yet; or, if it is to be answered at once, over what was
//! read so far and passages of the rest. Where a server is set to answer, it does (`endpoint`).

use super::choosing::ChosenModel;
use super::passages::passages;
use super::reading::{Lesson, ReadCost};
use super::seat::{Precedence, Seated};
use super::told::{DAMAGED, Told};
use super::{Job, Lectern, blocking, cancelled};
use crate::asking::{self, Ground, OpenDocument, Question, Reader, Sampling, Turn as Earlier};
use crate::attention::{PagePolicy, SparseRead};
use crate::document::{DocumentKind, Span};
use crate::kv::{BLOCK_TOKENS, KvCache, KvView};
use crate::library::Turn;
use crate::reading::{self, Segments};
use crate::retrieval;
use lectern_protocol::{Answer, Ask, AskStage, AttentionChoice, Event, Failure, Strategy};
use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;

/// How many times the budget of a sparse read a document must be long: on shorter ones the choice, which each token of a
/// question makes for itself, costs more than it saves.
const WORTH_CHOOSING: usize = 4;

/// At least one part in so many of a document within the window is looked at: with the same number of tokens at twice the
/// length predictions move away from dense ones, with the same share they do not (`docs/long-context.md`).
const LEAST_PART: usize = 8;

/// Tokens of passages that a question asked at once reads: a few seconds' worth on a slow machine.
const TOKENS_AT_ONCE: usize = 768;

/// A rest of a document that is read even for a question asked at once: no more than the passages would be.
const LITTLE_LEFT: usize = TOKENS_AT_ONCE;

impl Lectern {
    /// Answers a question about a document, reading it first if it is not read, unless asked to answer at once. A
    /// cancelled answer is kept as far as it was said; the call then fails with `cancelled`.
    pub async fn ask(self: &Arc<Self>, ask: Ask, job: &Job) -> Result<Answer, Failure> {
        let history = match &ask.conversation {
            Some(id) => self.history(id, &ask.document).await?,
            None => Vec::new(),
        };
        if let Some(endpoint) = self.endpoint() {
            return self.ask_endpoint(&endpoint, ask, history, job).await;
        }
        let chosen = self.chosen_model()?;
        let stored = self.stored(&ask.document).await?;
        let asked = Instant::now();
        let held = self
            .hold_or_overtake(&ask.document, job, ask.at_once == Some(true), || {
                job.tell(Event::Stage {
                    stage: AskStage::Waiting,
                });
            })
            .await?;
        let overtakes = held.overtakes();

        let (lectern, on, asking, question) = (
            Arc::clone(self),
            Handle::current(),
            job.clone(),
            ask.clone(),
        );
        let answer = blocking(move || {
            let work = Work {
                lectern: &lectern,
                on: &on,
                job: &asking,
                ask: &question,
                history: &history,
                chosen: &chosen,
                asked,
                translated: OnceCell::new(),
            };
            let seated = work.sit()?;
            let lesson = lectern.prepare(&on, &seated, &chosen, stored, &asking)?;
            work.answer(seated, lesson, overtakes)
        })
        .await?;
        drop(held);
        self.keep_answer(&ask, answer).await
    }

    /// Keeps an answer; one that was stopped then fails with `cancelled`.
    pub(super) async fn keep_answer(
        &self,
        ask: &Ask,
        mut answer: Answer,
    ) -> Result<Answer, Failure> {
        if !answer.answer.is_empty() {
            let turn = Turn {
                document: &ask.document,
                conversation: ask.conversation.as_deref(),
                answer: &answer,
            };
            answer.conversation = Some(self.library.keep_turn(&turn).await?);
        }
        match answer.stopped {
            true => Err(cancelled()),
            false => Ok(answer),
        }
    }

    /// Tokens of an answer at most.
    pub(super) fn answer_tokens(&self, ask: &Ask) -> usize {
        let setting = self.settings().max_answer_tokens;
        ask.max_tokens.unwrap_or(setting).max(1) as usize
    }

    /// What the model is told behind a question, so that it answers as the person wishes.
    pub(super) fn told_behind(&self, question: &str) -> Option<&'static str> {
        let is_full = self.settings().full_answers;
        is_full.then(|| asking::in_full(question))
    }

    /// Earlier turns of a conversation about this document.
    async fn history(&self, id: &str, document: &str) -> Result<Vec<Earlier>, Failure> {
        let conversation = self.library.conversation(id).await?;
        if conversation.document != document {
            return Err(crate::library::LibraryError::NoConversation(id.to_owned()).into());
        }
        Ok(conversation
            .turns
            .into_iter()
            .map(|turn| Earlier {
                question: turn.question,
                answer: turn.answer,
            })
            .collect())
    }
}

/// A question being worked, on a thread of its own.
struct Work<'w> {
    lectern: &'w Arc<Lectern>,
    on: &'w Handle,
    job: &'w Job,
    ask: &'w Ask,
    history: &'w [Earlier],
    chosen: &'w ChosenModel,
    /// When the question was put.
    asked: Instant,
    /// The question in the document's language, once it was looked whether that is another.
    translated: OnceCell<Option<String>>,
}

impl Work<'_> {
    fn answer(
        &self,
        seated: Seated<'_>,
        lesson: Lesson,
        overtakes: bool,
    ) -> Result<Answer, Failure> {
        let answer = self.answer_tokens();
        if lesson.is_too_long(answer) {
            self.lectern.note_too_long(self.on, &lesson, answer)?;
            self.stage(AskStage::Retrieving);
            let budget = self.lectern.settings().retrieval_tokens as usize;
            let passages = self.passages(&lesson, &self.ranked(&lesson)?, budget);
            let ground = Ground::Passages(&passages);
            return self.work(&seated, &lesson, &ground, ReadCost::default());
        }
        if let Some(segments) = &lesson.segments {
            return self.ask_segments(seated, &lesson, segments, overtakes);
        }
        if overtakes {
            let view = self.lectern.under_way.view(&self.ask.document);
            return self.ask_at_once(&seated, &lesson, view);
        }
        if self.ask.at_once == Some(true) {
            match self.lectern.read_so_far(self.on, &lesson)? {
                Some(cache) if lesson.total() - cache.tokens() <= LITTLE_LEFT => {}
                cache => {
                    let view = cache.as_ref().map(KvCache::view);
                    return self.ask_at_once(&seated, &lesson, view);
                }
            }
        }
        let (cache, cost) = self.read(seated, &lesson)?;
        let first = self.ask_whole(&lesson, &cache, cost);
        if first.is_ok() || !cache.is_damaged() {
            return first;
        }
        // Every part is checked when it is first attended to, so nothing was said yet.
        self.tell_damage();
        let seated = self.sit()?;
        let mended = self.mend(&lesson, &cache)?;
        drop(cache);
        let (cache, cost) = self.read(seated, &lesson)?;
        let cost = cost.and(mended);
        self.ask_whole(&lesson, &cache, cost)
    }

    fn read(&self, seated: Seated<'_>, lesson: &Lesson) -> Result<(KvCache, ReadCost), Failure> {
        self.stage(AskStage::ReadingDocument);
        self.lectern.read_whole(
            self.on,
            seated,
            lesson,
            self.answer_tokens(),
            Precedence::Question,
            self.job,
        )
    }

    /// Reads again what is damaged of a cache.
    fn mend(&self, lesson: &Lesson, cache: &KvCache) -> Result<ReadCost, Failure> {
        let began = Instant::now();
        let tokens = reading::mend(&lesson.model, &lesson.input(), cache, &self.job.cancel);
        Ok(ReadCost {
            tokens: tokens.map_err(Told::told)?,
            seconds: began.elapsed().as_secs_f64(),
        })
    }

    fn tell_damage(&self) {
        self.job.tell(Event::Notice {
            message: DAMAGED.to_owned(),
        });
    }

    /// Answers from what was read of a document in segments, and from passages of the rest. One that fits the model's window is
    /// read first, unless the question is to be answered at once; the reading of a longer one nobody waits for.
    fn ask_segments(
        &self,
        seated: Seated<'_>,
        lesson: &Lesson,
        segments: &Segments,
        overtakes: bool,
    ) -> Result<Answer, Failure> {
        let at_once = overtakes || self.ask.at_once == Some(true);
        let (seated, cache, cost) = if overtakes {
            (seated, None, ReadCost::default())
        } else if at_once || lesson.tokens.len() > lesson.model.context_length() {
            let cache = self.lectern.read_so_far(self.on, lesson)?;
            (seated, cache, ReadCost::default())
        } else {
            let (cache, cost) = self.read(seated, lesson)?;
            (self.sit()?, Some(cache), cost)
        };
        let view = match &cache {
            Some(cache) => Some(cache.view()),
            None => self.lectern.under_way.view(&self.ask.document),
        };
        let first = self.ask_read(&seated, lesson, segments, view.as_ref(), cost);
        let is_damaged = view.as_ref().is_some_and(KvView::is_damaged);
        if first.is_ok() || !is_damaged {
            return first;
        }
        self.tell_damage();
        drop(view);
        // Who reads it now finds the damage at its next opening; meanwhile passages answer.
        let mended = match &cache {
            Some(cache) => self.mend(lesson, cache)?,
            None => ReadCost::default(),
        };
        let view = cache.as_ref().map(KvCache::view);
        self.ask_read(&seated, lesson, segments, view.as_ref(), cost.and(mended))
    }

    /// Answers from the segments in `view` that match best, and from passages of what it does not hold.
    fn ask_read(
        &self,
        seated: &Seated<'_>,
        lesson: &Lesson,
        segments: &Segments,
        view: Option<&KvView>,
        cost: ReadCost,
    ) -> Result<Answer, Failure> {
        self.stage(AskStage::Retrieving);
        let held = view.map_or(0, KvView::tokens);
        let room = lesson.window(self.answer_tokens());
        let is_read = held == lesson.total();
        let budget = match !is_read && self.ask.at_once == Some(true) {
            true => TOKENS_AT_ONCE,
            false => self.lectern.settings().retrieval_tokens as usize,
        };
        let budget = budget.min(room.saturating_sub(segments.opening()));
        // Passages that are not read yet are short; a segment brings much more along.
        let ranked = self.ranked(lesson)?;
        let ranked = match is_read {
            true => retrieval::alike(&ranked),
            false => &ranked,
        };
        let spans = self.passages(lesson, ranked, budget);
        // What asks for the whole is not found by its words.
        let choice = match retrieval::asks_for_the_whole(&self.ask.question) {
            true if held > lesson.prefix.len() => segments.spread(budget, held),
            _ => segments.choose(&lesson.tokens, &spans, budget, held),
        };
        let ground = match view {
            Some(view) if !choice.segments.is_empty() => Ground::Segments {
                view,
                format: lesson.format,
                segments,
                tokens: &lesson.tokens,
                picked: &choice.segments,
                passages: &choice.passages,
            },
            _ => Ground::Passages(&spans),
        };
        let mut answer = self.work(seated, lesson, &ground, cost)?;
        if !is_read {
            answer.strategy = Strategy::PartlyRead;
        }
        Ok(answer)
    }

    fn ask_whole(
        &self,
        lesson: &Lesson,
        cache: &KvCache,
        cost: ReadCost,
    ) -> Result<Answer, Failure> {
        let seated = self.sit()?;
        let ground = Ground::WholeDocument {
            cache,
            tokens: &lesson.tokens,
            index: &self.lectern.index,
        };
        self.work(&seated, lesson, &ground, cost)
    }

    /// Answers from what was read so far, if any, and the passages that match best.
    fn ask_at_once(
        &self,
        seated: &Seated<'_>,
        lesson: &Lesson,
        view: Option<KvView>,
    ) -> Result<Answer, Failure> {
        self.stage(AskStage::Retrieving);
        let passages = self.passages(lesson, &self.ranked(lesson)?, TOKENS_AT_ONCE);
        let view = view.filter(|view| view.tokens() > lesson.prefix.len());
        let ground = match &view {
            Some(view) => Ground::PartlyRead {
                view,
                tokens: &lesson.tokens,
                passages: &passages,
            },
            None => Ground::Passages(&passages),
        };
        let mut answer = self.work(seated, lesson, &ground, ReadCost::default())?;
        answer.strategy = Strategy::PartlyRead;
        Ok(answer)
    }

    /// Waits for the seat as a question.
    fn sit(&self) -> Result<Seated<'_>, Failure> {
        self.lectern
            .seat
            .take(Precedence::Question, &self.job.cancel, || {
                self.stage(AskStage::Waiting);
            })
            .ok_or_else(cancelled)
    }

    /// The document's passages, those that match the question best first; and the question in the document's language, if it is
    /// in another one: then they are looked for by the words of both.
    fn ranked(&self, lesson: &Lesson) -> Result<Vec<retrieval::Ranked>, Failure> {
        let open = self.lectern.opened.ask(&lesson.stored);
        let earlier = self.history.last();
        let question = &self.ask.question;
        let translated = self.translated.get_or_init(|| {
            // Names of source code are no language's.
            let text = (open.document.kind != DocumentKind::Code).then_some(&open.document.text)?;
            asking::translated(&lesson.model, &self.job.cancel, question, text).unwrap_or_else(
                |error| {
                    tracing::warn!("looked for as it was asked: {error}");
                    None
                },
            )
        });
        let sought = asking::in_both_languages(question, translated.as_deref());
        self.lectern.ranked(self.on, &open, &sought, earlier)
    }

    /// Of these passages those that match best, best first, `budget` tokens at most.
    fn passages(&self, lesson: &Lesson, ranked: &[retrieval::Ranked], budget: usize) -> Vec<Span> {
        let budget = budget.min(lesson.window(self.answer_tokens()));
        let tokens_in = |span: Span| {
            let before = |byte: usize| {
                lesson
                    .tokens
                    .partition_point(|token| (token.start as usize) < byte)
            };
            before(span.end) - before(span.start)
        };
        let open = self.lectern.opened.ask(&lesson.stored);
        passages(&open, &self.ask.question, ranked, budget, tokens_in)
    }

    fn work(
        &self,
        _seated: &Seated<'_>,
        lesson: &Lesson,
        ground: &Ground<'_>,
        cost: ReadCost,
    ) -> Result<Answer, Failure> {
        let document: Arc<OpenDocument> = self.lectern.opened.ask(&lesson.stored);
        let look_at = self.look_at(lesson);
        let question = Question {
            text: &self.ask.question,
            told: self.lectern.told_behind(&self.ask.question),
            history: self.history,
            max_tokens: self.answer_tokens(),
            look_at,
            lookup: true,
            sampling: Sampling::of(self.ask),
        };
        let reader = Reader {
            model: &lesson.model,
            retrieval_heads: &self.chosen.retrieval_heads,
        };
        let mut tell = |event: Event| {
            self.lectern
                .tell_anchored(self.on, &lesson.stored, self.job, event);
        };
        let before_ms = (self.asked.elapsed().as_secs_f64() - cost.seconds) * 1e3;
        let mut answer = asking::ask(
            &reader,
            &document,
            ground,
            &question,
            &self.job.cancel,
            &mut tell,
        )
        .map_err(Told::told)?;
        // The name in the file may be that of a variant nobody chose by name.
        if let Some(title) = &self.chosen.title {
            answer.model.clone_from(title);
        }
        let earlier = self.history.last();
        self.lectern
            .tell_nearest(self.on, &document, &mut answer, earlier);
        self.lectern
            .anchor_answer(self.on, &lesson.stored, &mut answer);
        answer.looked_for = self.translated.get().cloned().flatten();
        answer.timings.first_token_ms += before_ms;
        answer.timings.read_tokens += cost.tokens as u32;
        answer.timings.read_s += cost.seconds;
        Ok(answer)
    }

    /// How much of a read document is looked at, and how it is chosen.
    fn look_at(&self, lesson: &Lesson) -> Option<SparseRead> {
        let settings = self.lectern.settings();
        let budget = settings.attention_tokens as usize;
        let policy = match settings.attention_choice {
            AttentionChoice::Keys => PagePolicy::Keys,
            AttentionChoice::Signs => PagePolicy::Signs,
            AttentionChoice::Moments => PagePolicy::Moments,
            AttentionChoice::Clusters => PagePolicy::Clusters,
            AttentionChoice::Bounds => PagePolicy::Bounds,
            AttentionChoice::Window => PagePolicy::Window,
        };
        let is_whole = lesson.segments.is_none();
        (is_whole && budget > 0 && lesson.total() > WORTH_CHOOSING * budget).then(|| {
            let share = lesson.total() / LEAST_PART / BLOCK_TOKENS * BLOCK_TOKENS;
            SparseRead::new(policy, budget.max(share))
        })
    }

    fn answer_tokens(&self) -> usize {
        self.lectern.answer_tokens(self.ask)
    }

    fn stage(&self, stage: AskStage) {
        self.job.tell(Event::Stage { stage });
    }
}
