//! How a document that is longer than a model reads well is cut, and what stands where in its cache.
//!
//! ```text
//! cache    [ opening | segment 0 | segment 1      | ...        | last ]
//! holds    [ prompt, | document  | [gap] document |            |      ]
//!          [ title   |                                                    ]
//! looks at   itself    opening, itself  opening, itself
//! ```
//!
//! Each segment is read behind the opening and nothing else, at the positions right behind it: every token is computed from
//! a text that the model's window holds, at places that it was trained on, and costs the same wherever it stands in the
//! document. Keys are kept before rotation, so a question can stand behind any of the segments, one behind the other,
//! as if there were nothing between. Close to Parallel Context Windows (Ratner et al. 2023, arXiv 2212.10947), Prompt Cache
//! (Gim et al. 2024, arXiv 2311.04934) and TurboRAG (Lu et al. 2024, arXiv 2410.07590), of which none keeps what was read
//! on disk in codes.
//!
//! A segment holds as many whole passages as fit, so that every passage stands whole in one of them, and goes on into the next
//! passage up to the end of a block of the cache, since the next segment begins with a block: a twelfth is read twice. Longer ones
//! would waste less, but a small model answers worse from a passage that was read behind others (`docs/long-context.md`).

mod choice;

pub use choice::Choice;

use super::{CHUNK_TOKENS, gap};
use crate::document::{Document, Span};
use crate::kv::{BLOCK_TOKENS, KvView};
use crate::retrieval;
use lectern_models::{Token, Tokenizer, TokenizerError};
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_64;

/// Tokens of a segment at most, by measurement (`docs/long-context.md`).
pub const SEGMENT_TOKENS: usize = 512;

/// Raised when what is computed of a segment comes to depend on something else.
const VERSION: u64 = 4;

/// A document, cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments {
    /// Tokens of the opening, a multiple of [`CHUNK_TOKENS`].
    opening: usize,
    /// Tokens of a segment at most, a multiple of [`BLOCK_TOKENS`].
    size: usize,
    /// Tokens before the document.
    prefix: usize,
    /// All that is read, in order.
    ids: Vec<u32>,
    parts: Vec<Segment>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    /// Where it begins in the cache, a multiple of [`BLOCK_TOKENS`].
    position: usize,
    /// Tokens that say that text was left out.
    gap: usize,
    /// Its tokens, by their number in the document.
    document: Range<usize>,
}

impl Segment {
    fn tokens(&self) -> usize {
        self.gap + self.document.len()
    }

    /// Where it ends in the cache, a multiple of [`BLOCK_TOKENS`] of all but the last.
    fn end(&self) -> usize {
        self.position + self.tokens()
    }
}

impl Segments {
    /// Tokens that a token looks at on the mean, behind a prompt that a chunk holds.
    pub const LOOKED_AT: usize = CHUNK_TOKENS + SEGMENT_TOKENS / 2;

    /// And at most.
    #[cfg(feature = "cuda")]
    pub const LOOKED_AT_MOST: usize = CHUNK_TOKENS + SEGMENT_TOKENS;

    /// Cuts a document of these `tokens` at its passages, as [`Segments::new`] does.
    ///
    /// # Errors
    /// [`TokenizerError`] if what stands for a gap cannot be encoded.
    pub fn of_passages(
        document: &Document,
        tokenizer: &Tokenizer,
        prefix: &[u32],
        tokens: &[Token],
        size: usize,
    ) -> Result<Segments, TokenizerError> {
        let passages = retrieval::passages(document);
        let beginnings: Vec<usize> = passages.iter().map(|passage| passage.start).collect();
        Segments::new(prefix, tokens, &beginnings, size, |byte| {
            tokenizer.encode(&gap(document.belongs_to(Span::new(byte, byte))))
        })
    }

