//! The loop over chunks.

use super::pace::Pace;
use super::{CancelFlag, ReadProgress, ReadingError, Scope, mend};
use crate::attention::{DenseAttention, SparseRead};
use crate::kv::{CacheIdentity, KvCache};
use lectern_models::{Logits, Model, Token};
use std::time::Instant;

/// Tokens read between two yield points: a multiple of a block's 64. Larger chunks read the weights less often but
/// cost more when stopped; at 256 the weights are a small part of the work, and a chunk takes a few seconds.
pub const CHUNK_TOKENS: usize = 256;

/// What is to be read.
#[derive(Debug, Clone)]
pub struct ReadingInput {
    /// Tokens that stand before the document: the template's opening and the instructions.
    pub prefix: Vec<u32>,
    /// The document's tokens.
    pub tokens: Vec<Token>,
    /// Whose cache it fills; [`CacheIdentity::prompt`] is that of `prefix`.
    pub identity: CacheIdentity,
    /// How to read beyond the model's window; without it a document that is longer is refused.
    pub scope: Option<Scope>,
}

impl ReadingInput {
    /// Ids of all that is read, the prefix first.
    pub(super) fn ids(&self) -> Vec<u32> {
        let document = self.tokens.iter().map(|token| token.id);
        self.prefix.iter().copied().chain(document).collect()
    }

    /// What a chunk that ends at `end` looks at; everything with `None`.
    pub(super) fn look_at(&self, end: usize) -> Option<SparseRead> {
        let scope = self.scope.filter(|scope| end > scope.whole);
        scope.map(|scope| scope.read)
    }
}

/// Reads `input` into `cache` from where the cache ends, and returns when the cache holds all of it, with what it took.
///
/// `on_progress` is called once at the start and after every chunk, `yield_point` before every chunk: it may block for
/// as long as others need the machine. `cancel` stops within about 0.1 s, and the chunk under way is lost.
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
    on_progress: &dyn Fn(&ReadProgress),
    cancel: &CancelFlag,
    yield_point: &dyn Fn(),
) -> Result<Pace, ReadingError> {
    let ids = input.ids();
    if ids.len() > model.context_length() && input.scope.is_none() {
        return Err(ReadingError::TooLong {
            tokens: ids.len(),
            window: model.context_length(),
        });
    }
    let mut pace = Pace::default();
    let mut tokens = resume(model, input, cache, &ids, cancel)?;
    let report = |tokens: usize, pace: &Pace| {
        on_progress(&ReadProgress {
            tokens: tokens.saturating_sub(input.prefix.len()) as u32,
            total: input.tokens.len() as u32,
            tokens_per_s: pace.tokens_per_second(),
            seconds_left: pace.seconds(tokens, ids.len(), input.scope.as_ref()),
            cache_bytes: cache.bytes(),
            waiting: false,
        });
    };
    report(tokens, &pace);
    if tokens == ids.len() {
        return Ok(pace);
    }
    let mut attention = DenseAttention::over(cache, model.shape(), cancel.clone())?;
    #[cfg(feature = "cuda")]
    attention.use_gpu_if_sound(&crate::attention::GpuRead {
        ordinal: 0,
        format: cache.format(),
        cached_tokens: ids.len(),
        window_tokens: CHUNK_TOKENS,
        pass_tokens: CHUNK_TOKENS,
        weight_bytes: 0,
    });
    let mut bounded = false;
    for chunk in ids[tokens..].chunks(CHUNK_TOKENS) {
        yield_point();
        if cancel.is_cancelled() {
            return Err(ReadingError::Cancelled);
        }
        let began = Instant::now();
        let look_at = input.look_at(tokens + chunk.len());
        if look_at.is_some() && !bounded {
            attention.look_at(look_at);
            bounded = true;
        }
        model.forward(chunk, &mut attention, Logits::None)?;
        attention.seal(cache, chunk)?;
        let looked_at = input
            .scope
            .map_or(tokens, |scope| scope.looked_at(tokens + chunk.len() - 1));
        pace.add(looked_at.min(tokens), chunk.len(), began.elapsed());
        tokens += chunk.len();
        report(tokens, &pace);
    }
    cache.touch()?;
    Ok(pace)
}

/// Where to go on: after this, the cache holds the first so many tokens of `ids`, all of them or a multiple of the
/// chunk.
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
        cache.cut(same - same % CHUNK_TOKENS)?;
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
