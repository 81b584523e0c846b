//! Why a model could not be loaded or run, in words that name the file, the fact and the way out.

use std::path::PathBuf;

use crate::attention::AttentionError;
use crate::backend::BackendError;
use crate::gguf::{GgufFault, Quantization};
use crate::tokenizer::TokenizerError;

/// Why a file is not a model that can be run. [`advice`](ModelError::advice) says the way out.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file is missing or may not be read.
    #[error("cannot read the model {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The bytes are not those of a whole GGUF file.
    #[error("{path} is not a usable model file: {fault}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: GgufFault,
    },
    /// A GGUF of an architecture without a forward pass here.
    #[error(
        "{path} holds a model of architecture {architecture:?}; Lectern runs {supported}",
        path = path.display(),
        supported = crate::architecture::SUPPORTED
    )]
    Architecture {
        /// The file.
        path: PathBuf,
        /// What `general.architecture` says.
        architecture: String,
    },
    /// A known architecture with a part that the forward pass does not have (experts, another position scaling...).
    #[error("{path} uses {feature}, which Lectern does not run", path = path.display())]
    Feature {
        /// The file.
        path: PathBuf,
        /// The part.
        feature: String,
    },
    /// A tensor in a block format that cannot be multiplied.
    #[error("tensor {tensor} in {path} is quantized as {quantization}, which Lectern cannot multiply", path = path.display())]
    Quantization {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Its format.
        quantization: Quantization,
    },
    /// A tensor that the architecture needs is not there.
    #[error("{path} has no tensor {tensor}", path = path.display())]
    TensorMissing {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
    },
    /// A tensor has another shape than the metadata says.
    #[error("tensor {tensor} in {path} has shape {found:?} where {expected:?} is needed", path = path.display())]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Its shape, outermost dimension first.
        found: Vec<usize>,
        /// The shape that the metadata asks for.
        expected: Vec<usize>,
    },
    /// A metadata key that is needed is missing, or its value makes no sense.
    #[error("{path} does not say {key} in a way that makes sense", path = path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// The vocabulary cannot be used.
    #[error("the vocabulary of {path}: {source}", path = path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TokenizerError,
    },
    /// candle refused a tensor.
    #[error("{path}: {source}", path = path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// candle's reason.
        source: candle_core::Error,
    },
}

impl ModelError {
    /// The way out, for a person.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "Download the model again, or choose another one."
            }
            Self::Unreadable { .. } => "Check that the file may be read, or choose another model.",
            Self::Damaged {
                fault: GgufFault::NotGguf,
                ..
            } => {
                "Choose a model in GGUF format; other formats (safetensors, GGML, ONNX) cannot be read."
            }
            Self::Damaged { .. } | Self::TensorMissing { .. } => {
                "The file was probably not downloaded whole: remove it and download it again."
            }
            Self::Architecture { .. } | Self::Feature { .. } => {
                "Choose a model from the catalogue (`lectern models`)."
            }
            Self::Quantization { .. } => {
                "Choose the same model quantized as Q4_K_M, Q5_K_M, Q6_K or Q8_0."
            }
            Self::TensorShape { .. } | Self::Metadata { .. } | Self::Tensor { .. } => {
                "The file was converted wrongly: choose the model from another source."
            }
            Self::Tokenizer { .. } => {
                "Choose a model with a byte-level BPE vocabulary, such as one of the catalogue."
            }
        }
    }
}

/// Why a forward pass gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The attention failed or was cancelled.
    #[error(transparent)]
    Attention(#[from] AttentionError),
    /// A pass over no tokens.
    #[error("a forward pass needs at least one token")]
    NoTokens,
    /// A token id that the model has no embedding for.
    #[error("token {token} is outside the model's vocabulary of {vocabulary}")]
    TokenOutOfRange {
        /// The id.
        token: u32,
        /// Rows of the embedding.
        vocabulary: usize,
    },
    /// Whoever has the weights failed, and so did the way back.
    #[error(transparent)]
    Backend(BackendError),
    /// The weights could not be taken from the file after another place for them had failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
