//! Puts blocks one after another into canonical text. Every flowing format (all but PDF) goes through here.

use super::IngestFault;
use crate::document::{
    Block, BlockKind, Document, DocumentKind, Mark, MarkKind, Section, SectionKind, Span,
};
use std::ops::Range;

/// Text between two blocks.
const SEPARATOR: &str = "\n\n";

/// What a character becomes in canonical text: `None` if it has no place there.
///
/// Control characters go (form feeds and vertical tabs separate, so they become a blank), and so do soft hyphens,
/// zero-width spaces and byte order marks, which would split words for search and for the model. A no-break space
/// is a space: it says how to set the words, not which.
pub(crate) fn canonical(character: char) -> Option<char> {
    match character {
        '\n' | '\t' => Some(character),
        '\u{a0}' | '\u{202f}' | '\u{c}' | '\u{b}' => Some(' '),
        '\u{ad}' | '\u{200b}' | '\u{feff}' => None,
        '\u{2028}' | '\u{2029}' => Some('\n'),
        c if c.is_control() => None,
        c => Some(c),
    }
}

/// A document while it grows.
#[derive(Debug)]
pub(crate) struct DocumentBuilder {
    text: String,
    blocks: Vec<Block>,
    limit: u64,
}

impl DocumentBuilder {
    /// An empty document that may grow to `limit` bytes of text.
    pub fn new(limit: u64) -> DocumentBuilder {
        DocumentBuilder {
            text: String::new(),
            blocks: Vec::new(),
            limit,
        }
    }