    /// Cuts `tokens` into segments of `size` tokens at most, rounded up to whole blocks. They begin at these bytes of the
    /// document where there are some near enough; `gap` gives the tokens that stand before the one that begins at a byte.
    ///
    /// # Errors
    /// Those of `gap`.
    pub fn new<E>(
        prefix: &[u32],
        tokens: &[Token],
        beginnings: &[usize],
        size: usize,
        gap: impl Fn(usize) -> Result<Vec<u32>, E>,
    ) -> Result<Segments, E> {
        let size = size.next_multiple_of(BLOCK_TOKENS).max(4 * BLOCK_TOKENS);
        let opening = (prefix.len() + 1).next_multiple_of(CHUNK_TOKENS);
        let opened = tokens.len().min(opening - prefix.len());
        let ids_of = |range: Range<usize>| tokens[range].iter().map(|token| token.id);
        let mut segments = Segments {
            opening,
            size,
            prefix: prefix.len(),
            ids: prefix.iter().copied().chain(ids_of(0..opened)).collect(),
            parts: Vec::new(),
        };
        let mut begin = opened;
        while begin < tokens.len() {
            // The first goes on where the opening ends.
            let mut before = match segments.parts.is_empty() {
                true => Vec::new(),
                false => gap(tokens[begin].start as usize)?,
            };
            // A path as long as a segment would leave no room for what stands in it.
            before.truncate(size / 4);
            let room = |tokens: usize| tokens - before.len();
            let most = begin + room(size);
            // The passage that no longer fits begins the next one.
            let next = tokens.get(most).map_or(tokens.len(), |cut| {
                let cut = beginnings.partition_point(|&byte| byte <= cut.start as usize);
                let next = beginnings[..cut].last().map_or(0, |&byte| {
                    tokens.partition_point(|token| (token.start as usize) < byte)
                });
                let near = begin + room(size / 4)..=most;
                if near.contains(&next) { next } else { most }
            });
            let whole = (before.len() + next - begin).next_multiple_of(BLOCK_TOKENS);
            let end = tokens.len().min(begin + room(whole));
            let part = Segment {
                position: segments.ids.len(),
                gap: before.len(),
                document: begin..end,
            };
            segments.ids.extend(&before);
            segments.ids.extend(ids_of(begin..end));
            segments.parts.push(part);
            if end == tokens.len() {
                break;
            }
            begin = next;
        }
        Ok(segments)
    }

    /// Stands for reading in segments of `size` tokens in [`CacheIdentity::scope`](crate::kv::CacheIdentity::scope). The
    /// rest that decides what is computed, prompt and ids, is compared beside it.
    pub fn scope(size: usize) -> u64 {
        xxh3_64(&[VERSION, size as u64].map(u64::to_le_bytes).concat())
    }

    /// [`Segments::scope`] of these.
    pub fn number(&self) -> u64 {
        Segments::scope(self.size)
    }

    /// Ids of all that is read, in order.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// How many segments there are.
    pub fn count(&self) -> usize {
        self.parts.len()
    }

    /// Where a segment stands in the cache.
    pub fn positions(&self, segment: usize) -> Range<usize> {
        let part = &self.parts[segment];
        part.position..part.end()
    }

    /// Tokens of the opening, which every question looks at.
    pub fn opening(&self) -> usize {
        self.opening
    }

    /// Tokens that a token looks at on the mean, itself left out.
    pub fn looked_at(&self) -> usize {
        self.opening + self.size / 2
    }

    /// Tokens that a token looks at at most.
    #[cfg(feature = "cuda")]
    pub(super) fn most_before(&self) -> usize {
        self.opening + self.size
    }

    /// The segment that position `at` of the cache is in; `None` in the opening.
    fn around(&self, at: usize) -> Option<usize> {
        let begun = self.parts.partition_point(|part| part.position <= at);
        begun.checked_sub(1)
    }

    /// Where in the cache the segment begins that position `at` is in; 0 in the opening.
    pub(super) fn beginning(&self, at: usize) -> usize {
        self.around(at).map_or(0, |nth| self.parts[nth].position)
    }

    /// Where the segment ends in the cache that position `at` is in, or the opening.
    pub(super) fn end(&self, at: usize) -> usize {
        let opening = self.opening.min(self.ids.len());
        self.around(at).map_or(opening, |nth| self.parts[nth].end())
    }

    /// The positions that are computed together with `at`, if that is done `most` at a time.
    pub(super) fn chunk(&self, at: usize, most: usize) -> Range<usize> {
        let begin = at - (at - self.beginning(at)) % most;
        begin..self.end(at).min(begin + most)
    }

