//! Reading that looks at a part of what was read, tile by tile.

use super::tasks::Document;
use crate::attention::{CancelFlag, DenseAttention, PagePolicy, SparseRead};
use crate::evaluation::EvaluationError;
use crate::evaluation::kv::open;
use crate::kv::{BlockFormat, KvCache};
use crate::reading::CHUNK_TOKENS;
use clap::ValueEnum;
use lectern_models::{Logits, Model};
use std::path::Path;

/// What a token sees while the document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Reading {
    /// In the first half of the layers everything, in the others the beginning and the last 512 tokens (TriangleMix, He
    /// et al. 2025, arXiv 2507.21526).
    Triangle,
    /// The pages that hold nine tenths of the attention by sums along antidiagonals (XAttention).
    Antidiagonals,
}

impl Reading {
    /// Name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Reading::Triangle => "triangle",
            Reading::Antidiagonals => "antidiagonals",
        }
    }

    fn look_at(self, layers: usize) -> SparseRead {
        match self {
            Reading::Triangle => SparseRead {
                dense_layers: layers / 2,
                window: 512,
                ..SparseRead::new(PagePolicy::Window, 512 + 64)
            },
            Reading::Antidiagonals => SparseRead::new(PagePolicy::Antidiagonals, 512),
        }
    }
}

/// Reads a document into a new cache in `folder`, looking at a part.
pub(super) fn read_in_part(
    reading: Reading,
    model: &Model,
    document: &Document,
    format: BlockFormat,
    folder: &Path,
) -> Result<KvCache, EvaluationError> {
    let cache = open(&folder.join(reading.name()), model, format)?;
    let mut attention = DenseAttention::over(&cache, model.shape(), CancelFlag::new())?;
    attention.look_at(Some(reading.look_at(model.shape().layers)));
    let ids = document.tokens.iter().map(|token| token.id);
    let ids: Vec<u32> = document.prefix.iter().copied().chain(ids).collect();
    for chunk in ids.chunks(CHUNK_TOKENS) {
        model.forward(chunk, &mut attention, Logits::None)?;
        attention.seal(&cache, chunk)?;
    }
    Ok(cache)
}
