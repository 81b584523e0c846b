use crate::kv::KvError;
use crate::reading::PromptError;
use lectern_models::{ForwardError, TokenizerError};
use lectern_protocol::{Failure, FailureCode};

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing was asked.
    #[error("the question is empty")]
    Empty,
    /// The document is not wholly in its cache.
    #[error(
        "the model has read {cached} of the document's {total} tokens; read it to the end first"
    )]
    NotRead {
        /// Tokens in the cache.
        cached: usize,
        /// Tokens of the prefix and the document.
        total: usize,
    },
    /// Document and question leave no room for an answer.
    #[error(
        "document and question take {tokens} tokens of the model's window of {window}; nothing is left for an answer"
    )]
    NoRoom {
        /// Tokens before the answer.
        tokens: usize,
        /// The model's window.
        window: usize,
    },
    /// The prompt could not be made.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// A passage could not be encoded.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] KvError),
    /// The forward pass failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The model's numbers are broken: no token is likelier than another.
    #[error("the model gave no numbers for the next word; its file may be damaged")]
    NoLogits,
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Failure {
        let advice = match &error {
            AskError::Cache(error) => return error.into(),
            AskError::Empty => Some("Type a question."),
            AskError::NotRead { .. } => Some("Ask again: the rest of the document is read first."),
            AskError::NoRoom { .. } => {
                Some("Ask a shorter question, or choose a model with a longer window.")
            }
            AskError::Prompt(_) => {
                Some("Choose a model that was trained to answer (\"instruct\").")
            }
            AskError::NoLogits => Some("Download the model again."),
            AskError::Tokenizer(_) | AskError::Forward(_) => None,
        };
        Failure {
            code: FailureCode::Other,
            message: error.to_string(),
            advice: advice.map(str::to_owned),
        }
    }
}
