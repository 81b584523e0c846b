//! What can be wrong with a cache.

use lectern_protocol::{Failure, FailureCode};
use std::io;
use std::path::PathBuf;

/// Why a cache could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// The file system refused.
    #[error("{path}: could not {action}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// "open", "write", ...
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// No room for the next chunk; everything before it is on disk and stays valid.
    #[error("the disk is full: {path} needs {needed} bytes for the next part of the document")]
    DiskFull {
        /// The block file.
        path: PathBuf,
        /// Bytes of the append that did not fit.
        needed: u64,
    },
    /// Another process (or another handle of this one) has the cache open.
    #[error("{path} is being used by another Lectern")]
    Locked {
        /// The cache's folder.
        path: PathBuf,
    },
    /// The folder holds the cache of something else.
    #[error("{path} belongs to {difference}")]
    OtherIdentity {
        /// The cache's folder.
        path: PathBuf,
        /// "another text", "another model", ...
        difference: &'static str,
    },
    /// The identity names a block format this version does not know.
    #[error("{path} uses block format {format}, which this version of Lectern does not know")]
    UnknownFormat {
        /// The cache's folder.
        path: PathBuf,
        /// The number.
        format: u32,
    },
    /// A block's bytes do not match its checksum.
    #[error(
        "{path}: block {block} (tokens from {token}) is damaged: checksum of layer {layer} does not match"
    )]
    Damaged {
        /// The block file.
        path: PathBuf,
        /// Index of the block.
        block: usize,
        /// Position of its first token.
        token: usize,
        /// Layer whose part is damaged.
        layer: usize,
    },
    /// The cache ends with a partial block: the document was complete.
    #[error("{path} is complete at {tokens} tokens; nothing can be appended to it")]
    Complete {
        /// The cache's folder.
        path: PathBuf,
        /// Tokens in it.
        tokens: usize,
    },
    /// A cut was asked for at a place where it cannot be made, or while somebody reads.
    #[error("{path} cannot be cut to {tokens} tokens: {why}")]
    Cut {
        /// The cache's folder.
        path: PathBuf,
        /// Tokens asked for.
        tokens: usize,
        /// The fact.
        why: &'static str,
    },
    /// A cache was to lose tokens of whose format blocks cannot.
    #[error("{path} is kept as {format}, of which nothing can be left out")]
    Whole {
        /// The cache's folder.
        path: PathBuf,
        /// Its format's name.
        format: &'static str,
    },
    /// Keys and values of another shape than the cache's.
    #[error("{path}: {fact}")]
    Shape {
        /// The cache's folder.
        path: PathBuf,
        /// What does not fit.
        fact: String,
    },
}

impl KvError {
    pub(super) fn io(
        path: impl Into<PathBuf>,
        action: &'static str,
    ) -> impl FnOnce(io::Error) -> KvError {
        let path = path.into();
        move |source| KvError::Io {
            path,
            action,
            source,
        }
    }
}

impl From<&KvError> for Failure {
    fn from(error: &KvError) -> Failure {
        let advice = match error {
            KvError::DiskFull { needed, .. } => Some(format!(
                "Free at least {} MB, or remove the caches of other documents; reading goes on where it stopped.",
                needed.div_ceil(1_000_000)
            )),
            KvError::Locked { .. } => {
                Some("Close the other window or command, or wait until it has finished.".into())
            }
            KvError::OtherIdentity { .. } | KvError::UnknownFormat { .. } => {
                Some("Remove this cache and read the document again.".into())
            }
            KvError::Whole { .. } => Some(
                "Keep everything of what is read, or keep it in a format of 4 or 8 bits.".into(),
            ),
            KvError::Damaged { .. } => {
                Some("Read the document again: what comes before the damage is kept.".into())
            }
            _ => None,
        };
        Failure {
            code: match error {
                KvError::DiskFull { .. } => FailureCode::DiskFull,
                _ => FailureCode::Other,
            },
            message: error.to_string(),
            advice,
        }
    }
}
