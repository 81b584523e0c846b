//! Why an item could not be ingested: the violated fact, in words for a person, and the way out.

use lectern_protocol::{Failure, FailureCode};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Formats that can be read, as a person is told them.
const SUPPORTED: &str = "PDF, EPUB, Word, PowerPoint, Excel and OpenDocument files, RTF, CSV, mail, HTML, Markdown, plain \
     text, and source code (files, folders, ZIP and TAR archives)";

/// An item that could not be ingested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {fault}", name_of(.path))]
pub struct IngestError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: IngestFault,
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// What is wrong with an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum IngestFault {
    /// Nothing is there.
    #[error("there is no such file or folder")]
    NotFound,
    /// It was there when reading began.
    #[error("the file disappeared while it was being read")]
    Vanished,
    /// The operating system refused.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// The operating system's words.
        reason: String,
    },
    /// A device, socket or pipe.
    #[error("it is neither a file nor a folder")]
    NotAFile,
    /// No bytes, or nothing but white space.
    #[error("the file is empty")]
    Empty,
    /// A PDF whose page tree is empty.
    #[error("the PDF has no pages")]
    NoPages,
    /// A PDF that opens only with a password.
    #[error("the PDF is protected by a password")]
    PasswordNeeded,
    /// The password does not open it.
    #[error("the password does not open this PDF")]
    WrongPassword,
    /// Encrypted in a way that is not supported.
    #[error("the PDF is encrypted in a way that Lectern does not know: {reason}")]
    UnknownEncryption {
        /// The parser's words.
        reason: String,
    },
    /// Pages of pictures without a text layer.
    #[error("none of its {pages} pages holds text; they are probably scanned pictures")]
    NoText {
        /// Pages of the file.
        pages: usize,
    },
    /// Pages without text and without pictures that could hold some.
    #[error("none of its {pages} pages holds words")]
    NoWords {
        /// Pages of the file.
        pages: usize,
    },
    /// Scanned pages on which nothing was recognised.
    #[error("none of its {pages} pages holds text, and none was recognised on them")]
    NoneRecognised {
        /// Pages of the file.
        pages: usize,
    },
    /// The networks of text recognition cannot be loaded or run.
    #[error("its scanned pages cannot be recognised: {reason}")]
    RecogniserUnusable {
        /// What is wrong with them.
        reason: String,
    },
    /// Recognised pages cannot be put on disk.
    #[error("what is recognised of it cannot be kept: {reason}")]
    NotKept {
        /// The file and the operating system's words.
        reason: String,
    },
    /// Another kind of file that opens only with a password.
    #[error("the {format} file is protected by a password")]
    Locked {
        /// "Word", "spreadsheet".
        format: String,
    },
    /// A book whose text is encrypted.
    #[error("the book is locked by copy protection (DRM)")]
    Drm,
    /// Not what its name or first bytes promise.
    #[error("this {format} file is damaged: {reason}")]
    Damaged {
        /// "PDF", "EPUB".
        format: String,
        /// The parser's words.
        reason: String,
    },
    /// The file itself is larger than its format may be.
    #[error("the file has {} MB; the limit for this format is {} MB", .bytes / 1_000_000, .limit / 1_000_000)]
    TooLarge {
        /// Size of the file.
        bytes: u64,
        /// Largest size that is tried.
        limit: u64,
    },
    /// The text that came out is longer than a document may be.
    #[error("it holds more than {} MB of text, which is the limit for one document", .limit / 1_000_000)]
    TextTooLong {
        /// Bytes of canonical text at most.
        limit: u64,
    },
    /// Decompression yields far more than any honest file.
    #[error("it unpacks to more than {} MB, far more than any honest file of its kind", .limit / 1_000_000)]
    Bomb {
        /// Unpacked bytes at most.
        limit: u64,
    },
    /// A folder or archive without anything to read.
    #[error("it holds no text file{}", if .left_out.is_empty() { String::new() } else { format!(" (left out: {left_out})") })]
    NoTextFiles {
        /// "3 binary files, 1 minified file", or empty.
        left_out: String,
    },
    /// A text file's name on something else.
    #[error("it is not text, whatever its name says")]
    Binary,
    /// A format that is not supported.
    #[error("Lectern cannot read {what}")]
    UnknownFormat {
        /// "Word documents", "pictures", "this kind of file".
        what: String,
    },
    /// The time limit was reached.
    #[error("its text could not be extracted within {seconds} seconds")]
    TimedOut {
        /// The limit.
        seconds: u64,
    },
    /// The memory limit was reached.
    #[error("extracting its text needs more than {} MB of memory", .limit / 1_000_000)]
    OutOfMemory {
        /// The limit.
        limit: u64,
    },
    /// A parser panicked or the process was killed by a signal.
    #[error("the parser failed on it ({detail})")]
    Crashed {
        /// Message of the panic or name of the signal.
        detail: String,
    },
    /// The person stopped it.
    #[error("adding it was cancelled")]
    Cancelled,
    /// The extracting process could not be started.
    #[error("the extracting process could not be started: {reason}")]
    NotStarted {
        /// The operating system's words.
        reason: String,
    },
    /// The extracting process answered something that is not a sound document.
    #[error("the extracted text contradicts itself: {reason}")]
    Unsound {
        /// The violated invariant.
        reason: String,
    },
}

