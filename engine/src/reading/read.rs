//! The loop over chunks.

use super::pace::Pace;
use super::{CancelFlag, ReadProgress, ReadingError, Scope};
use crate::attention::DenseAttention;
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

/// Reads `input` into `cache` from where the cache ends, and returns when the cache holds all of it, with what it took.
///
/// `on_progress` is called once at the start and after every chunk, `yield_point` before every chunk: it may block for
/// as long as others need the machine. `cancel` stops within about 0.1 s, and the chunk under way is lost.
///
/// A cache that was found damaged is cut before the damage first, and one that holds other tokens than `input` (of
/// another tokenizer, say) where they begin to differ.
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
    let ids: Vec<u32> = input
        .prefix
        .iter()
        .copied()
        .chain(input.tokens.iter().map(|token| token.id))
        .collect();
    if ids.len() > model.context_length() && input.scope.is_none() {
        return Err(ReadingError::TooLong {
            tokens: ids.len(),
            window: model.context_length(),
        });
    }
    let mut pace = Pace::default();
    let mut tokens = resume(cache, &ids)?;
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
    let mut bounded = false;
    for chunk in ids[tokens..].chunks(CHUNK_TOKENS) {
        yield_point();
        if cancel.is_cancelled() {
            return Err(ReadingError::Cancelled);
        }
        let began = Instant::now();
        if let Some(scope) = input.scope.filter(|_| !bounded)
            && tokens + chunk.len() > scope.whole
        {
            attention.look_at(Some(scope.read));
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
fn resume(cache: &KvCache, ids: &[u32]) -> Result<usize, ReadingError> {
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
    cache.cut(same - same % CHUNK_TOKENS)?;
    // What is built upon must be sound.
    if let Some(recovery) = cache.cut_damage()? {
        tracing::warn!(
            "{}: damaged after {} tokens; reading goes on from there",
            cache.folder().display(),
            recovery.kept_tokens
        );
        cache.cut(recovery.kept_tokens - recovery.kept_tokens % CHUNK_TOKENS)?;
    }
    Ok(cache.tokens())
}
