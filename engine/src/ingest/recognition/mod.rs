//! Scanned pages: from the picture of a page to lines of text with their places.
//!
//! In: a PDF, the number of a page on which nothing but a picture stands, and the three networks of PP-OCR (detection,
//! direction, transcription). Out: a [`RecognisedPage`], which `pdf` lays out like a page with a text layer, and marks.
//!
//! The way: `drawing` makes pixels of the page (hayro); `detection` finds lines as turned rectangles (`regions`);
//! `direction` tells which way up they stand; each line is cut out, straightened and read (`transcription`).
//!
//! All of it runs in the confined child, not only the drawing: a picture is as foreign as the file it comes from, what
//! it costs to read depends on what stands in it, and a page as pixels is a thousand times what is read of it. The
//! networks are the child's only other input; they were checked when they were fetched. The parent (`pages`) asks for
//! a few pages a child, puts each into a file (`kept`) as it comes, and goes on behind a page that ends its child.

mod detection;
mod direction;
mod drawing;
mod kept;
mod network;
mod picture;
mod reader;
mod regions;
mod transcription;

pub(crate) use kept::{KeptError, KeptPages};
pub(crate) use reader::PageReader;

use serde::{Deserialize, Serialize};

/// Why a page could not be recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum RecognitionFault {
    /// The networks are not what they should be.
    #[error("the {network} network of text recognition cannot be used: {reason}")]
    Model {
        /// Which.
        network: String,
        /// What is wrong.
        reason: String,
    },
    /// The page cannot be made a picture.
    #[error("the page cannot be drawn: {reason}")]
    NotDrawn {
        /// Why.
        reason: String,
    },
}

/// A line of text that was recognised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RecognisedLine {
    /// Middle of the line's left edge, in points from the top left of the page as displayed; left is where its text
    /// begins.
    pub begins: [f32; 2],
    /// Middle of its right edge.
    pub ends: [f32; 2],
    /// Its height.
    pub height: f32,
    /// Quarter turns, clockwise, of its text against the displayed page.
    pub turns: u8,
    /// Its characters, blanks included, each with where it begins and ends as a share of the line.
    pub characters: Vec<(char, [f32; 2])>,
}

/// What was recognised of a page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RecognisedPage {
    /// In no order.
    pub lines: Vec<RecognisedLine>,
}
