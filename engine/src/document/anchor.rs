use super::Span;
use serde::{Deserialize, Serialize};

/// Four corners, clockwise from the top left of the text's own direction: `[x0, y0, x1, y1, x2, y2, x3, y3]`.
///
/// Unit: PDF points (1/72 inch). Origin: top-left corner of the page's crop box as displayed (rotation applied),
/// y downwards; so a viewer multiplies by its zoom and draws.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quad(pub [f32; 8]);

impl Quad {
    /// The quad of an upright rectangle.
    pub fn from_rect(x0: f32, y0: f32, x1: f32, y1: f32) -> Quad {
        Quad([x0, y0, x1, y0, x1, y1, x0, y1])
    }
}

/// A page of a PDF and where each of its characters stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// 1-based.
    pub number: u32,
    /// As printed ("xii", "A-3"); the number where the file names none.
    pub label: String,
    /// Points, as displayed.
    pub width: f32,
    /// Points, as displayed.
    pub height: f32,
    /// The page's characters in the canonical text.
    pub span: Span,
    /// One upright box `[x0, y0, x1, y1]` for each *character* (not byte) of `span`, same space as [`Quad`]; all
    /// zeros for characters that are not drawn (line breaks, inserted blanks).
    pub boxes: Vec<[f32; 4]>,
    /// Whether its text was recognised from a picture and may hold errors.
    pub recognised: bool,
}

/// The part of a span that stands on one page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageQuads {
    /// 1-based.
    pub page: u32,
    /// As printed.
    pub label: String,
    /// One for each line of text.
    pub quads: Vec<Quad>,
    /// Whether the page's text was recognised from a picture.
    pub recognised: bool,
}

/// Lines and columns in a source file, 1-based, inclusive; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRange {
    /// Line of the first character.
    pub first_line: u32,
    /// Its column.
    pub first_column: u32,
    /// Line of the last character.
    pub last_line: u32,
    /// Its column.
    pub last_column: u32,
}

/// Where a span lives in the original.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Anchor {
    /// PDF: page by page.
    Pages(Vec<PageQuads>),
    /// EPUB, and the map of a codebase: the item's path in the archive, its title, and the block (index into `Document::blocks`).
    Element {
        /// Path in the archive.
        item: String,
        /// Title of the innermost section.
        section: String,
        /// Index of the block that holds the first character.
        block: u32,
    },
    /// Code: file and lines.
    Lines {
        /// Path relative to the root.
        file: String,
        /// The symbols that hold the whole span, outermost first, as "impl Cache › fn open"; may be empty.
        symbol: String,
        /// Where in it.
        lines: LineRange,
        /// Index of the block that holds the first character.
        block: u32,
    },
    /// HTML, Markdown and plain text.
    Flow {
        /// Title of the innermost section, empty if there is none.
        section: String,
        /// 1-based line of the canonical text.
        line: u32,
        /// Index of the block that holds the first character.
        block: u32,
    },
}
