//! What one ingested item *is*: canonical UTF-8 text, its structure, and where each byte of it stands in the original.
//!
//! In: nothing; these are plain values. Out: [`Document`], made by `ingest`, kept by `library`, and read by every
//! later stage. A [`Span`] (a half-open byte range of the canonical text) is the only way evidence is named, so
//! whatever a format does to its text (columns, hyphens, markup) is settled once, at ingest, and never again.

mod anchor;
mod block;
mod check;
mod locate;
mod section;
mod sentences;
mod span;
mod versions;
mod wire;

pub use anchor::{Anchor, LineRange, Page, PageQuads, Quad};
pub use block::{Block, BlockKind, Mark, MarkKind};
pub use section::{Section, SectionKind};
pub use sentences::{sentences, statements};
pub use span::Span;
pub use versions::Versions;

use serde::{Deserialize, Serialize};

/// The family of formats a document came from; decides how the viewer shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DocumentKind {
    /// Pages drawn by pdf.js; anchors are pages and quads.
    Pdf,
    /// Chapters shown from blocks.
    Epub,
    /// One flow of blocks.
    Html,
    /// One flow of blocks.
    Markdown,
    /// One flow of paragraphs.
    Text,
    /// A folder or single file of source code: sections are files, blocks are runs of lines.
    Code,
    /// A text of a word processor (DOCX, ODT, RTF): one flow of blocks.
    Word,
    /// A presentation: one flow of blocks, a section a slide.
    Slides,
    /// Sheets and tables: rows, a section a sheet.
    Sheets,
    /// Messages: one flow of blocks, a section a message.
    Mail,
}

/// One ingested item.
///
/// Invariants (checked by [`Document::check`] on everything that comes out of the sandbox): `text` holds no control
/// character but `\n` and `\t`; every span lies on character boundaries inside `text`; `blocks` are in order, do not
/// overlap and cover every character that is not white space, with their marks inside them; `sections` are in document
/// order with children inside parents; PDF documents, and only they, have `pages`, in order, with one finite upright
/// box a character.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Format family.
    pub kind: DocumentKind,
    /// Title from the metadata, else from the first heading, else the file name without extension.
    pub title: String,
    /// Authors as one line, if the file names any.
    pub authors: Option<String>,
    /// Canonical text. Lines end in `\n`; blocks are separated by an empty line (two runs of lines of one source file
    /// by what stands between them in the file); no form feeds, no NUL, NFC is *not* applied (the words stay as they
    /// stand in the original).
    pub text: String,
    /// The document's own structure, flattened in reading order; depth is in the section.
    pub sections: Vec<Section>,
    /// Paragraph-like units in reading order: what the viewer lays out and what passages are made of.
    pub blocks: Vec<Block>,
    /// Pages of a PDF, empty otherwise.
    pub pages: Vec<Page>,
    /// Things the person should know ("pages 3-7 hold no text: scanned?"), in words for them.
    pub notices: Vec<String>,
}

/// A violated invariant of a [`Document`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentFault {
    /// A span ends before it starts, beyond the text, or inside a character.
    #[error(
        "{what} {index}: span {start}..{end} does not lie on characters of a text of {length} bytes"
    )]
    BadSpan {
        /// What carries the span: "block", "section", "page", "mark".
        what: &'static str,
        /// Its index.
        index: usize,
        /// First byte.
        start: usize,
        /// Byte after the last.
        end: usize,
        /// Bytes in the text.
        length: usize,
    },
    /// Two neighbours overlap or stand in the wrong order.
    #[error("{what} {index} begins before the one before it ends")]
    Disorder {
        /// What is out of order.
        what: &'static str,
        /// Its index.
        index: usize,
    },
    /// Text outside every block.
    #[error("bytes {start}..{end} of the text belong to no block")]
    Uncovered {
        /// First byte.
        start: usize,
        /// Byte after the last.
        end: usize,
    },
    /// A page's character boxes do not match its characters.
    #[error("page {page} has {boxes} character boxes for {characters} characters")]
    BoxCount {
        /// 1-based page number.
        page: u32,
        /// Boxes found.
        boxes: usize,
        /// Characters in the page's span.
        characters: usize,
    },
    /// A mark that leaves its block, or a section that leaves its parent.
    #[error("{what} {index} reaches outside of what holds it")]
    Outside {
        /// "mark" (with the index of its block) or "section".
        what: &'static str,
        /// Its index.
        index: usize,
    },
    /// A control character in the text.
    #[error("the text holds the control character {character:?} at byte {offset}")]
    ForbiddenCharacter {
        /// Its first byte.
        offset: usize,
        /// The character.
        character: char,
    },
    /// A PDF without pages, or pages on something else.
    #[error("a document of kind {kind:?} has {pages} pages")]
    Pages {
        /// Its kind.
        kind: DocumentKind,
        /// Pages found.
        pages: usize,
    },
    /// A box that is not finite, or whose corners are swapped.
    #[error("page {page}: the box of character {character} is not an upright rectangle")]
    BadBox {
        /// 1-based page number.
        page: u32,
        /// Index of the character in the page's span.
        character: usize,
    },
}
