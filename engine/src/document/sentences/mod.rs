//! Sentences of a text in any language, and statements of code: what a citation shows.
//!
//! In: canonical text and a span of it. Out: spans of sentences, in order, disjoint, without white space at their
//! ends, and together covering every character that is not white space. The base is Unicode's sentence boundaries
//! (UAX #29), which know terminators of every script but no abbreviations, and which take every line end for the
//! end of a sentence; `prose` mends both by hiding what is not a terminator from them. Code has no sentences:
//! `code` keeps a statement, or a run of comment lines, together.

mod code;
mod prose;

use super::{BlockKind, Document, DocumentKind, Span};

/// Longest sentence in bytes; a longer run without a terminator is cut at white space, so that a citation stays
/// something one can read (about 384 tokens, the cap of SelfCite, arXiv 2502.09604).
const LONGEST: usize = 1536;

/// The sentences of `span`, any language; paragraphs that look like code are split into statements.
///
/// A blank line ends a sentence, a single line end does not (texts are hard-wrapped); a line that opens a list item
/// begins a new one. A span outside `text`, or not on its characters, has no sentences.
pub fn sentences(text: &str, span: Span) -> Vec<Span> {
    let mut found = Vec::new();
    let Some(words) = span.of(text) else {
        return found;
    };
    let mut fenced = false;
    for paragraph in paragraphs(words) {
        let body = &words[paragraph.start..paragraph.end];
        let fence = body
            .lines()
            .filter(|line| line.trim_start().starts_with("```"))
            .count();
        let is_code = fenced || fence > 0 || code::looks_like_code(body);
        fenced ^= fence % 2 == 1;
        let parts = if is_code {
            code::statements(body)
        } else {
            prose::sentences(body)
        };
        let offset = span.start + paragraph.start;
        push_bounded(text, offset, parts, &mut found);
    }
    found
}

/// The statements of `span`, which is known to be code.
pub fn statements(text: &str, span: Span) -> Vec<Span> {
    let mut found = Vec::new();
    if let Some(words) = span.of(text) {
        push_bounded(text, span.start, code::statements(words), &mut found);
    }
    found
}

impl Document {
    /// Every sentence of the document, in order; none crosses a block, and kept lines of code are statements.
    pub fn sentences(&self) -> Vec<Span> {
        let mut found = Vec::with_capacity(self.text.len() / 80);
        for block in &self.blocks {
            match block.kind {
                BlockKind::Preformatted { .. } if self.kind == DocumentKind::Code => {
                    found.extend(statements(&self.text, block.span));
                }
                BlockKind::TableRow { .. } | BlockKind::Heading(_) => {
                    let whole = trimmed(&self.text, block.span);
                    push_bounded(&self.text, 0, vec![whole], &mut found);
                }
                _ => found.extend(sentences(&self.text, block.span)),
            }
        }
        found
    }
}

/// Runs of lines between blank ones, relative to `words`.
fn paragraphs(words: &str) -> Vec<Span> {
    let mut found: Vec<Span> = Vec::new();
    let mut open: Option<Span> = None;
    let mut at = 0;
    for line in words.split_inclusive('\n') {
        let span = Span::new(at, at + line.len());
        at = span.end;
        if line.trim().is_empty() {
            found.extend(open.take());
        } else {
            open = Some(Span::new(open.map_or(span.start, |o| o.start), span.end));
        }
    }
    found.extend(open);
    found
}

/// Moves `parts` by `offset`, trims them, cuts what is longer than [`LONGEST`] and appends what is left.
fn push_bounded(text: &str, offset: usize, parts: Vec<Span>, found: &mut Vec<Span>) {
    for part in parts {
        let mut rest = trimmed(text, Span::new(part.start + offset, part.end + offset));
        while rest.len() > LONGEST {
            let cut = rest.start + cut_before(&text[rest.start..rest.end], LONGEST);
            let head = trimmed(text, Span::new(rest.start, cut));
            if !head.is_empty() {
                found.push(head);
            }
            rest = trimmed(text, Span::new(cut, rest.end));
        }
        if !rest.is_empty() {
            found.push(rest);
        }
    }
}

/// Where to cut `words`, at most `limit` bytes in: at the last line end, else the last white space, of its second
/// half, else at the last character.
fn cut_before(words: &str, limit: usize) -> usize {
    let mut end = limit;
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    let head = &words[..end];
    let cut = head
        .rfind('\n')
        .filter(|&at| at > limit / 2)
        .or_else(|| head.rfind(char::is_whitespace).filter(|&at| at > limit / 2));
    cut.unwrap_or(end)
}

/// The span without white space at its ends; empty (at its start) when there is nothing else.
fn trimmed(text: &str, span: Span) -> Span {
    let words = &text[span.start..span.end];
    let start = span.start + (words.len() - words.trim_start().len());
    let length = words.trim().len();
    if length == 0 {
        Span::new(span.start, span.start)
    } else {
        Span::new(start, start + length)
    }
}

#[cfg(test)]
mod tests;