impl IngestFault {
    /// Adds the path.
    pub fn at(self, path: &Path) -> IngestError {
        IngestError {
            path: path.to_owned(),
            fault: self,
        }
    }

    /// What an I/O error while reading means. `opened`: the item was there when reading began.
    pub(crate) fn from_io(error: &std::io::Error, opened: bool) -> IngestFault {
        match error.kind() {
            std::io::ErrorKind::NotFound if opened => IngestFault::Vanished,
            std::io::ErrorKind::NotFound => IngestFault::NotFound,
            std::io::ErrorKind::PermissionDenied => IngestFault::Unreadable {
                reason: "permission denied".into(),
            },
            _ => IngestFault::Unreadable {
                reason: error.to_string(),
            },
        }
    }

    /// The way out, if there is one.
    pub fn advice(&self) -> Option<String> {
        let advice = match self {
            IngestFault::NotFound | IngestFault::Vanished => {
                "Check that the file is still where it was, then add it again.".into()
            }
            IngestFault::Unreadable { .. } => {
                "Check its permissions and that its disk is connected, then add it again.".into()
            }
            IngestFault::NotAFile | IngestFault::Binary => format!("Lectern reads {SUPPORTED}."),
            IngestFault::UnknownFormat { .. } => {
                format!("Lectern reads {SUPPORTED}. Save or export it as one of these and add that.")
            }
            IngestFault::Empty | IngestFault::NoPages => {
                "There is nothing to read in it. If that surprises you, it may not have been saved or downloaded \
                 completely."
                    .into()
            }
            IngestFault::PasswordNeeded => "Add it again with its password.".into(),
            IngestFault::WrongPassword => {
                "Check the password (capitals count) and add the file again.".into()
            }
            IngestFault::UnknownEncryption { .. } => {
                "Open it in another reader and save a copy without encryption.".into()
            }
            IngestFault::NoText { .. } => {
                "`lectern models get ocr` gets what recognises the text of scanned pages (32 MB); then add it again."
                    .into()
            }
            IngestFault::NoWords { .. } => {
                "There is nothing to read in it: its pages are blank, or drawn without characters.".into()
            }
            IngestFault::NoneRecognised { .. } => {
                "Text recognition reads printed Latin, Greek, Chinese and Japanese script. A scan that is sharper may help."
                    .into()
            }
            IngestFault::RecogniserUnusable { .. } => {
                "Get text recognition anew: `lectern models remove ocr`, then `lectern models get ocr`.".into()
            }
            IngestFault::NotKept { .. } => {
                "Check that the disk has room and that no other Lectern adds the same file; then add it again. Pages \
                 that were recognised are not lost."
                    .into()
            }
            IngestFault::Locked { .. } => {
                "Open it in the program that made it, save a copy without a password, and add that.".into()
            }
            IngestFault::Drm => "Only files without copy protection can be read.".into(),
            IngestFault::Damaged { .. } => {
                "Download or copy it again; if another program opens it, save a copy from there.".into()
            }
            IngestFault::TooLarge { .. } | IngestFault::TextTooLong { .. } => {
                "Split it into parts and add those.".into()
            }
            IngestFault::Bomb { .. } => {
                "Files like this are usually made to harm. Delete it unless you trust its source.".into()
            }
            IngestFault::NoTextFiles { .. } => {
                "Choose a folder with source code or text files that .gitignore does not exclude.".into()
            }
            IngestFault::TimedOut { .. } | IngestFault::OutOfMemory { .. } => {
                "The file may be damaged or unusually large. Open it in another program, save a copy or a part of \
                 it, and add that."
                    .into()
            }
            IngestFault::Crashed { .. } | IngestFault::Unsound { .. } => {
                "Open it in another program, save a copy, and add that. No other document was affected.".into()
            }
            IngestFault::NotStarted { .. } => {
                "Check that the program is installed completely and that memory is left.".into()
            }
            IngestFault::Cancelled => return None,
        };
        Some(advice)
    }
}

impl From<IngestError> for Failure {
    fn from(error: IngestError) -> Failure {
        Failure {
            code: match error.fault {
                IngestFault::Cancelled => FailureCode::Cancelled,
                IngestFault::PasswordNeeded | IngestFault::WrongPassword => {
                    FailureCode::PasswordNeeded
                }
                IngestFault::NoText { .. } => FailureCode::RecogniserMissing,
                _ => FailureCode::Other,
            },
            message: error.to_string(),
            advice: error.fault.advice(),
        }
    }
}
