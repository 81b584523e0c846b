//! The loop over chunks.

use super::pace::Pace;
use super::{CancelFlag, ReadProgress, ReadingError, Segments, Wanted, mend};
use crate::attention::DenseAttention;
use crate::background;
use crate::kv::{BLOCK_TOKENS, CacheIdentity, Donor, KvCache, KvError, KvView};
use lectern_models::{Logits, Model, Token};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Tokens read between two yield points: a multiple of a block's 64. Larger chunks read the weights less often but
/// cost more when stopped; at 256 the weights are a small part of the work, and a chunk takes a few seconds.
pub const CHUNK_TOKENS: usize = 256;

/// The same where the model lies on GPUs, whose tensor cores want more to do at a time: a whole segment. A multiple of
/// [`CHUNK_TOKENS`], so that either can go on where the other stopped.
#[cfg(feature = "cuda")]
pub const GPU_CHUNK_TOKENS: usize = 512;

/// How often one pass is given up for others at most: who asks again and again must not keep a reading from ever going on.
const GIVEN_UP_AT_MOST: usize = 2;

/// What is to be read.
#[derive(Debug, Clone)]
pub struct ReadingInput {
    /// Tokens that stand before the document: the template's opening and the instructions.
    pub prefix: Vec<u32>,
    /// The document's tokens.
    pub tokens: Vec<Token>,
    /// Whose cache it fills; [`CacheIdentity::prompt`] is that of `prefix`.
    pub identity: CacheIdentity,
    /// How it is cut, if it is read in segments; without them a document longer than the model's window is refused.
    pub segments: Option<Arc<Segments>>,
}

impl ReadingInput {
    /// Ids of all that is read, the prefix first.
    pub fn ids(&self) -> Vec<u32> {
        if let Some(segments) = &self.segments {
            return segments.ids().to_vec();
        }
        let document = self.tokens.iter().map(|token| token.id);
        self.prefix.iter().copied().chain(document).collect()
    }

    /// What a token at position `at` of the cache can look at.
    pub(super) fn before(&self, view: &KvView, at: usize) -> KvView {
        match &self.segments {
            Some(segments) => segments.before(view, at),
            None => view.pick(std::iter::once(0..at / BLOCK_TOKENS)),
        }
    }

    /// The positions of the cache that are computed together with `at`, if that is done `most` at a time.
    fn chunk(&self, at: usize, most: usize) -> Range<usize> {
        match &self.segments {
            Some(segments) => segments.chunk(at, most),
            None => {
                let begin = at - at % most;
                let all = self.prefix.len() + self.tokens.len();
                begin..all.clamp(begin, begin + most)
            }
        }
    }

    /// What is to be computed next, at `at`: as much as `most` where a chunk of that begins there.
    fn next_chunk(&self, at: usize, most: usize) -> Range<usize> {
        let chunk = self.chunk(at, most);
        match chunk.start == at {
            true => chunk,
            false => at..self.chunk(at, CHUNK_TOKENS).end,
        }
    }

    /// Where reading can go on that has read `view`, of all of a cache, up to `at`, so that the same is computed as by one that
    /// was never stopped: at the beginning of a chunk, and of a pass.
    pub fn goes_on_at(&self, view: &KvView, mut at: usize) -> usize {
        loop {
            let begin = view.pass_begin(self.chunk(at, CHUNK_TOKENS).start);
            let begin = match self.before(view, begin).is_thinned() {
                // What heads have lost was there when the rest was read.
                true => self.run_begins(begin),
                false => begin,
            };
            if begin == at {
                return at;
            }
            at = begin;
        }
    }

    /// Where the run begins of which a token at `at` looks at all that stands before it.
    pub(super) fn run_begins(&self, at: usize) -> usize {
        let segments = self.segments.as_ref();
        segments.map_or(0, |segments| segments.beginning(at))
    }

    /// What looks at all that a token at position `at` of the cache can look at; on the GPU where the model lies on one.
    ///
    /// # Errors
    /// As [`DenseAttention::over_view`].
    pub(super) fn attention_at(
        &self,
        model: &Model,
        cache: &KvCache,
        at: usize,
        cancel: &CancelFlag,
    ) -> Result<DenseAttention, KvError> {
        self.attention_over(model, cache, self.before(&cache.view(), at), cancel)
    }

