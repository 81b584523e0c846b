//! From a file or folder to a [`Document`].
//!
//! In: a path that a person chose, and perhaps a password. Out: a checked [`Document`], or an [`IngestError`] that
//! says what is wrong with that item and what to do. [`fingerprint`] says whether the content is known already.
//!
//! Why a child process: the formats are large, the parsers are other people's, and the files come from anywhere.
//! [`extract`] starts `lectern extract`, which gives up the network, every file but its input, new processes, and
//! all memory and time beyond [`Limits`], parses, and writes one document to its standard output. A panic, a hang, a
//! stack overflow or a full memory ends that process and is an error on that file, never the end of the program.
//!
//! A PDF may hold scanned pages. [`survey`] names them, [`recognise`] has children read them, page by page, each on disk
//! as it is done, and what they read is part of the next extraction.
//!
//! The child's body is [`extract_here`]; each format has a module. All flowing formats put blocks into one builder;
//! HTML, EPUB, Kindle books, Markdown and mail share one HTML reader; the office formats share one stream of XML and one
//! flow of paragraphs, rows and notes; PDF is rebuilt from the places of its characters.
//!
//! Peak memory of the child, measured: 3 times a text file (55 MB: 177 MB), 8 times an HTML page (11 MB: 79 MB; most of
//! it html5ever's tree), and for PDF the file, its objects and about 60 bytes a character (352 pages: 41 MB). The parent
//! holds the document and, while it decodes it, its encoded form.

mod archive;
mod builder;
mod code;
mod encoding;
mod epub;
mod error;
mod extraction;
mod fb2;
mod fingerprint;
mod format;
mod html;
mod limits;
mod mail;
mod markdown;
mod mobi;
mod numerals;
mod office;
mod pdf;
mod recognition;
mod rtf;
mod sandbox;
mod table;
mod text;
mod xml;

pub use error::{IngestError, IngestFault};
pub use extraction::extract_here;
pub use fingerprint::{fingerprint, stamp};
pub use format::{Format, is_book};
pub use limits::Limits;
pub use pdf::has_unread_scans;
pub use sandbox::{
    ExtractOptions, Recogniser, RecognitionProgress, ScannedPages, Surveyed, child_main, extract,
    recognise, survey,
};

use extraction::Extraction;
