//! A document read whole into a cache in a temporary folder.

use super::EvaluationError;
use crate::attention::CancelFlag;
use crate::kv::{BlockFormat, CacheIdentity, KvCache};
use crate::reading::{ReadingInput, prefix, read};
use lectern_models::{Model, Token};
use std::path::Path;

/// Reads `text` behind the prompt's prefix into a new cache in `folder`, of `format`; returns it with the text's tokens.
pub(super) fn read_whole(
    model: &Model,
    text: &str,
    folder: &Path,
    format: BlockFormat,
) -> Result<(KvCache, Vec<Token>), EvaluationError> {
    let prefix = prefix(model.chat_template(), model.tokenizer())?;
    let input = ReadingInput {
        scope: None,
        tokens: model.tokenizer().encode_with_offsets(text)?,
        identity: CacheIdentity {
            scope: 0,
            text: Default::default(), // the folder is new: nothing else can be in it
            model: model.fingerprint().to_owned(),
            prompt: CacheIdentity::prompt_hash(&prefix),
            format: format.number(),
        },
        prefix,
    };
    let cache = KvCache::open(folder, &input.identity, model.shape())?;
    read(model, &input, &cache, &|_| (), &CancelFlag::new(), &|| ())?;
    Ok((cache, input.tokens))
}
