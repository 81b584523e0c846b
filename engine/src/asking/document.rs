//! A document made ready for questions.

use crate::citing::SentenceIndex;
use crate::document::{Document, Span};
use crate::retrieval;
use lectern_models::Token;
use lectern_protocol::Citation;

/// A document, its passages and the index of its sentences; worth keeping between questions (the index takes some 0.1 s to
/// build for a 100,000-word book, and about as much memory as the text).
pub struct OpenDocument {
    /// Id in the library; citations carry it.
    pub id: String,
    /// The document.
    pub document: Document,
    /// Its passages, in order.
    pub passages: Vec<Span>,
    /// Its sentences.
    pub sentences: SentenceIndex,
}

impl OpenDocument {
    /// Indexes `document`.
    pub fn new(id: String, document: Document) -> OpenDocument {
        OpenDocument {
            id,
            passages: retrieval::passages(&document),
            sentences: SentenceIndex::new(&document),
            document,
        }
    }

    /// Its words in `span` as evidence; of a PDF without their place on the page, which needs more than is held here. `None` if
    /// no words stand there.
    pub(crate) fn citation(&self, span: Span, score: f32) -> Option<Citation> {
        Some(Citation {
            document: self.id.clone(),
            start: span.start as u32,
            end: span.end as u32,
            quote: span.of(&self.document.text)?.to_owned(),
            anchor: self.document.anchor(span).into(),
            score,
            gone: false,
        })
    }
}

/// Which cached positions hold which bytes of the document.
pub(super) struct Positions {
    /// Position in the cache and first byte of its token, in the document's order.
    held: Vec<(u32, u32)>,
}

impl Positions {
    /// Of a document read whole after `prefix` tokens.
    pub fn whole(prefix: usize, tokens: &[Token]) -> Positions {
        let held = tokens
            .iter()
            .enumerate()
            .map(|(at, token)| ((prefix + at) as u32, token.start));
        Positions {
            held: held.collect(),
        }
    }

    /// Of passages, to be filled.
    pub fn empty() -> Positions {
        Positions { held: Vec::new() }
    }

    /// Appends the tokens of the passage that begins at byte `start`, read from position `position` on.
    pub fn push_passage(&mut self, position: usize, start: usize, tokens: &[Token]) {
        let held = tokens
            .iter()
            .enumerate()
            .map(|(at, token)| ((position + at) as u32, start as u32 + token.start));
        self.held.extend(held);
    }

    /// Puts them in the document's order, where passages that were appended overlap.
    pub fn sort(&mut self) {
        self.held
            .sort_unstable_by_key(|&(position, byte)| (byte, position));
    }

    /// First byte and mass of each document token, from the mass of all positions.
    pub fn masses<'m>(&'m self, mass: &'m [f32]) -> impl Iterator<Item = (usize, f32)> + 'm {
        self.held.iter().map(|&(position, start)| {
            (
                start as usize,
                mass.get(position as usize).copied().unwrap_or(0.0),
            )
        })
    }
}

/// Passages in the document's order, clipped to it, without those that overlap an earlier one.
pub(super) fn in_order(passages: &[Span], text: &str) -> Vec<Span> {
    let mut sorted: Vec<Span> = passages
        .iter()
        .copied()
        .filter(|span| span.of(text).is_some_and(|words| !words.trim().is_empty()))
        .collect();
    sorted.sort_unstable();
    let mut kept: Vec<Span> = Vec::with_capacity(sorted.len());
    for span in sorted {
        if kept.last().is_none_or(|last| last.end <= span.start) {
            kept.push(span);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passages_come_in_the_documents_order_and_once() {
        let text = "one two three four";
        let spans = [
            Span::new(8, 13),
            Span::new(0, 3),
            Span::new(10, 18),
            Span::new(14, 99),
            Span::new(3, 4),
        ];
        assert_eq!(in_order(&spans, text), [Span::new(0, 3), Span::new(8, 13)]);
    }

    #[test]
    fn mass_is_told_by_byte() {
        let token = |start| Token { id: 0, start };
        let mut positions = Positions::empty();
        positions.push_passage(2, 100, &[token(0), token(4)]);
        positions.push_passage(5, 300, &[token(0)]);
        let mass = [9.0, 9.0, 1.0, 2.0, 9.0, 4.0];
        assert_eq!(
            positions.masses(&mass).collect::<Vec<_>>(),
            [(100, 1.0), (104, 2.0), (300, 4.0)]
        );
        let whole = Positions::whole(1, &[token(0), token(7)]);
        assert_eq!(
            whole.masses(&[9.0, 5.0]).collect::<Vec<_>>(),
            [(0, 5.0), (7, 0.0)]
        );
    }
}
