use lectern_protocol::{Failure, FailureCode};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Why the library gave no result.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The database cannot be opened or migrated.
    #[error("the library {path} cannot be opened: {source}")]
    Open {
        /// The database.
        path: PathBuf,
        /// The fact.
        source: sqlx::Error,
    },
    /// The database has migrations that this program does not know.
    #[error("the library {path} was written by a newer Lectern (schema {version})")]
    Newer {
        /// The database.
        path: PathBuf,
        /// The unknown migration.
        version: i64,
    },
    /// A statement failed.
    #[error("the library's database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The file system refused.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The fact.
        source: std::io::Error,
    },
    /// The person cancelled before anything was stored.
    #[error("cancelled")]
    Cancelled,
    /// No document has this id, or begins with it.
    #[error("no document has the id {0:?}")]
    NoDocument(String),
    /// Several ids begin with these digits.
    #[error("{count} documents have an id that begins with {prefix:?}")]
    Ambiguous {
        /// The digits.
        prefix: String,
        /// How many.
        count: usize,
    },
    /// No conversation has this id.
    #[error("no conversation has the id {0:?}")]
    NoConversation(String),
    /// Folders are not copied.
    #[error("{0} was added as a folder, and no copy of a folder is kept")]
    NoOriginal(String),
    /// A stored structure cannot be decoded.
    #[error("the stored {what} of document {id} cannot be decoded: {source}")]
    Undecodable {
        /// Document id.
        id: String,
        /// "sections", "blocks", "boxes of page 7", "answer".
        what: String,
        /// The fact.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A structure cannot be encoded.
    #[error("the {what} cannot be encoded: {source}")]
    Unencodable {
        /// "sections", "blocks", "answer".
        what: &'static str,
        /// The fact.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl LibraryError {
    pub(crate) fn file(path: &Path, source: std::io::Error) -> LibraryError {
        LibraryError::File {
            path: path.to_path_buf(),
            source,
        }
    }

    fn is_disk_full(&self) -> bool {
        const SQLITE_FULL: &str = "13";
        match self {
            LibraryError::File { source, .. } => matches!(
                source.kind(),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded
            ),
            LibraryError::Open { source, .. } | LibraryError::Database(source) => source
                .as_database_error()
                .and_then(|error| error.code())
                .is_some_and(|code| code == SQLITE_FULL),
            _ => false,
        }
    }
}

impl From<LibraryError> for Failure {
    fn from(error: LibraryError) -> Failure {
        let (code, advice) = match &error {
            full if full.is_disk_full() => (
                FailureCode::DiskFull,
                Some("Nothing was lost. Make room on that disk and try again."),
            ),
            LibraryError::Cancelled => (FailureCode::Cancelled, None),
            LibraryError::NoDocument(_) => (
                FailureCode::NotFound,
                Some("`lectern list` shows the documents and their ids."),
            ),
            LibraryError::NoConversation(_) | LibraryError::NoOriginal(_) => {
                (FailureCode::NotFound, None)
            }
            LibraryError::Ambiguous { .. } => (
                FailureCode::NotFound,
                Some("Give more digits; `lectern list` shows the ids."),
            ),
            LibraryError::Newer { .. } => (
                FailureCode::Other,
                Some("Use the newer Lectern, or set LECTERN_HOME to another folder."),
            ),
            LibraryError::Open { .. } => (
                FailureCode::Other,
                Some("See whether the folder may be written, or set LECTERN_HOME to another one."),
            ),
            LibraryError::Undecodable { .. } => (
                FailureCode::Other,
                Some("Remove the document and add it again."),
            ),
            _ => (FailureCode::Other, None),
        };
        Failure {
            code,
            message: error.to_string(),
            advice: advice.map(str::to_owned),
        }
    }
}