    /// The same of what is in this view of a cache.
    ///
    /// # Errors
    /// As [`DenseAttention::over_view`].
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
    pub(super) fn attention_over(
        &self,
        model: &Model,
        cache: &KvCache,
        view: KvView,
        cancel: &CancelFlag,
    ) -> Result<DenseAttention, KvError> {
        let attention = DenseAttention::over_view(view, model.shape(), cancel.clone())?;
        #[cfg(feature = "cuda")]
        let attention = {
            let mut attention = attention;
            attention.use_gpu_if_sound(&crate::attention::GpuRead {
                spread: crate::model::spread_of(model),
                format: cache.format(),
                cached_tokens: self.most_before(),
                window_tokens: GPU_CHUNK_TOKENS,
                pass_tokens: GPU_CHUNK_TOKENS,
            });
            attention
        };
        Ok(attention)
    }

    /// Whether what stands at `at` looks at other things than what stands right before it.
    fn begins_anew(&self, at: usize) -> bool {
        let segments = self.segments.as_ref();
        segments.is_some_and(|segments| segments.beginning(at) == at)
    }

    /// Where what is read by itself ends that begins at `at`.
    fn ends(&self, at: usize) -> usize {
        let end = self.segments.as_ref().map(|segments| segments.end(at));
        end.unwrap_or(self.prefix.len() + self.tokens.len())
    }

    /// Tokens of the document that a cache of so many tokens holds.
    pub(super) fn of_document(&self, cached: usize) -> usize {
        match &self.segments {
            Some(segments) => segments.of_document(cached),
            None => cached.saturating_sub(self.prefix.len()),
        }
    }

    /// Tokens that one can look at at most.
    #[cfg(feature = "cuda")]
    fn most_before(&self) -> usize {
        match &self.segments {
            Some(segments) => segments.most_before(),
            None => self.prefix.len() + self.tokens.len(),
        }
    }
}

/// Who follows a reading, who may stop it, and what it need not do.
#[derive(Clone, Copy)]
pub struct Followers<'f> {
    /// Stops it within about 0.1 s; the chunk under way is lost.
    pub cancel: &'f CancelFlag,
    /// Is told how far it is, once at the start and after every chunk.
    pub progress: &'f dyn Fn(&ReadProgress),
    /// Called before every chunk; may block for as long as others need the machine.
    pub yield_point: &'f dyn Fn(),
    /// Called after every chunk with the tokens of the document that are read, for what else is to be done with them.
    /// Its time is the chunk's.
    pub along: &'f dyn Fn(usize),
    /// What was read of the document before it changed: segments that have not changed are taken over.
    pub earlier: Option<&'f Donor>,
    /// Nobody waits for it: it is computed [behind all else](background) that the machine has to do, and while this is wanted the pass under
    /// way is given up, within about 0.1 s, and computed again after the next yield point. On a processor a large model is at
    /// one for half a minute.
    pub behind: Option<&'f Wanted>,
}

impl<'f> Followers<'f> {
    /// None but who may stop it.
    pub fn none(cancel: &'f CancelFlag) -> Followers<'f> {
        Followers {
            cancel,
            progress: &|_| (),
            yield_point: &|| (),
            along: &|_| (),
            earlier: None,
            behind: None,
        }
    }

    /// Computes with as much haste as they have.
    pub(super) fn compute<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        background::run_if(self.behind.is_some(), work)
    }

    /// Lets others have the machine for as long as they need it.
    ///
    /// # Errors
    /// [`ReadingError::Cancelled`].
    pub(super) fn yields(&self) -> Result<(), ReadingError> {
        (self.yield_point)();
        match self.cancel.is_cancelled() {
            true => Err(ReadingError::Cancelled),
            false => Ok(()),
        }
    }

    /// A pass over tokens behind what `attention` holds; says when the one began that was not given up.
    ///
    /// # Errors
    /// As `pass`; [`ReadingError::Cancelled`].
    pub(super) fn pass(
        &self,
        attention: &mut DenseAttention,
        mut pass: impl FnMut(&mut DenseAttention) -> Result<(), ReadingError> + Send,
    ) -> Result<Instant, ReadingError> {
        let before = attention.tokens();
        let mut given_up = 0;
        loop {
            let wanted = self.behind.filter(|_| given_up < GIVEN_UP_AT_MOST);
            attention.listen_to(self.cancel.or_wanted(wanted));
            let began = Instant::now();
            match self.compute(|| pass(attention)) {
                Err(ReadingError::Cancelled) if !self.cancel.is_cancelled() => {
                    given_up += 1;
                    attention.rewind(before);
                    self.yields()?;
                }
                done => return done.map(|()| began),
            }
        }
    }
}

