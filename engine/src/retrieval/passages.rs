//! Cutting a document into passages: the unit that retrieval ranks.
//!
//! A passage is a run of whole blocks of about 150 to 250 words. A heading opens a new one, so that its words weigh
//! for what follows; a block longer than that is cut at the end of a sentence or line.

use crate::document::{BlockKind, Document, Span};
use crate::library::{count_words, stands_alone};

/// Words at which a passage is long enough.
const ENOUGH: usize = 150;
/// Words that a passage has at most, unless a single sentence has more.
const MOST: usize = 250;

/// The passages of a document, in order, covering all its blocks.
pub fn passages(document: &Document) -> Vec<Span> {
    let text = document.text.as_str();
    let mut passages = Vec::new();
    let mut open: Option<(Span, usize)> = None;
    // Whether the open passage holds headings and nothing else.
    let mut only_headings = false;
    for block in &document.blocks {
        let heading = matches!(block.kind, BlockKind::Heading(_));
        for piece in pieces(text, block.span) {
            let words = count_words(piece.of(text).unwrap_or_default());
            open = match open {
                Some((span, so_far))
                    if (only_headings || !heading && so_far < ENOUGH) && so_far + words <= MOST =>
                {
                    Some((Span::new(span.start, piece.end), so_far + words))
                }
                closed => {
                    passages.extend(closed.map(|(span, _)| span));
                    only_headings = true;
                    Some((piece, words))
                }
            };
            only_headings &= heading;
        }
    }
    passages.extend(open.map(|(span, _)| span));
    passages
}

/// `span` cut into pieces of at most [`MOST`] words, at ends of sentences or lines where there are some.
fn pieces(text: &str, span: Span) -> Vec<Span> {
    let mut pieces = Vec::new();
    let mut start = span.start;
    let mut words = 0;
    // The last good place to cut since `start`, and the words before it.
    let mut cut: Option<usize> = None;
    let mut inside = false;
    let mut previous = ' ';
    let Some(slice) = span.of(text) else {
        return pieces;
    };
    for (offset, c) in slice.char_indices() {
        let at = span.start + offset;
        let alone = stands_alone(c);
        if c.is_whitespace() {
            if c == '\n' || matches!(previous, '.' | '!' | '?' | '…') {
                cut = Some(at + c.len_utf8());
            }
            inside = false;
        } else if alone || !inside {
            words += 1;
            inside = !alone;
        }
        if matches!(c, '。' | '!' | '?') {
            cut = Some(at + c.len_utf8());
        }
        if words > MOST {
            let end = cut.unwrap_or(at);
            pieces.push(Span::new(start, end));
            words = count_words(&text[end..at + c.len_utf8()]);
            start = end;
            cut = None;
        }
        if !c.is_whitespace() {
            previous = c;
        }
    }
    if start < span.end {
        pieces.push(Span::new(start, span.end));
    }
    pieces
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::document::{Block, DocumentKind};

    fn document(blocks: &[(BlockKind, String)]) -> Document {
        let mut text = String::new();
        let blocks = blocks
            .iter()
            .map(|(kind, words)| {
                let start = text.len();
                text.push_str(words);
                let span = Span::new(start, text.len());
                text.push_str("\n\n");
                Block {
                    kind: *kind,
                    span,
                    marks: Vec::new(),
                }
            })
            .collect();
        Document {
            kind: DocumentKind::Text,
            title: String::new(),
            authors: None,
            text,
            sections: Vec::new(),
            blocks,
            pages: Vec::new(),
            notices: Vec::new(),
        }
    }

    fn sentence(words: usize) -> String {
        let mut sentence = vec!["word"; words].join(" ");
        sentence.push_str(". ");
        sentence
    }

    #[test]
    fn short_paragraphs_are_joined_and_headings_open_passages() {
        use BlockKind::*;
        let document = document(&[
            (Heading(1), "Part".into()),
            (Heading(2), "One".into()),
            (Paragraph, sentence(80)),
            (Paragraph, sentence(80)),
            (Paragraph, sentence(20)),
            (Heading(2), "Two".into()),
            (Paragraph, sentence(10)),
        ]);
        let cut: Vec<usize> = passages(&document)
            .iter()
            .map(|span| count_words(span.of(&document.text).unwrap()))
            .collect();
        assert_eq!(cut, [162, 20, 11]);
    }

    #[test]
    fn long_blocks_are_cut_at_sentences_and_nothing_is_lost() {
        let block = sentence(100).repeat(9);
        let document = document(&[(BlockKind::Paragraph, block.trim().to_owned())]);
        let cut = passages(&document);
        assert_eq!(cut.len(), 5);
        for span in &cut {
            let words = count_words(span.of(&document.text).unwrap());
            assert!(words == 200 || words == 100, "{words}");
        }
        assert_eq!(cut[0].start, 0);
        assert!(cut.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert_eq!(cut.last().unwrap().end, document.blocks[0].span.end);
    }

    #[test]
    fn a_text_without_blanks_or_full_stops_is_cut_on_characters() {
        let document = document(&[
            (BlockKind::Paragraph, "語".repeat(1000)),
            (BlockKind::Paragraph, "x".repeat(1000)),
        ]);
        let cut = passages(&document);
        assert!(cut.len() >= 4, "{cut:?}");
        assert!(cut.iter().all(|span| span.of(&document.text).is_some()));
    }
}
