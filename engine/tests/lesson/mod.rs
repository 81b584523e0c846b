//! A text, read into a cache of its own.
#![allow(clippy::unwrap_used)]

use lectern_engine::kv::{CacheIdentity, FORMAT_F16, KvCache};
use lectern_engine::reading::{CancelFlag, Followers, ReadingInput, read};
use lectern_models::{Model, Token};
use std::path::Path;

/// Something of several thousand tokens that is always here.
pub const TEXT: &str = concat!(
    include_str!("../../src/attention/span.rs"),
    include_str!("../../src/attention/dense.rs"),
    include_str!("../../src/kv/cache.rs"),
);

pub fn input(model: &Model, tokens: usize) -> ReadingInput {
    let prefix = model.tokenizer().encode("Read this:\n").unwrap();
    let mut document = model.tokenizer().encode_with_offsets(TEXT).unwrap();
    assert!(
        document.len() >= tokens,
        "the text has only {} tokens",
        document.len()
    );
    document.truncate(tokens);
    of(model, prefix, document, FORMAT_F16)
}

/// These tokens, behind `prefix`, to be read in this format.
pub fn of(model: &Model, prefix: Vec<u32>, tokens: Vec<Token>, format: u32) -> ReadingInput {
    ReadingInput {
        segments: None,
        identity: CacheIdentity {
            scope: 0,
            text: [1; 32],
            model: model.fingerprint().to_owned(),
            prompt: CacheIdentity::prompt_hash(&prefix),
            format,
        },
        prefix,
        tokens,
    }
}

pub fn ids(input: &ReadingInput) -> Vec<u32> {
    let document = input.tokens.iter().map(|token| token.id);
    input.prefix.iter().copied().chain(document).collect()
}

pub fn open(folder: &Path, input: &ReadingInput, model: &Model) -> KvCache {
    KvCache::open(folder, &input.identity, model.shape()).unwrap()
}

pub fn read_all(model: &Model, input: &ReadingInput, cache: &KvCache) {
    read(model, input, cache, Followers::none(&CancelFlag::new())).unwrap();
}
