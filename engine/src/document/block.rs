use super::Span;
use serde::{Deserialize, Serialize};

/// How a block is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockKind {
    /// Running text.
    Paragraph,
    /// Heading of level 1 to 6.
    Heading(u8),
    /// One item of a list, with its nesting depth (0 outermost). The marker is not in the text.
    ListItem {
        /// Nesting depth.
        depth: u8,
        /// Its number in an ordered list.
        number: Option<u32>,
    },
    /// Quoted paragraph.
    Quote,
    /// Lines kept as they stand: preformatted text, verse, or (in a codebase) up to 100 lines of a file.
    Preformatted {
        /// 1-based number of the first line in its file; 1 outside codebases.
        first_line: u32,
    },
    /// A table row; cells are separated by a tab.
    TableRow {
        /// Whether it is a header row.
        header: bool,
    },
    /// Footnote or endnote.
    Note,
    /// Caption, or the alternative text of a picture.
    Caption,
}

/// What a run of characters inside a block is set in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarkKind {
    /// Italics.
    Emphasis,
    /// Bold.
    Strong,
    /// Monospace.
    Code,
}

/// A run of marked characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What it is set in.
    pub kind: MarkKind,
    /// Inside the block's span.
    pub span: Span,
}

/// A paragraph-like unit of the canonical text: what the viewer lays out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Layout.
    pub kind: BlockKind,
    /// Its characters.
    pub span: Span,
    /// Emphasis and the like, in order.
    pub marks: Vec<Mark>,
}
