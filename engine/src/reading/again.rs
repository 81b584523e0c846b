//! Saying a document again, to learn what of its cache can be left out.
//!
//! KVzip (Kim et al. 2025, arXiv 2505.23416): the model is asked to repeat what it has read, and given it; a token of a head is worth
//! the most attention that any row of that pays to it. What nothing comes back to can go, whatever is asked later: answers
//! repeat, too. Each piece is said with itself and the opening before it, as in the paper: a segment, or [`PIECE`] tokens of a document
//! that is read as a whole. So the cost of a token is the same wherever it stands, about that of reading it in a segment, and what
//! was scored before a stop stays scored.

use super::prompt::suffix;
use super::{Followers, ReadProgress, ReadingError, ReadingInput};
use crate::attention::DenseAttention;
use crate::kv::{BLOCK_TOKENS, KvCache, KvError, KvView, Scores, worth};
use lectern_models::{Logits, Model};
use std::ops::Range;
use std::time::Instant;

/// Tokens of a piece of a document that is read as a whole: as many as of a segment.
pub const PIECE: usize = super::SEGMENT_TOKENS;

/// Tokens of a pass: the most of which the largest attention is recorded.
const PASS: usize = 64;

const REQUEST: &str = "Repeat the previous context exactly.";

/// The same cache, complete and undamaged, with about `share` of what can be left out of it, the tokens that heads can do without
/// being gone. Makes the scores that are not there first.
///
/// # Errors
/// As [`score`] and [`KvCache::thin`]; the cache on disk is as it was then.
pub fn thin(
    model: &Model,
    input: &ReadingInput,
    cache: KvCache,
    share: f64,
    followers: Followers<'_>,
) -> Result<KvCache, ReadingError> {
    let mut scores = score(model, input, &cache, followers)?;
    let kept = scores.keep(&cache.view(), share, input.opening() / BLOCK_TOKENS)?;
    Ok(cache.thin(&kept)?)
}

/// Scores what of a complete cache was not scored before.
///
/// Cost: the model's forward pass for every token in a piece that lacks a score, with attention on the processor; memory: four bytes
/// for each head and token of a piece and its opening.
///
/// # Errors
/// [`ReadingError::Cancelled`]: what was scored stays. [`ReadingError::Cache`], [`ReadingError::Forward`].
pub fn score(
    model: &Model,
    input: &ReadingInput,
    cache: &KvCache,
    followers: Followers<'_>,
) -> Result<Scores, ReadingError> {
    let ids = input.ids();
    let view = cache.view();
    let mut scores = cache.scores()?;
    let asked = suffix(model.chat_template(), model.tokenizer(), &[], REQUEST)?.tokens;
    let began = Instant::now();
    let (mut said, mut looked): (usize, Option<DenseAttention>) = (0, None);
    for piece in input.pieces() {
        let blocks = piece.start / BLOCK_TOKENS..piece.end / BLOCK_TOKENS;
        let report = || {
            let speed = said as f64 / began.elapsed().as_secs_f64().max(1e-6);
            (followers.progress)(&ReadProgress {
                tokens: input.of_document(piece.start) as u32,
                total: input.tokens.len() as u32,
                tokens_per_s: speed,
                seconds_left: (said > 0).then(|| (ids.len() - piece.start) as f64 / speed),
                cache_bytes: cache.bytes(),
                waiting: false,
                making_smaller: true,
            });
        };
        report();
        let scored: Result<Vec<bool>, KvError> = blocks
            .clone()
            .map(|block| Ok(scores.of_block(&view, block)?.is_some()))
            .collect();
        if !scored?.contains(&false) {
            continue;
        }
        let looks_at = input.looks_at(&view, &piece);
        let attention = match &mut looked {
            Some(attention) => {
                attention.go_to(looks_at)?;
                attention
            }
            none => none.insert(DenseAttention::over_view(
                looks_at,
                model.shape(),
                followers.cancel.clone(),
            )?),
        };
        attention.record_peaks();
        let cached = attention.cached_tokens();
        let rows: Vec<u32> = asked.iter().chain(&ids[piece.clone()]).copied().collect();
        for pass in rows.chunks(PASS) {
            followers.yields()?;
            // What a pass that was given up has recorded, it records again: the most that was paid stays the same.
            followers.pass(attention, |attention| {
                model.forward(pass, attention, Logits::None)?;
                Ok(())
            })?;
        }
        let peaks = attention.take_peaks();
        let behind = cached - piece.len();
        let of_blocks: Vec<Vec<u8>> = (0..blocks.len())
            .map(|nth| {
                let begin = behind + nth * BLOCK_TOKENS;
                let of_heads = peaks.chunks_exact(cached);
                of_heads
                    .flat_map(|head| head[begin..begin + BLOCK_TOKENS].iter())
                    .map(|attention| worth(*attention))
                    .collect()
            })
            .collect();
        scores.put(&view, blocks.start, &of_blocks)?;
        said += piece.len();
    }
    Ok(scores)
}

impl ReadingInput {
    /// Tokens from the beginning that are looked at whatever is asked, and of which nothing is left out; a multiple of 64.
    pub fn opening(&self) -> usize {
        let all = self.prefix.len() + self.tokens.len();
        match &self.segments {
            Some(segments) => segments.opening(),
            None => self.prefix.len().next_multiple_of(BLOCK_TOKENS),
        }
        .min(all / BLOCK_TOKENS * BLOCK_TOKENS)
    }

    /// The positions of what is said again at a time: all behind the opening, in runs that begin with a block.
    fn pieces(&self) -> Vec<Range<usize>> {
        match &self.segments {
            Some(segments) => (0..segments.count())
                .map(|nth| segments.positions(nth))
                .collect(),
            None => {
                let all = self.prefix.len() + self.tokens.len();
                let begins = (self.opening()..all).step_by(PIECE);
                begins.map(|begin| begin..all.min(begin + PIECE)).collect()
            }
        }
    }

    /// The opening and a piece.
    fn looks_at(&self, view: &KvView, piece: &Range<usize>) -> KvView {
        view.pick([
            0..self.opening() / BLOCK_TOKENS,
            piece.start / BLOCK_TOKENS..piece.end.div_ceil(BLOCK_TOKENS),
        ])
    }
}