/// Reads `input` into `cache` from where the cache ends, and returns when the cache holds all of it, with what it took.
///
/// A cache that was found damaged is mended first (see [`mend`]), and one that holds other tokens than `input` (of another
/// tokenizer, say) is cut where they begin to differ.
///
/// Cost: the model's forward pass for every token not in the cache. A cache that is complete and not known to be
/// damaged costs a comparison of token ids.
///
/// # Errors
/// [`ReadingError::Cancelled`]; [`ReadingError::TooLong`] before anything is done; [`ReadingError::Cache`], among it a
/// full disk: what was read stays.
pub fn read(
    model: &Model,
    input: &ReadingInput,
    cache: &KvCache,
    followers: Followers<'_>,
) -> Result<Pace, ReadingError> {
    let Followers {
        cancel,
        progress,
        along,
        earlier,
        ..
    } = followers;
    let ids = input.ids();
    if ids.len() > model.context_length() && input.segments.is_none() {
        return Err(ReadingError::TooLong {
            tokens: ids.len(),
            window: model.context_length(),
        });
    }
    let mut pace = Pace::default();
    let mut tokens = followers.compute(|| resume(model, input, cache, &ids, cancel))?;
    let looks_at = input.segments.as_ref().map(|cut| cut.looked_at());
    let report = |tokens: usize, pace: &Pace| {
        progress(&ReadProgress {
            tokens: input.of_document(tokens) as u32,
            total: input.tokens.len() as u32,
            tokens_per_s: pace.tokens_per_second(),
            seconds_left: pace.seconds(tokens, ids.len(), looks_at),
            cache_bytes: cache.bytes(),
            waiting: false,
            making_smaller: false,
        });
    };
    report(tokens, &pace);
    if tokens == ids.len() {
        return Ok(pace);
    }
    let mut attention = input.attention_at(model, cache, tokens, cancel)?;
    while tokens < ids.len() {
        let chunk = &ids[input.next_chunk(tokens, chunk_tokens(model, &attention))];
        followers.yields()?;
        if input.begins_anew(tokens) {
            let segment = &ids[tokens..input.ends(tokens)];
            if let Some(donor) = earlier
                && cache.adopt_segment(donor, segment)?
            {
                tokens += segment.len();
                along(input.of_document(tokens));
                report(tokens, &pace);
                continue;
            }
            attention.go_to(input.before(&cache.view(), tokens))?;
        }
        let before = attention.tokens();
        let began = followers.pass(&mut attention, |attention| {
            model.forward(chunk, attention, Logits::None)?;
            Ok(attention.seal(cache, chunk)?)
        })?;
        tokens += chunk.len();
        along(input.of_document(tokens));
        pace.add(before, chunk.len(), began.elapsed());
        report(tokens, &pace);
    }
    cache.touch()?;
    Ok(pace)
}

/// Tokens of a chunk at most. Where the processor has the products, they take longer than people wait for one.
#[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
fn chunk_tokens(model: &Model, attention: &DenseAttention) -> usize {
    #[cfg(feature = "cuda")]
    if attention.is_on_gpu() && crate::model::spread_of(model).is_some() {
        return GPU_CHUNK_TOKENS;
    }
    CHUNK_TOKENS
}

/// Where to go on: after this, the cache holds the first so many tokens of `ids`, all of them or whole chunks.
fn resume(
    model: &Model,
    input: &ReadingInput,
    cache: &KvCache,
    ids: &[u32],
    cancel: &CancelFlag,
) -> Result<usize, ReadingError> {
    let same = cache.view().common_prefix(ids);
    if same == ids.len() && cache.tokens() == same && !cache.is_damaged() {
        return Ok(same);
    }
    if same < cache.tokens() {
        tracing::warn!(
            "{}: the tokens differ from {same} on; reading goes on from there",
            cache.folder().display()
        );
    }
    if same < ids.len().max(cache.tokens()) {
        let begin = input.goes_on_at(&cache.view(), same);
        cache.cut(begin)?;
    }
    // What is built upon must be sound.
    let mended = mend(model, input, cache, cancel)?;
    if mended > 0 {
        tracing::warn!(
            "{}: {mended} tokens were damaged and were read again",
            cache.folder().display(),
        );
    }
    Ok(cache.tokens())
}
