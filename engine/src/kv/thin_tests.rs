//! Caches of which heads have lost tokens: what stays, crashes and flipped bits, and the scores beside them.

#![allow(clippy::unwrap_used)]

use super::cache::{BLOCKS_FILE, THINNER_FILE};
use super::format::decode_head;
use super::scores::SCORES_FILE;
use super::tests::{Failing, append, assert_sound, chunk, identity_in, shape};
use super::*;
use lectern_models::attention::AttentionShape;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tempfile::TempDir;

const TOKENS: usize = 4 * BLOCK_TOKENS + 30;

fn open(folder: &Path, format: BlockFormat, shape: &AttentionShape) -> KvCache {
    KvCache::open(folder, &identity_in(format), shape).unwrap()
}

fn full(folder: &Path, format: BlockFormat, shape: &AttentionShape) -> KvCache {
    let cache = open(folder, format, shape);
    append(&cache, shape, 2 * BLOCK_TOKENS).unwrap();
    append(&cache, shape, TOKENS - 2 * BLOCK_TOKENS).unwrap();
    cache
}

/// Of the second block everything stays, of the third nothing of one head, of the fourth here and there.
fn is_kept(head: usize, token: usize) -> bool {
    match token / BLOCK_TOKENS {
        2 => head != 1,
        3 => !(token + head).is_multiple_of(3),
        _ => true,
    }
}

/// What is said of the first and the last block does not count: they are in half precision.
fn kept(cache: &KvCache) -> Kept {
    let kv = *cache.shape();
    let mut kept = Kept::everything(&kv, TOKENS.div_ceil(BLOCK_TOKENS));
    for head in 0..kv.layers * kv.kv_heads {
        let gone = (0..TOKENS).filter(|token| !is_kept(head, *token));
        for token in gone.chain([5, TOKENS - 1]) {
            kept.evict(head / kv.kv_heads, head % kv.kv_heads, token);
        }
    }
    kept
}

/// That the cache holds what was appended, to the last bit, but for what was evicted.
fn assert_what_stays(cache: &KvCache, shape: &AttentionShape, is_kept: fn(usize, usize) -> bool) {
    let file = cache.view();
    let view = cache.view().spread().unwrap();
    assert_eq!(file.share_kept(), view.share_kept());
    let kv = *view.shape();
    for block in 0..view.blocks() {
        let tokens = (cache.tokens() - block * BLOCK_TOKENS).min(BLOCK_TOKENS);
        let (ids, expected) = chunk(shape, block * BLOCK_TOKENS, tokens);
        let of_block = view.token_ids().skip(block * BLOCK_TOKENS).take(tokens);
        assert_eq!(of_block.collect::<Vec<_>>(), ids);
        let format = cache.format().of_block(block, tokens);
        for layer in 0..kv.layers {
            view.verify(layer, block..block + 1).unwrap();
            let mut part = vec![0; format.part_bytes(&kv)];
            format.encode(&kv, &expected[0], layer, tokens, &mut part);
            for kv_head in 0..kv.kv_heads {
                let found = decode_head(&kv, &view.part(block, layer), kv_head);
                let expected = decode_head(&kv, &format.part(&kv, &part), kv_head);
                for place in 0..tokens {
                    let token = block * BLOCK_TOKENS + place;
                    let stays = is_kept(layer * kv.kv_heads + kv_head, token);
                    let mask = view.kept(block, layer, kv_head);
                    assert_eq!(mask, file.kept(block, layer, kv_head));
                    assert_eq!(mask >> place & 1 == 1, stays, "token {token}");
                    let row = place * kv.head_dim..(place + 1) * kv.head_dim;
                    if stays {
                        assert_eq!(found.0[row.clone()], expected.0[row.clone()]);
                        assert_eq!(found.1[row.clone()], expected.1[row]);
                    }
                }
            }
        }
    }
}

