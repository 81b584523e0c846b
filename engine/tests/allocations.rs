//! Decoding allocates no memory: what a pass over one token needs is there from the pass before.
//!
//! A program of its own, since it counts what all its threads allocate.
#![allow(clippy::unwrap_used)]

#[path = "../../models/tests/reference/mod.rs"]
mod reference;

use lectern_engine::attention::{CancelFlag, DenseAttention};
use lectern_engine::kv::{BlockFormat, CacheIdentity, KvCache};
use lectern_models::{Level, Logits};
use reference::{SMOLLM2, load};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Tokens in the cache: more than one span of keys, and half a block behind the last one that is full.
const READ: usize = 64 * 10;
const BEHIND: usize = 20;

/// What the thread pool allocates to say to all its threads that a pass begins.
const TO_BEGIN: u64 = 1;

#[test]
fn a_token_is_decoded_without_allocating() {
    if Level::chosen() == Level::Portable {
        eprintln!("passed over: the portable products of a few rows are those of many");
        return;
    }
    let model = load(SMOLLM2);
    let text = include_str!("../../LICENSE-APACHE");
    let tokens = model.tokenizer().encode(text).unwrap();
    let (tokens, behind) = tokens[..READ + BEHIND].split_at(READ);
    let folder = tempfile::tempdir().unwrap();
    let identity = CacheIdentity {
        text: [1; 32],
        model: model.fingerprint().to_owned(),
        prompt: 0,
        format: BlockFormat::K4V4.number(),
        scope: 0,
    };
    let cache = KvCache::open(folder.path(), &identity, model.shape()).unwrap();
    let mut attention = DenseAttention::over(&cache, model.shape(), CancelFlag::new()).unwrap();
    model.forward(tokens, &mut attention, Logits::None).unwrap();
    attention.seal(&cache, tokens).unwrap();
    // As while an answer is drawn that will be cited.
    attention.record(&[(0, 0), (3, 2), (3, 4), (29, 8)]);
    let mut logits = Vec::new();
    let mut decode = |token: u32| {
        model
            .forward_to(&[token], &mut attention, Logits::Last, &mut logits)
            .unwrap();
        assert_eq!(logits.len(), model.vocabulary_size());
    };
    let (warm, counted) = behind.split_at(BEHIND / 2);
    warm.iter().copied().for_each(&mut decode);
    let _profiler = dhat::Profiler::builder().testing().build();
    let allocated = || dhat::HeapStats::get().total_blocks;
    let before = allocated();
    drop(std::hint::black_box(vec![1u8]));
    assert_eq!(allocated() - before, 1, "allocations are counted");
    let before = allocated();
    counted.iter().copied().for_each(&mut decode);
    let allocations = allocated() - before;
    let allowed = TO_BEGIN * counted.len() as u64;
    assert!(
        allocations <= allowed,
        "{allocations} for {} tokens",
        counted.len()
    );
}
