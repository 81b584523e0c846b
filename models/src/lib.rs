//! Lectern's models: quantized weights from GGUF files, their forward passes, tokenizer, chat template, a sentence
//! transformer, and the catalogue of models with how to fetch one.
//!
//! In: a GGUF file. Out: token ids, logits, and, through the [`attention`] seam, un-rotated queries, keys and values
//! for whoever owns the cache. Knows nothing of documents, caches or questions.

mod architecture;
pub mod attention;
mod awake;
pub mod backend;
mod block;
pub mod catalogue;
mod chat;
mod cpu;
mod decoder;
mod embedder;
mod error;
mod gguf;
mod level;
mod matrix;
mod model;
pub mod packed;
mod positions;
mod spare;
mod storage;
mod tokenizer;
mod weights;

pub use architecture::Architecture;
pub use attention::{Attention, AttentionError, AttentionShape, Projected};
pub use block::{BlockWeights, DecoderWeights, Sizes};
pub use catalogue::{Catalogue, CatalogueEntry, CatalogueError, DownloadProgress};
pub use chat::{ChatMessage, ChatTemplate, ChatTemplateError, Role};
pub use decoder::{Logits, Place};
pub use embedder::{Embedder, EmbedderError, Fit, Spelled, SpelledToken};
pub use error::{ForwardError, ModelError};
pub use gguf::{GgufFault, Quantization};
pub use level::Level;
pub use model::{Model, ModelFacts};
pub use tokenizer::{Token, TokenStream, Tokenizer, TokenizerError};
