//! Why a reading stopped.

use super::PromptError;
use crate::kv::KvError;
use lectern_models::{AttentionError, ForwardError};
use lectern_protocol::{Failure, FailureCode};

/// Why a document was not read to its end. What was read before stays, and reading can go on from there.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// It was asked to stop.
    #[error("reading was stopped")]
    Cancelled,
    /// The document does not fit the model's window.
    #[error(
        "the document has {tokens} tokens with its prompt, but the model's window holds {window}"
    )]
    TooLong {
        /// Tokens, prefix included.
        tokens: usize,
        /// Tokens that fit.
        window: usize,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] KvError),
    /// The model failed.
    #[error(transparent)]
    Forward(ForwardError),
    /// What the model is asked to do could not be said to it.
    #[error(transparent)]
    Prompt(#[from] PromptError),
}

impl From<ForwardError> for ReadingError {
    fn from(error: ForwardError) -> ReadingError {
        match error {
            ForwardError::Attention(AttentionError::Cancelled) => ReadingError::Cancelled,
            ForwardError::Attention(AttentionError::Cache(source)) => {
                match source.downcast::<KvError>() {
                    Ok(error) => ReadingError::Cache(*error),
                    Err(source) => ReadingError::Forward(ForwardError::Attention(
                        AttentionError::Cache(source),
                    )),
                }
            }
            other => ReadingError::Forward(other),
        }
    }
}

impl From<&ReadingError> for Failure {
    fn from(error: &ReadingError) -> Failure {
        let (code, advice) = match error {
            ReadingError::Cache(error) => return error.into(),
            ReadingError::Cancelled => (FailureCode::Cancelled, None),
            ReadingError::TooLong { .. } => (
                FailureCode::Other,
                Some("Ask anyway: each question then reads the passages that match it best."),
            ),
            ReadingError::Forward(_) | ReadingError::Prompt(_) => (FailureCode::Other, None),
        };
        Failure {
            code,
            message: error.to_string(),
            advice: advice.map(str::to_owned),
        }
    }
}