#[test]
fn what_stays_is_what_it_was_and_can_be_made_less_again() {
    for format in [BlockFormat::K4V4, BlockFormat::K8V4, BlockFormat::K8V8] {
        let shape = shape(3, 2, 4);
        let folder = TempDir::new().unwrap();
        let cache = full(folder.path(), format, &shape);
        let whole = cache.bytes();
        assert!(!cache.view().is_thinned());
        let everything = Kept::everything(cache.shape(), 5);
        let cache = cache.thin(&everything).unwrap();
        assert!(!cache.view().is_thinned() && cache.bytes() == whole);
        assert_sound(&cache, &shape);

        let masks = kept(&cache);
        let cache = cache.thin(&masks).unwrap();
        let thinned = cache.bytes();
        assert!(thinned < whole && cache.view().is_thinned());
        assert_what_stays(&cache, &shape, is_kept);
        assert!(!cache.view().pick([0..2, 4..5]).is_thinned());
        drop(cache);
        let cache = open(folder.path(), format, &shape);
        assert_eq!((cache.recovery(), cache.bytes()), (None, thinned));
        assert_what_stays(&cache, &shape, is_kept);

        // What was evicted does not come back, and what is the same is not written again.
        let cache = cache.thin(&everything).unwrap();
        assert_eq!(cache.bytes(), thinned);
        let mut less = Kept::everything(cache.shape(), 5);
        for layer in 0..3 {
            for kv_head in 0..2 {
                less.evict(layer, kv_head, BLOCK_TOKENS + 7);
            }
        }
        let cache = cache.thin(&less).unwrap();
        assert!(cache.bytes() < thinned);
        assert_what_stays(&cache, &shape, |head, token| {
            is_kept(head, token) && token != BLOCK_TOKENS + 7
        });
        // Copies are as thin as what they are copies of.
        let beside = TempDir::new().unwrap();
        let copy = cache.beside(beside.path(), 5).unwrap();
        assert_eq!(copy.bytes(), cache.bytes());
        drop(copy);
        let copy = open(beside.path(), format, &shape);
        assert_eq!((copy.recovery(), copy.tokens()), (None, TOKENS));
    }
}

#[test]
fn a_thinned_cache_can_be_cut_and_goes_on() {
    let shape = shape(1, 2, 2);
    let folder = TempDir::new().unwrap();
    let cache = full(folder.path(), BlockFormat::K4V4, &shape);
    let masks = kept(&cache);
    let cache = cache.thin(&masks).unwrap();
    cache.cut(4 * BLOCK_TOKENS).unwrap();
    append(&cache, &shape, 2 * BLOCK_TOKENS).unwrap();
    drop(cache);
    let cache = open(folder.path(), BlockFormat::K4V4, &shape);
    assert_eq!((cache.recovery(), cache.tokens()), (None, 6 * BLOCK_TOKENS));
    assert_what_stays(&cache, &shape, is_kept);
}

#[test]
fn of_half_precision_and_of_few_bits_nothing_is_left_out() {
    for format in [BlockFormat::F16, BlockFormat::K3V4] {
        let shape = shape(1, 1, 2);
        let folder = TempDir::new().unwrap();
        let cache = full(folder.path(), format, &shape);
        let everything = Kept::everything(cache.shape(), 5);
        assert!(matches!(
            cache.thin(&everything),
            Err(KvError::Whole { .. })
        ));
        assert_sound(&open(folder.path(), format, &shape), &shape);
    }
}

/// A full disk, or a machine that stops, wherever in the new file: the cache is what it was.
#[test]
fn a_thinning_that_fails_at_any_byte_leaves_what_was_there() {
    let format = BlockFormat::K4V4;
    let shape = shape(1, 2, 2);
    let folder = TempDir::new().unwrap();
    let before = full(folder.path(), format, &shape).bytes();
    let after = {
        let beside = TempDir::new().unwrap();
        let cache = full(beside.path(), format, &shape);
        let masks = kept(&cache);
        cache.thin(&masks).unwrap().bytes()
    };
    for bytes in (0..after).step_by(7) {
        let cache = open(folder.path(), format, &shape);
        let masks = kept(&cache);
        let left = Arc::new(AtomicU64::new(bytes));
        let kind = ErrorKind::StorageFull;
        let thinned = cache.thin_through(&masks, |file| Ok(Box::new(Failing { file, left, kind })));
        assert!(
            matches!(thinned, Err(KvError::DiskFull { .. })),
            "byte {bytes}"
        );
        // As a crash leaves it.
        fs::write(folder.path().join(THINNER_FILE), vec![1; bytes as usize]).unwrap();
        let cache = open(folder.path(), format, &shape);
        assert!(!folder.path().join(THINNER_FILE).exists());
        assert_eq!((cache.recovery(), cache.bytes()), (None, before));
        assert_sound(&cache, &shape);
    }
}

