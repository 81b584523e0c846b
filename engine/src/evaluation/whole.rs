//! A document read whole into a cache in a temporary folder.

use super::EvaluationError;
use crate::attention::{CancelFlag, DenseAttention};
use crate::kv::{CacheIdentity, FORMAT_F16, KvCache};
use crate::reading::prefix;
use lectern_models::{Logits, Model, Token};
use std::path::Path;

/// Tokens read at a time, a multiple of the cache's block.
const CHUNK_TOKENS: usize = 256;

/// Reads `text` behind the prompt's prefix into a new cache in `folder`; returns it with the text's tokens.
pub(super) fn read_whole(
    model: &Model,
    text: &str,
    folder: &Path,
) -> Result<(KvCache, Vec<Token>), EvaluationError> {
    let mut ids = prefix(model.chat_template(), model.tokenizer())?;
    let identity = CacheIdentity {
        text: Default::default(),
        model: model.fingerprint().to_owned(),
        prompt: CacheIdentity::prompt_hash(&ids),
        format: FORMAT_F16,
    };
    let tokens = model.tokenizer().encode_with_offsets(text)?;
    ids.extend(tokens.iter().map(|token| token.id));
    let cache = KvCache::open(folder, &identity, model.shape())?;
    let mut attention = DenseAttention::over(&cache, model.shape(), CancelFlag::new())?;
    for chunk in ids.chunks(CHUNK_TOKENS) {
        model.forward(chunk, &mut attention, Logits::None)?;
        attention.seal(&cache, chunk)?;
    }
    Ok((cache, tokens))
}
