//! An inverted index of a document's sentences: which of them hold a term, and how much that tells.

use super::terms::{Term, TermKind, terms};
use crate::document::{Document, Span};
use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

/// How much a term that only shares its stem counts beside one that is the same.
pub(super) const STEM_SHARE: f32 = 0.6;

/// Sentences on either side that still count as the same paragraph, in a text that has no paragraphs.
const PARAGRAPH_REACH: usize = 8;

/// A sentence that begins with one of these is about what the one before it was about.
const PRONOUNS: &[&str] = &[
    "he", "she", "it", "they", "his", "her", "its", "their", "this", "these",
];

/// Whether a word at the beginning of a sentence points back to the one before.
pub(super) fn is_pronoun(word: &str) -> bool {
    PRONOUNS.contains(&word.to_lowercase().as_str())
}

/// Sentences of one document and the terms they hold. Built once a document, in one pass over its text; a query
/// then costs the postings of its terms, not the document's length.
pub struct SentenceIndex {
    spans: Vec<Span>,
    /// Number of the paragraph each sentence stands in: a block, and those behind it that begin with a pronoun.
    paragraphs: Vec<u32>,
    /// Terms of each sentence, for the length penalty.
    lengths: Vec<u32>,
    /// At least one.
    mean_length: f32,
    postings: HashMap<u64, Vec<u32>>,
    /// Terms that occur with a small first letter somewhere: a capital does not make those a name.
    small: HashSet<u64>,
    /// Terms that occur with a capital within a sentence, where only names have one.
    inside: HashSet<u64>,
}

impl SentenceIndex {
    /// Indexes every sentence of `document`.
    pub fn new(document: &Document) -> SentenceIndex {
        let spans = document.sentences();
        let mut paragraphs = Vec::with_capacity(spans.len());
        let (mut block, mut paragraph) = (0, 0);
        for span in &spans {
            while document
                .blocks
                .get(block)
                .is_some_and(|b| b.span.end <= span.start)
            {
                block += 1;
                let words = span.of(&document.text).unwrap_or_default();
                let first = words.split(|c: char| !c.is_alphanumeric()).next();
                if !first.is_some_and(is_pronoun) {
                    paragraph = block as u32;
                }
            }
            paragraphs.push(paragraph);
        }
        let mut postings: HashMap<u64, Vec<u32>> = HashMap::new();
        let (mut small, mut inside) = (HashSet::new(), HashSet::new());
        let mut lengths = Vec::with_capacity(spans.len());
        for (sentence, span) in spans.iter().enumerate() {
            let found = terms(span.of(&document.text).unwrap_or_default());
            lengths.push(found.len() as u32);
            for (at, term) in found.into_iter().enumerate() {
                for key in [term.exact, term.stem] {
                    let list = postings.entry(key).or_default();
                    if list.last() != Some(&(sentence as u32)) {
                        list.push(sentence as u32);
                    }
                }
                match term.kind {
                    TermKind::Word => small.insert(term.exact),
                    TermKind::Capitalised if at > 0 => inside.insert(term.exact),
                    _ => false,
                };
            }
        }
        let words: u64 = lengths.iter().map(|&count| u64::from(count)).sum();
        SentenceIndex {
            mean_length: (words as f32 / lengths.len().max(1) as f32).max(1.0),
            spans,
            paragraphs,
            lengths,
            postings,
            small,
            inside,
        }
    }

    /// Sentences in the document.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether the document has no sentence.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Where sentence `sentence` stands.
    pub fn span(&self, sentence: usize) -> Span {
        self.spans[sentence]
    }

    /// All sentences, in order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The sentences of the paragraph that the sentence at `sentence` stands in, that one included; none if no sentence
    /// stands just there.
    pub fn around(&self, sentence: Span) -> &[Span] {
        match self
            .spans
            .binary_search_by_key(&sentence.start, |span| span.start)
        {
            Ok(at) => &self.spans[self.paragraph(at)],
            Err(_) => &[],
        }
    }

    /// How much longer than the mean a sentence is: 0 for the mean or less, 1 for four times the mean or more.
    pub(super) fn excess_length(&self, sentence: usize) -> f32 {
        (self.lengths[sentence] as f32 / self.mean_length - 1.0).clamp(0.0, 3.0) / 3.0
    }

    /// The sentences of the paragraph that holds `sentence`, no more than [`PARAGRAPH_REACH`] away.
    pub(super) fn paragraph(&self, sentence: usize) -> RangeInclusive<usize> {
        let paragraph = self.paragraphs[sentence];
        let first = sentence.saturating_sub(PARAGRAPH_REACH);
        let last = (sentence + PARAGRAPH_REACH).min(self.spans.len() - 1);
        // their numbers ascend with the sentences
        let here = &self.paragraphs[first..=last];
        first + here.partition_point(|&p| p < paragraph)
            ..=first + here.partition_point(|&p| p <= paragraph) - 1
    }

    /// Terms of the paragraph that holds `sentence`.
    pub(super) fn paragraph_terms(&self, text: &str, sentence: usize) -> Vec<Term> {
        self.paragraph(sentence)
            .flat_map(|at| terms(self.spans[at].of(text).unwrap_or_default()))
            .collect()
    }

    /// Sentences that hold `key` (exact or stem), in order.
    pub(super) fn holders(&self, key: u64) -> &[u32] {
        self.postings.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Whether some sentence holds all of `wanted`.
    pub(super) fn holds_together(&self, wanted: &[Term]) -> bool {
        let lists = || wanted.iter().map(|term| self.holders(term.exact));
        let Some(shortest) = lists().min_by_key(|list| list.len()) else {
            return false;
        };
        shortest
            .iter()
            .any(|at| lists().all(|list| list.binary_search(at).is_ok()))
    }

    /// Inverse document frequency over sentences, as BM25 has it: above 0, largest for a term that is nowhere.
    pub(super) fn idf(&self, term: &Term) -> f32 {
        let sentences = self.spans.len() as f32;
        // an inflected form that is rare is as common as its stem
        let holders = self
            .holders(term.exact)
            .len()
            .max(self.holders(term.stem).len()) as f32;
        (1.0 + (sentences - holders + 0.5) / (holders + 0.5)).ln()
    }

    /// Whether `term` is a name: capitalised here, and in the document never written small.
    pub(super) fn is_name(&self, term: &Term) -> bool {
        term.kind == TermKind::Capitalised && !self.small.contains(&term.exact)
    }

    /// Whether a name also stands inside a sentence somewhere: at the beginning of one, every word has a capital.
    pub(super) fn is_name_inside(&self, term: &Term) -> bool {
        self.inside.contains(&term.exact)
    }
}