#[test]
fn flipped_bits_of_a_thinned_cache_are_found() {
    let format = BlockFormat::K4V4;
    let shape = shape(2, 2, 2);
    let template = TempDir::new().unwrap();
    let cache = full(template.path(), format, &shape);
    let masks = kept(&cache);
    let cache = cache.thin(&masks).unwrap();
    drop(cache);
    let bytes = fs::read(template.path().join(BLOCKS_FILE)).unwrap();
    let folder = TempDir::new().unwrap();
    let mut unseen = 0;
    for at in (0..bytes.len()).step_by(7) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let manifest = "manifest.json";
        fs::copy(template.path().join(manifest), folder.path().join(manifest)).unwrap();
        fs::write(folder.path().join(BLOCKS_FILE), &flipped).unwrap();
        let cache = open(folder.path(), format, &shape);
        let found = cache.recovery().is_some() || cache.view().spread().is_err();
        cache.cut_damage().unwrap();
        assert!(!cache.is_damaged());
        // The bytes that fill up a block to a multiple of 64 belong to nothing.
        unseen += usize::from(!found);
        assert_what_stays(&cache, &shape, is_kept);
    }
    let filling = 2 * header::ALIGNMENT;
    assert!(unseen <= filling.div_ceil(7), "{unseen}");
}

#[test]
fn scores_are_of_these_tokens_and_decide_what_stays() {
    let shape = shape(2, 2, 2);
    let folder = TempDir::new().unwrap();
    let cache = full(folder.path(), BlockFormat::K4V4, &shape);
    let view = cache.view();
    let worth = |block: usize| -> Vec<u8> {
        let of_heads = (0..4 * BLOCK_TOKENS).map(|at| (at * 7 + block) % 200);
        of_heads.map(|worth| worth as u8).collect()
    };
    let mut scores = cache.scores().unwrap();
    assert_eq!(scores.of_block(&view, 1).unwrap(), None);
    let put = |scores: &mut Scores, first: usize| {
        scores
            .put(&view, first, &[worth(first), worth(first + 1)])
            .unwrap();
    };
    put(&mut scores, 2);
    assert_eq!(scores.of_block(&view, 1).unwrap(), None);
    put(&mut scores, 0);
    drop(scores);
    let mut scores = cache.scores().unwrap();
    for block in 0..4 {
        assert_eq!(scores.of_block(&view, block).unwrap(), Some(worth(block)));
    }
    let kept = scores.keep(&view, 0.5, 2).unwrap();
    let share = |blocks: std::ops::Range<usize>| -> f64 {
        let masks = blocks
            .clone()
            .flat_map(|block| kept.of_block(block).unwrap());
        let tokens: u32 = masks.map(|mask| mask.count_ones()).sum();
        f64::from(tokens) / (blocks.len() * 4 * BLOCK_TOKENS) as f64
    };
    assert_eq!(share(0..2), 1.0);
    assert!((share(2..4) - 0.5).abs() < 0.01, "{}", share(2..4));
    let stays = kept.of_block(3).unwrap()[2] >> 9 & 1 == 1;
    assert_eq!(stays, worth(3)[2 * BLOCK_TOKENS + 9] >= 100);

    // Damage, and other tokens in the same place.
    let path = folder.path().join(SCORES_FILE);
    let mut bytes = fs::read(&path).unwrap();
    bytes[(8 + 4 * BLOCK_TOKENS) * 2 + 30] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(cache.scores().unwrap().of_block(&view, 2).unwrap(), None);
    drop(view);
    cache.cut(3 * BLOCK_TOKENS).unwrap();
    let (_, blocks) = chunk(&shape, 0, BLOCK_TOKENS);
    cache.append(&[9; BLOCK_TOKENS], &blocks).unwrap();
    let mut scores = cache.scores().unwrap();
    assert_eq!(scores.of_block(&cache.view(), 3).unwrap(), None);
    assert!(scores.of_block(&cache.view(), 1).unwrap().is_some());
}