    /// What of a cache stands before position `at`, for what is read there: the opening, and of its segment what comes
    /// before.
    pub fn before(&self, view: &KvView, at: usize) -> KvView {
        let opening = self.opening.min(at) / BLOCK_TOKENS;
        let segment = self.beginning(at) / BLOCK_TOKENS..at / BLOCK_TOKENS;
        view.pick([0..opening, opening.max(segment.start)..segment.end])
    }

    /// Tokens of the document that the first `cached` tokens of the cache hold.
    pub fn of_document(&self, cached: usize) -> usize {
        let all = self.document_tokens();
        let Some(nth) = self.around(cached) else {
            return cached.saturating_sub(self.prefix).min(all);
        };
        let part = &self.parts[nth];
        let held = part.document.start + (cached - part.position).saturating_sub(part.gap);
        // Where it begins again what the one before held, nothing is new.
        held.max(self.held_before(nth)).min(all)
    }

    fn held_before(&self, segment: usize) -> usize {
        match segment.checked_sub(1) {
            Some(before) => self.parts[before].document.end,
            None => self.opening - self.prefix,
        }
    }

    fn document_tokens(&self) -> usize {
        self.parts
            .last()
            .map_or(self.ids.len() - self.prefix, |part| part.document.end)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    const PREFIX: usize = 40;

    /// Token `n` begins at byte `3 * n` and has the id `1000 + n`.
    fn tokens(count: usize) -> Vec<Token> {
        let token = |n: usize| Token {
            id: 1000 + n as u32,
            start: 3 * n as u32,
        };
        (0..count).map(token).collect()
    }

    fn cut(count: usize, passage: usize, size: usize) -> Segments {
        let beginnings: Vec<usize> = (0..3 * count).step_by(3 * passage).collect();
        let gap = |_| Ok::<_, Infallible>(vec![7, 8, 9]);
        Segments::new(&[1; PREFIX], &tokens(count), &beginnings, size, gap).unwrap()
    }

    #[test]
    fn a_short_document_is_its_opening() {
        for count in [1, 100, CHUNK_TOKENS - PREFIX] {
            let segments = cut(count, 50, 512);
            assert_eq!(segments.count(), 0);
            assert_eq!(segments.ids().len(), PREFIX + count);
            assert_eq!(segments.of_document(PREFIX + count), count);
            assert_eq!(segments.holding(&tokens(count), Span::new(0, 3)), None);
        }
        assert_eq!(cut(CHUNK_TOKENS - PREFIX + 1, 50, 512).count(), 1);
    }

    #[test]
    fn the_passage_that_is_cut_off_stands_whole_in_the_next_segment() {
        let segments = cut(3000, 100, 512);
        // The opening holds 216, the first segment the next 512, to 728: passage 700 to 800 is cut.
        assert_eq!(segments.parts[0].document, 216..728);
        assert_eq!(segments.parts[1].document.start, 700);
        let all = tokens(3000);
        assert_eq!(segments.holding(&all, Span::new(3 * 700, 3 * 800)), Some(1));
        assert_eq!(segments.holding(&all, Span::new(3 * 600, 3 * 700)), Some(0));
        // Begun in the opening, goes on in the first.
        assert_eq!(segments.holding(&all, Span::new(3 * 200, 3 * 300)), Some(0));
        assert_eq!(segments.holding(&all, Span::new(3 * 100, 3 * 200)), None);
    }

    #[test]
    fn no_more_of_it_is_read_twice_than_fills_a_block() {
        let segments = cut(3000, 150, 512);
        let runs: Vec<_> = segments.parts.iter().map(|p| p.document.clone()).collect();
        // 600 - 216 are six blocks; with what stands for the gap 450 are 453, and eight blocks hold 59 more.
        assert_eq!(runs[0..3], [216..600, 600..1109, 1050..1559]);
    }

    #[test]
    fn what_is_read_is_looked_at_in_segments_and_the_rest_in_passages() {
        let segments = cut(3000, 100, 512);
        let all = tokens(3000);
        let passage = |nth: usize| Span::new(300 * nth, 300 * (nth + 1));
        // The second stands in the same segment as the first, the third in the opening.
        let best = [
            passage(25),
            passage(26),
            passage(0),
            passage(3),
            passage(12),
        ];
        let choose = |budget, cached| segments.choose(&all, &best, budget, cached);
        let everything = segments.ids().len();
        let of = |nth| segments.holding(&all, passage(nth)).unwrap();
        assert_eq!(of(25), of(26));
        assert_eq!(choose(1024, everything).segments, [of(3), of(25)]);
        assert_eq!(choose(2048, everything).segments, [of(3), of(12), of(25)]);
        assert_eq!(choose(1, everything).segments, [of(25)]);
        // Two segments are read.
        let some = choose(800, CHUNK_TOKENS + 2 * 512);
        assert_eq!(some.segments, [of(3)]);
        assert_eq!(some.passages, [passage(25), passage(26)]);
        assert_eq!(segments.spread(1536, everything).segments, [0, 2, 4]);
        assert_eq!(segments.spread(1, everything).segments, [0]);
        assert_eq!(segments.spread(9999, CHUNK_TOKENS + 1100).segments, [0, 1]);
        assert!(segments.spread(9999, CHUNK_TOKENS).segments.is_empty());
        let none = choose(250, CHUNK_TOKENS);
        assert_eq!(none.passages, [passage(25), passage(26)]);
        assert!(none.segments.is_empty());
    }

    #[test]
    fn a_passage_longer_than_a_segment_is_cut_where_the_segment_ends() {
        let segments = cut(5000, 3000, 512);
        let runs: Vec<_> = segments.parts.iter().map(|p| p.document.clone()).collect();
        assert_eq!(runs[0..2], [216..728, 728..728 + 509]);
    }

    proptest! {
        #[test]
        fn every_token_is_read_and_found_again(
            count in 1usize..9000,
            passage in 1usize..700,
            size in 200usize..3000,
        ) {
            let segments = cut(count, passage, size);
            let (all, size) = (tokens(count), segments.size);
            // Segments and chunks follow each other without a hole, at beginnings of blocks.
            let mut position = segments.opening;
            for part in &segments.parts {
                prop_assert_eq!(part.position, position);
                prop_assert!(position.is_multiple_of(BLOCK_TOKENS) && part.tokens() <= size);
                position = part.end();
            }
            let mut at = 0;
            while at < segments.ids().len() {
                let chunk = segments.chunk(at, CHUNK_TOKENS);
                prop_assert_eq!(chunk.start, at);
                prop_assert!(chunk.len() <= CHUNK_TOKENS && !chunk.is_empty());
                prop_assert_eq!(&segments.chunk(chunk.end - 1, CHUNK_TOKENS), &chunk);
                at = chunk.end;
            }
            prop_assert_eq!(at, segments.ids().len());
            // What the places say is what the ids are, of any segments looked at, and of all without a hole.
            let every: Vec<usize> = (0..segments.count()).collect();
            let mut next = 0;
            for (position, run) in segments.places(&every, segments.ids().len()) {
                prop_assert!(run.start <= next && run.end > next, "{run:?} after {next}");
                next = run.end;
                for (at, nth) in (position..).zip(run) {
                    prop_assert_eq!(segments.ids()[at], all[nth].id);
                }
            }
            prop_assert_eq!(next, count);
            // Progress goes up to all of it.
            let mut before = 0;
            for cached in (0..=segments.ids().len()).step_by(CHUNK_TOKENS) {
                let held = segments.of_document(cached);
                prop_assert!(held >= before && held <= count);
                before = held;
            }
            prop_assert_eq!(segments.of_document(segments.ids().len()), count);
            // Passages that are not too long stand whole where they are looked for.
            if passage < size / 3 {
                for first in (0..count).step_by(passage) {
                    let end = count.min(first + passage);
                    if let Some(nth) = segments.holding(&all, Span::new(3 * first, 3 * end)) {
                        let part = &segments.parts[nth].document;
                        let opened = segments.parts[0].document.start;
                        prop_assert!(part.start <= first.max(opened) && part.end >= end, "{first}..{end} in {part:?}");
                    }
                }
            }
        }
    }
}