    /// Where the next block will begin, if it does not begin with white space.
    pub fn next_start(&self) -> usize {
        match self.blocks.is_empty() {
            true => 0,
            false => self.text.len() + SEPARATOR.len(),
        }
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The blocks so far.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Appends a block; `marks` are byte ranges of `text`. White space around it is dropped (indentation and cells
    /// are kept where they mean something); a block of white space is no block.
    ///
    /// `text` must hold canonical characters only (see [`canonical`]).
    pub fn block(
        &mut self,
        kind: BlockKind,
        text: &str,
        marks: &[(MarkKind, Range<usize>)],
    ) -> Result<(), IngestFault> {
        let body = body_of(kind, text);
        if body.is_empty() {
            return Ok(());
        }
        if !self.blocks.is_empty() {
            self.text.push_str(SEPARATOR);
        }
        self.append(kind, &text[body.clone()], body.start, marks)
    }

    /// Appends lines of the same source file directly after the last block, which `gap` (white space) separates.
    pub fn continue_lines(
        &mut self,
        gap: &str,
        kind: BlockKind,
        text: &str,
    ) -> Result<(), IngestFault> {
        self.text.push_str(gap);
        self.append(kind, text, 0, &[])
    }

    fn append(
        &mut self,
        kind: BlockKind,
        body: &str,
        cut: usize,
        marks: &[(MarkKind, Range<usize>)],
    ) -> Result<(), IngestFault> {
        if (self.text.len() + body.len()) as u64 > self.limit {
            return Err(IngestFault::TextTooLong { limit: self.limit });
        }
        let start = self.text.len();
        self.text.push_str(body);
        let mut marks: Vec<Mark> = marks
            .iter()
            .filter_map(|(kind, range)| {
                let begin = range.start.max(cut) - cut;
                let end = range.end.saturating_sub(cut).min(body.len());
                (begin < end).then(|| Mark {
                    kind: *kind,
                    span: Span::new(start + begin, start + end),
                })
            })
            .collect();
        marks.sort_by_key(|mark| (mark.span.start, mark.span.end));
        self.blocks.push(Block {
            kind,
            span: Span::new(start, self.text.len()),
            marks,
        });
        Ok(())
    }

    /// Sections from the headings: each reaches to the next heading of the same or a higher level.
    pub fn sections_from_headings(&self, item: &str) -> Vec<Section> {
        let headings = self.blocks.iter().filter_map(|block| match block.kind {
            BlockKind::Heading(level) => Some((
                u16::from(level),
                self.text[block.span.start..block.span.end].replace(['\n', '\t'], " "),
                block.span.start,
                item.to_owned(),
            )),
            _ => None,
        });
        nest(headings, self.text.len() + 1)
    }

    /// The first heading's words.
    pub fn first_heading(&self) -> Option<String> {
        let block = self
            .blocks
            .iter()
            .find(|b| matches!(b.kind, BlockKind::Heading(_)))?;
        Some(self.text[block.span.start..block.span.end].replace(['\n', '\t'], " "))
    }

    /// The document, if it holds any word. Section ends beyond the text are brought back to its end.
    pub fn finish(
        mut self,
        kind: DocumentKind,
        title: String,
        authors: Option<String>,
        mut sections: Vec<Section>,
        notices: Vec<String>,
    ) -> Result<Document, IngestFault> {
        if self.blocks.is_empty() {
            return Err(IngestFault::Empty);
        }
        self.text.push('\n');
        for section in &mut sections {
            section.span.end = section.span.end.min(self.text.len());
        }
        Ok(Document {
            kind,
            title,
            authors,
            text: self.text,
            sections,
            blocks: self.blocks,
            pages: Vec::new(),
            notices,
        })
    }
}

/// Builds nested sections from `(level, title, start, item)` in document order; the last ones reach to `end`.
/// Levels may skip (h1, h3): depth counts the levels that are open.
pub(crate) fn nest(
    headings: impl IntoIterator<Item = (u16, String, usize, String)>,
    end: usize,
) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut open: Vec<(u16, usize)> = Vec::new(); // (level, index into sections)
    for (level, title, start, item) in headings {
        while let Some(&(last, index)) = open.last() {
            if last < level {
                break;
            }
            sections[index].span.end = start;
            open.pop();
        }
        open.push((level, sections.len()));
        sections.push(Section {
            kind: SectionKind::Heading,
            title,
            depth: (open.len() - 1) as u16,
            span: Span::new(start, end),
            item,
        });
    }
    sections
}

/// The part of `text` that makes the block.
fn body_of(kind: BlockKind, text: &str) -> Range<usize> {
    let end = text.trim_end().len();
    let start = match kind {
        // Indentation of the first line is part of the lines; blank lines before it are not.
        BlockKind::Preformatted { .. } => {
            let first = text.len() - text.trim_start().len();
            text[..first].rfind('\n').map_or(0, |line_end| line_end + 1)
        }
        // A leading tab is an empty first cell.
        BlockKind::TableRow { .. } => 0,
        _ => text.len() - text.trim_start().len(),
    };
    if start >= end { 0..0 } else { start..end }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn blocks_are_trimmed_and_marks_follow() {
        let mut builder = DocumentBuilder::new(1000);
        builder.block(BlockKind::Paragraph, "   ", &[]).unwrap();
        builder.block(BlockKind::Heading(1), " One ", &[]).unwrap();
        builder
            .block(
                BlockKind::Paragraph,
                "  a bold word ",
                &[(MarkKind::Strong, 4..8), (MarkKind::Code, 0..3)],
            )
            .unwrap();
        builder
            .block(
                BlockKind::Preformatted { first_line: 1 },
                "\n\n  x\n y\n\n",
                &[],
            )
            .unwrap();
        builder.block(BlockKind::Heading(3), "Deep", &[]).unwrap();
        builder
            .block(BlockKind::TableRow { header: false }, "\tb\t", &[])
            .unwrap();
        let sections = builder.sections_from_headings("");
        let document = builder
            .finish(DocumentKind::Html, "t".into(), None, sections, vec![])
            .unwrap();
        document.check().unwrap();
        assert_eq!(
            document.text,
            "One\n\na bold word\n\n  x\n y\n\nDeep\n\n\tb\n"
        );
        let marks = &document.blocks[1].marks;
        assert_eq!(marks[1].span.of(&document.text), Some("bold"));
        assert_eq!(marks[0].span.of(&document.text), Some("a"));
        assert_eq!(document.sections[1].depth, 1);
        assert_eq!(document.sections[0].span, Span::new(0, document.text.len()));
    }

    #[test]
    fn text_beyond_the_limit_is_refused() {
        let mut builder = DocumentBuilder::new(10);
        builder.block(BlockKind::Paragraph, "12345", &[]).unwrap();
        assert_eq!(
            builder.block(BlockKind::Paragraph, "67890", &[]),
            Err(IngestFault::TextTooLong { limit: 10 })
        );
    }
}
