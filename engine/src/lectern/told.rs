//! Errors of the stages below, and of the models, as a person is told them.

use crate::asking::AskError;
use crate::kv::KvError;
use crate::reading::{PromptError, ReadingError};
use lectern_models::catalogue::CatalogueError;
use lectern_models::{AttentionError, EmbedderError, ForwardError, ModelError, TokenizerError};
use lectern_protocol::{Failure, FailureCode};
use std::error::Error;
use std::io::ErrorKind;

/// What a person is told when what was read turns out damaged.
pub(super) const DAMAGED: &str =
    "A part of what was read of this document is damaged on disk; it is read again.";

/// An error that a person can be told. (`From` cannot be written here for errors of another crate.)
pub(super) trait Told {
    /// What to say.
    fn told(self) -> Failure;
}

impl Told for ModelError {
    fn told(self) -> Failure {
        let missing = matches!(
            &self,
            ModelError::Unreadable { source, .. } if source.kind() == ErrorKind::NotFound
        );
        failure(
            if missing {
                FailureCode::ModelMissing
            } else {
                FailureCode::Other
            },
            &self,
            Some(self.advice()),
        )
    }
}

impl Told for CatalogueError {
    fn told(self) -> Failure {
        let advice = self.advice();
        let code = match &self {
            CatalogueError::Cancelled => FailureCode::Cancelled,
            CatalogueError::Unknown { .. } => FailureCode::NotFound,
            full if full.is_disk_full() => FailureCode::DiskFull,
            _ => FailureCode::Other,
        };
        failure(code, &self, Some(advice))
    }
}

impl Told for ReadingError {
    fn told(self) -> Failure {
        Failure::from(&self)
    }
}

impl Told for KvError {
    fn told(self) -> Failure {
        Failure::from(&self)
    }
}

impl Told for EmbedderError {
    fn told(self) -> Failure {
        failure(FailureCode::Other, &self, None)
    }
}

impl Told for TokenizerError {
    fn told(self) -> Failure {
        failure(FailureCode::Other, &self, None)
    }
}

impl Told for PromptError {
    fn told(self) -> Failure {
        failure(
            FailureCode::Other,
            &self,
            Some(
                "Choose another model: this one's chat template does not suit questions about a document.",
            ),
        )
    }
}

impl Told for AskError {
    fn told(self) -> Failure {
        match self {
            AskError::Prompt(error) => error.told(),
            AskError::Cache(error) => error.told(),
            AskError::Forward(ForwardError::Attention(AttentionError::Cache(source))) => {
                match source.downcast::<KvError>() {
                    Ok(error) => error.told(),
                    Err(source) => failure(FailureCode::Other, source.as_ref(), None),
                }
            }
            AskError::NoRoom { .. } => failure(
                FailureCode::Other,
                &self,
                Some("Ask a shorter question, or choose a model with a longer window."),
            ),
            other => failure(FailureCode::Other, &other, None),
        }
    }
}

fn failure(code: FailureCode, error: &dyn Error, advice: Option<&str>) -> Failure {
    Failure {
        code,
        message: error.to_string(),
        advice: advice.map(str::to_owned),
    }
}
