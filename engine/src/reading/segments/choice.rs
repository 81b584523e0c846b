//! What of a document in segments a question looks at, and what stands where then.

use super::{Segment, Segments};
use crate::document::Span;
use crate::kv::{BLOCK_TOKENS, KvView};
use lectern_models::Token;
use std::ops::Range;

/// What of a document a question looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Segments, ascending.
    pub segments: Vec<usize>,
    /// Spans that are not read yet, ascending.
    pub passages: Vec<Span>,
}

impl Segments {
    /// The segment in which these bytes of the document stand, whole if they are a passage's; `None` if all of them stand in
    /// the opening.
    pub fn holding(&self, tokens: &[Token], span: Span) -> Option<usize> {
        let nth = |byte: usize| tokens.partition_point(|token| (token.start as usize) < byte);
        let first = self.parts.first()?;
        if nth(span.end) <= first.document.start {
            return None;
        }
        let begin = nth(span.start).max(first.document.start);
        // Of two that overlap, the one before ends within it.
        let begun = |part: &Segment| part.document.start <= begin;
        Some(self.parts.partition_point(begun) - 1)
    }

    /// What a question looks at, for `budget` tokens: along `spans`, which are best first, the segments that hold them, or,
    /// of what the first `cached` tokens of the cache do not hold, the spans themselves. What no longer fits is passed over,
    /// but the first.
    pub fn choose(&self, tokens: &[Token], spans: &[Span], budget: usize, cached: usize) -> Choice {
        let nth = |byte: usize| tokens.partition_point(|token| (token.start as usize) < byte);
        let held = self.of_document(cached);
        let mut choice = Choice::default();
        let mut left = budget;
        for &span in spans {
            let is_held = nth(span.end) <= held;
            let segment = self.holding(tokens, span).filter(|_| is_held);
            let cost = match segment {
                Some(segment) if choice.segments.contains(&segment) => continue,
                Some(segment) => self.parts[segment].tokens(),
                // The opening is looked at whatever is asked.
                None if is_held => continue,
                None => nth(span.end) - nth(span.start),
            };
            let is_first = choice.segments.is_empty() && choice.passages.is_empty();
            if cost <= left || is_first {
                left = left.saturating_sub(cost);
                match segment {
                    Some(segment) => choice.segments.push(segment),
                    None => choice.passages.push(span),
                }
            }
        }
        choice.segments.sort_unstable();
        choice.passages.sort_unstable();
        choice
    }

    /// As many segments as `budget` tokens hold, one at least, evenly spread, the first among them; of what the first `cached`
    /// tokens of the cache hold whole.
    pub fn spread(&self, budget: usize, cached: usize) -> Choice {
        let read = self.parts.partition_point(|part| part.end() <= cached);
        let spread = |most: usize| (0..most).map(move |nth| nth * read / most);
        let cost =
            |most: usize| -> usize { spread(most).map(|nth| self.parts[nth].tokens()).sum() };
        let most = (1..=read.min(2 * budget / self.size)).rev();
        let fitting = most.into_iter().find(|&most| cost(most) <= budget);
        Choice {
            segments: spread(fitting.unwrap_or(read.min(1))).collect(),
            passages: Vec::new(),
        }
    }

    /// What a question looks at that stands behind these segments, ascending.
    pub fn behind(&self, view: &KvView, picked: &[usize]) -> KvView {
        let blocks = |tokens: usize| tokens / BLOCK_TOKENS;
        let opening = std::iter::once(0..blocks(self.opening));
        view.pick(opening.chain(picked.iter().map(|&nth| {
            let positions = self.positions(nth);
            blocks(positions.start)..positions.end.div_ceil(BLOCK_TOKENS)
        })))
    }

    /// What stands where in that view, `held` tokens long: runs of the document's tokens, by their numbers in it, and the
    /// position of the first of each.
    pub fn places(&self, picked: &[usize], held: usize) -> Vec<(usize, Range<usize>)> {
        let opened = self.prefix..self.opening.min(held).max(self.prefix);
        let mut places = vec![(self.prefix, 0..opened.len())];
        let mut next = self.opening;
        for part in picked.iter().map(|&nth| &self.parts[nth]) {
            let position = next + part.gap;
            let room = held.saturating_sub(position);
            let end = part.document.end.min(part.document.start + room);
            places.push((position, part.document.start..end));
            next += part.tokens();
        }
        places.retain(|(_, tokens)| !tokens.is_empty());
        places
    }
}
