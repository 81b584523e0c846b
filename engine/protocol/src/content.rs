//! What the viewer lays out: structure, blocks, anchors.

use crate::*;
use serde::{Deserialize, Serialize};
use specta::Type;

/// Structure and size of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct Outline {
    /// In reading order.
    pub sections: Vec<OutlineSection>,
    /// Pages of a PDF, empty otherwise.
    pub pages: Vec<PageSize>,
    /// Blocks in all.
    pub blocks: u32,
    /// Bytes of canonical text.
    pub bytes: u32,
    /// What the person should know of it, in words for them.
    pub notices: Vec<String>,
}

/// A section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct OutlineSection {
    /// As printed; a path for a source file.
    pub title: String,
    /// 0 for the outermost.
    pub depth: u32,
    /// Its characters.
    pub span: TextSpan,
    /// Index of its first block.
    pub block: u32,
    /// 1-based page on which it begins, in a PDF.
    pub page: Option<u32>,
}

/// A page of a PDF, in points as displayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct PageSize {
    /// As printed.
    pub label: String,
    /// Points.
    pub width: f32,
    /// Points.
    pub height: f32,
    /// Its characters.
    pub span: TextSpan,
    /// Whether they were recognised from a picture and may be wrong.
    #[serde(default)]
    pub recognised: bool,
}

/// A block with its words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct ContentBlock {
    /// Its place among all blocks.
    pub index: u32,
    /// Layout.
    pub layout: BlockLayout,
    /// Its characters in the canonical text.
    pub span: TextSpan,
    /// The words.
    pub text: String,
    /// Emphasis and the like; byte ranges of the canonical text.
    pub marks: Vec<ContentMark>,
}

/// How a block is laid out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BlockLayout {
    /// Running text.
    Paragraph,
    /// Level 1 to 6.
    Heading {
        /// 1 to 6.
        level: u8,
    },
    /// List item.
    ListItem {
        /// Nesting, 0 outermost.
        depth: u8,
        /// In an ordered list.
        number: Option<u32>,
    },
    /// Quoted paragraph.
    Quote,
    /// Lines as they stand.
    Preformatted {
        /// 1-based number of the first line.
        first_line: u32,
        /// Path of the source file, in a codebase.
        file: Option<String>,
    },
    /// Cells separated by tabs.
    TableRow {
        /// Header row.
        header: bool,
    },
    /// Footnote or endnote.
    Note,
    /// Caption or alternative text.
    Caption,
}

/// A marked run of characters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct ContentMark {
    /// What it is set in.
    pub style: MarkStyle,
    /// Byte range of the canonical text.
    pub span: TextSpan,
}

/// What characters are set in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Type)]
#[serde(rename_all = "snake_case")]
pub enum MarkStyle {
    /// Italics.
    Emphasis,
    /// Bold.
    Strong,
    /// Monospace.
    Code,
}

/// Where a span lives in the original.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AnchorView {
    /// PDF.
    Pages {
        /// Page by page; never empty.
        pages: Vec<PageMarks>,
    },
    /// EPUB; and what we wrote into a codebase: its map.
    Element {
        /// Path in the archive.
        item: String,
        /// Title of the innermost section.
        section: String,
        /// Index of the block that holds the first character.
        block: u32,
    },
    /// Code; lines and columns are 1-based and inclusive, columns count characters.
    Lines {
        /// Path relative to the root.
        file: String,
        /// The functions, classes and the like that hold it, outermost first ("impl Cache › fn open"); may be empty.
        #[serde(default)]
        symbol: String,
        /// Line of the first character.
        first_line: u32,
        /// Its column.
        first_column: u32,
        /// Line of the last character.
        last_line: u32,
        /// Its column.
        last_column: u32,
        /// Index of the block that holds the first character.
        block: u32,
    },
    /// HTML, Markdown and plain text.
    Flow {
        /// Title of the innermost section, or empty.
        section: String,
        /// 1-based line of the canonical text.
        line: u32,
        /// Index of the block that holds the first character.
        block: u32,
    },
}

/// The part of a span on one page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Type)]
pub struct PageMarks {
    /// 1-based.
    pub page: u32,
    /// As printed.
    pub label: String,
    /// One for each line: four corners `[x0, y0, .., x3, y3]`, in points from the top left of the page as
    /// displayed, y downwards.
    pub quads: Vec<[f32; 8]>,
    /// Whether the page's text was recognised from a picture and may be wrong.
    #[serde(default)]
    pub recognised: bool,
}
