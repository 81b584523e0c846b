use super::Span;
use serde::{Deserialize, Serialize};

/// What a section is in its document's own terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SectionKind {
    /// Part, chapter or heading.
    Heading,
    /// A source file of a codebase; the title is its path relative to the root, with `/`.
    File,
    /// A function, type or other symbol inside a source file.
    Symbol,
    /// The map of a codebase: written by us, so it stands in none of its files.
    Map,
}

/// A chapter, heading, source file or function: the document's own structure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// What it is.
    pub kind: SectionKind,
    /// As printed.
    pub title: String,
    /// 0 for the outermost.
    pub depth: u16,
    /// From its heading to the next section of the same or a smaller depth; a symbol's ends where the symbol does.
    pub span: Span,
    /// EPUB: the item's path in the archive; otherwise empty.
    pub item: String,
}
