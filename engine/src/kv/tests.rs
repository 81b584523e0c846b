//! Crashes, full disks and flipped bits, at every byte of a small cache.

#![allow(clippy::unwrap_used)]

use super::cache::BLOCKS_FILE;
use super::format::decode_head;
use super::storage::Storage;
use super::*;
use lectern_models::attention::{AttentionShape, Rotary, RotaryPairing};
use proptest::prelude::*;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

pub(super) fn shape(layers: usize, kv_heads: usize, head_dim: usize) -> AttentionShape {
    AttentionShape {
        layers,
        query_heads: kv_heads,
        kv_heads,
        head_dim,
        softmax_scale: 1.0,
        rotary: Rotary {
            pairing: RotaryPairing::Halves,
            inverse_frequencies: vec![],
        },
        key_bias: vec![None; layers],
    }
}

fn identity() -> CacheIdentity {
    identity_in(BlockFormat::F16)
}

pub(super) fn identity_in(format: BlockFormat) -> CacheIdentity {
    CacheIdentity {
        scope: 0,
        text: [5; 32],
        model: "model".into(),
        prompt: 3,
        format: format.number(),
    }
}

/// Formats that stand for all: blocks of one size, and of two.
const FORMATS: [BlockFormat; 2] = [BlockFormat::F16, BlockFormat::K4V4];

/// Token ids, and the keys and values that stand for them.
pub(super) fn chunk(
    shape: &AttentionShape,
    first: usize,
    tokens: usize,
) -> (Vec<u32>, Vec<OpenBlock>) {
    let kv = KvShape::from(shape);
    let mut blocks = vec![OpenBlock::new(kv); tokens.div_ceil(BLOCK_TOKENS)];
    for token in 0..tokens {
        for layer in 0..kv.layers {
            let keys: Vec<f32> = (0..kv.kv_heads * kv.head_dim)
                .map(|i| ((first + token) * 31 + layer * 7 + i) as f32 / 16.0)
                .collect();
            let values: Vec<f32> = keys.iter().map(|key| 1.0 - key).collect();
            blocks[token / BLOCK_TOKENS].put(layer, token % BLOCK_TOKENS, &keys, &values);
        }
    }
    let ids = (first..first + tokens).map(|id| id as u32 * 3).collect();
    (ids, blocks)
}

pub(super) fn append(
    cache: &KvCache,
    shape: &AttentionShape,
    tokens: usize,
) -> Result<(), KvError> {
    let (ids, blocks) = chunk(shape, cache.tokens(), tokens);
    cache.append(&ids, &blocks)
}

/// That the cache holds what was appended, in every layer, and as many tokens as it says.
pub(super) fn assert_sound(cache: &KvCache, shape: &AttentionShape) {
    let view = cache.view();
    let ids: Vec<u32> = view.token_ids().collect();
    assert_eq!(ids.len(), cache.tokens());
    assert!(ids.iter().enumerate().all(|(at, id)| *id == at as u32 * 3));
    let kv = *view.shape();
    for block in 0..view.blocks() {
        let tokens = (cache.tokens() - block * BLOCK_TOKENS).min(BLOCK_TOKENS);
        let (_, expected) = chunk(shape, block * BLOCK_TOKENS, tokens);
        let format = cache.format().of_block(block, tokens);
        for layer in 0..kv.layers {
            view.verify(layer, block..block + 1).unwrap();
            let mut part = vec![0; format.part_bytes(&kv)];
            format.encode(&kv, &expected[0], layer, tokens, &mut part);
            for head in 0..kv.kv_heads {
                assert_eq!(
                    decode_head(&kv, &view.part(block, layer), head),
                    decode_head(&kv, &format.part(&kv, &part), head)
                );
            }
        }
    }
}

/// A file of a machine that stops: after so many bytes nothing reaches it any more.
pub(super) struct Failing {
    pub(super) file: File,
    pub(super) left: Arc<AtomicU64>,
    pub(super) kind: ErrorKind,
}

impl Storage for Failing {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let left = self.left.load(Ordering::Relaxed);
        let written = left.min(bytes.len() as u64);
        Storage::write_at(&mut self.file, offset, &bytes[..written as usize])?;
        self.left.store(left - written, Ordering::Relaxed);
        if written < bytes.len() as u64 {
            return Err(self.kind.into());
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        match self.kind {
            ErrorKind::StorageFull => File::set_len(&self.file, bytes),
            kind => Err(kind.into()),
        }
    }
}

fn open_failing(
    folder: &Path,
    format: BlockFormat,
    shape: &AttentionShape,
    left: &Arc<AtomicU64>,
    kind: ErrorKind,
) -> KvCache {
    let left = left.clone();
    KvCache::open_with(folder, &identity_in(format), shape.into(), |file| {
        Ok(Box::new(Failing { file, left, kind }))
    })
    .unwrap()
}

#[test]
fn what_was_appended_is_there_after_reopening() {
    for format in BlockFormat::ALL {
        reopen(format);
    }
}

fn reopen(format: BlockFormat) {
    let identity = identity_in(format);
    let shape = shape(3, 2, 4);
    let root = TempDir::new().unwrap();
    let folder = root.path().join(identity.folder_name());
    let cache = KvCache::open(&folder, &identity, &shape).unwrap();
    let promised = cache.append_bytes(262);
    append(&cache, &shape, 128).unwrap();
    append(&cache, &shape, 64).unwrap();
    let early = cache.view();
    append(&cache, &shape, 70).unwrap();
    assert_sound(&cache, &shape);
    assert_eq!((early.tokens(), cache.tokens()), (192, 262));
    assert!(matches!(
        append(&cache, &shape, 64),
        Err(KvError::Complete { tokens: 262, .. })
    ));
    let bytes = cache.bytes();
    assert_eq!(bytes, promised);
    assert_eq!(bytes, fs::metadata(folder.join(BLOCKS_FILE)).unwrap().len());
    drop((cache, early));
    let cache = KvCache::open(&folder, &identity, &shape).unwrap();
    assert_eq!(cache.recovery(), None);
    assert_eq!((cache.tokens(), cache.bytes()), (262, bytes));
    assert_sound(&cache, &shape);
    assert_eq!(cache.view().common_prefix(&[0, 3, 6, 10]), 3);
    let listed = list(root.path()).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0].folder, listed[0].bytes, &listed[0].identity),
        (&folder, bytes, &identity)
    );
    assert!(list(&root.path().join("none")).unwrap().is_empty());
}

#[test]
fn another_identity_or_shape_is_refused_and_nothing_is_touched() {
    let small = shape(2, 1, 4);
    let folder = TempDir::new().unwrap();
    let cache = KvCache::open(folder.path(), &identity(), &small).unwrap();
    append(&cache, &small, 64).unwrap();
    drop(cache);
    let before = fs::read(folder.path().join(BLOCKS_FILE)).unwrap();
    let mut others = vec![identity(), identity(), identity()];
    others[0].text[0] = 6;
    others[1].model = "other".into();
    others[2].prompt = 4;
    // Without a manifest the blocks themselves say whose they are.
    for with_manifest in [true, false] {
        if !with_manifest {
            fs::remove_file(folder.path().join("manifest.json")).unwrap();
        }
        for other in &others {
            assert!(matches!(
                KvCache::open(folder.path(), other, &small),
                Err(KvError::OtherIdentity { .. })
            ));
        }
    }
    assert_eq!(fs::read(folder.path().join(BLOCKS_FILE)).unwrap(), before);
    let cache = KvCache::open(folder.path(), &identity(), &small).unwrap();
    assert_sound(&cache, &small);
    drop(cache);
    assert!(matches!(
        KvCache::open(folder.path(), &identity(), &shape(2, 2, 4)),
        Err(KvError::OtherIdentity { .. })
    ));
    let unknown = CacheIdentity {
        format: 99,
        ..identity()
    };
    assert!(matches!(
        KvCache::open(folder.path(), &unknown, &small),
        Err(KvError::UnknownFormat { format: 99, .. })
    ));
}

#[test]
fn one_at_a_time() {
    let shape = shape(1, 1, 2);
    let root = TempDir::new().unwrap();
    let folder = root.path().join("cache");
    let cache = KvCache::open(&folder, &identity(), &shape).unwrap();
    assert!(matches!(
        KvCache::open(&folder, &identity(), &shape),
        Err(KvError::Locked { .. })
    ));
    assert!(matches!(remove(&folder), Err(KvError::Locked { .. })));
    drop(cache);
    drop(KvCache::open(&folder, &identity(), &shape).unwrap());
    remove(&folder).unwrap();
    assert!(!folder.exists());
}

/// A crash at every byte of the second append: the first is always whole, and reading can go on.
#[test]
fn a_crash_at_any_byte_loses_only_the_append_under_way() {
    for format in FORMATS {
        crash_at_any_byte(format);
    }
}

fn crash_at_any_byte(format: BlockFormat) {
    let shape = shape(1, 1, 1);
    let identity = identity_in(format);
    let template = TempDir::new().unwrap();
    let cache = KvCache::open(template.path(), &identity, &shape).unwrap();
    append(&cache, &shape, 128).unwrap();
    let second = cache.append_bytes(128);
    let block = second / 2;
    drop(cache);
    let folder = TempDir::new().unwrap();
    // Every byte takes its time; of the second format every seventh must do.
    let step = if format == BlockFormat::F16 { 1 } else { 7 };
    for torn in (0..=second).step_by(step) {
        for name in ["manifest.json", BLOCKS_FILE] {
            fs::copy(template.path().join(name), folder.path().join(name)).unwrap();
        }
        let left = Arc::new(AtomicU64::new(torn));
        let cache = open_failing(folder.path(), format, &shape, &left, ErrorKind::BrokenPipe);
        let whole = append(&cache, &shape, 128).is_ok();
        assert_eq!(whole, torn == second);
        assert_eq!(cache.tokens(), if whole { 256 } else { 128 });
        assert_sound(&cache, &shape);
        drop(cache);
        let cache = KvCache::open(folder.path(), &identity, &shape).unwrap();
        // A whole block of the torn append may have survived; that is no harm.
        let expected = 128 + 64 * (torn / block) as usize;
        assert_eq!(cache.tokens(), expected, "torn after {torn} bytes");
        assert_eq!(cache.recovery().is_some(), !torn.is_multiple_of(block));
        assert_sound(&cache, &shape);
        if torn.is_multiple_of(97) {
            append(&cache, &shape, 64).unwrap();
            assert_sound(&cache, &shape);
        }
    }
}

#[test]
fn a_full_disk_loses_nothing_and_can_be_tried_again() {
    let shape = shape(2, 1, 8);
    let folder = TempDir::new().unwrap();
    let left = Arc::new(AtomicU64::new(10_000));
    let cache = open_failing(
        folder.path(),
        BlockFormat::F16,
        &shape,
        &left,
        ErrorKind::StorageFull,
    );
    append(&cache, &shape, 64).unwrap();
    let error = append(&cache, &shape, 256).unwrap_err();
    let needed = cache.append_bytes(256);
    assert!(matches!(error, KvError::DiskFull { needed: n, .. } if n == needed));
    let failure = lectern_protocol::Failure::from(&error);
    assert_eq!(failure.code, lectern_protocol::FailureCode::DiskFull);
    assert_eq!(cache.tokens(), 64);
    let on_disk = fs::metadata(folder.path().join(BLOCKS_FILE)).unwrap().len();
    assert_eq!(on_disk, cache.bytes());
    left.store(1_000_000, Ordering::Relaxed);
    append(&cache, &shape, 256).unwrap();
    assert_sound(&cache, &shape);
}

/// Any flipped bit is found at opening or at first use, and everything before its block is kept.
#[test]
fn flipped_bits_are_found() {
    for format in FORMATS {
        flip_bits(format);
    }
}

fn flip_bits(format: BlockFormat) {
    let identity = identity_in(format);
    let shape = shape(2, 1, 2);
    let template = TempDir::new().unwrap();
    let cache = KvCache::open(template.path(), &identity, &shape).unwrap();
    let mut ends = Vec::new();
    for tokens in [64, 128, 40] {
        let before = cache.bytes() as usize;
        append(&cache, &shape, tokens).unwrap();
        let bytes = cache.bytes() as usize - before;
        let blocks = tokens.div_ceil(BLOCK_TOKENS);
        ends.extend((1..=blocks).map(|nth| before + bytes / blocks * nth));
    }
    drop(cache);
    let bytes = fs::read(template.path().join(BLOCKS_FILE)).unwrap();
    let folder = TempDir::new().unwrap();
    // 13 has no factor in common with anything here, so all kinds of places are hit.
    for at in (0..bytes.len()).step_by(13) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let manifest = "manifest.json";
        fs::copy(template.path().join(manifest), folder.path().join(manifest)).unwrap();
        fs::write(folder.path().join(BLOCKS_FILE), &flipped).unwrap();
        let cache = KvCache::open(folder.path(), &identity, &shape).unwrap();
        let found_at_open = cache.recovery().is_some();
        let cut = cache.cut_damage().unwrap();
        assert!(found_at_open || cut.is_some(), "byte {at}");
        let whole = ends.iter().filter(|end| **end <= at).count();
        assert_eq!(cache.tokens(), whole * BLOCK_TOKENS, "byte {at}");
        assert!(!cache.is_damaged());
        assert_sound(&cache, &shape);
        append(&cache, &shape, 64).unwrap();
        assert_sound(&cache, &shape);
    }
}

#[test]
fn a_cut_waits_for_readers_and_keeps_to_blocks() {
    let shape = shape(1, 1, 2);
    let folder = TempDir::new().unwrap();
    let cache = KvCache::open(folder.path(), &identity(), &shape).unwrap();
    append(&cache, &shape, 192).unwrap();
    assert!(matches!(cache.cut(65), Err(KvError::Cut { .. })));
    let view = cache.view();
    assert!(matches!(cache.cut(64), Err(KvError::Cut { .. })));
    assert_eq!(cache.tokens(), 192);
    drop(view);
    cache.cut(64).unwrap();
    append(&cache, &shape, 64).unwrap();
    assert_eq!(cache.tokens(), 128);
    assert_sound(&cache, &shape);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A power cut may lose any sectors of the append that was not durable yet, in any order.
    #[test]
    fn lost_sectors_of_the_last_append_never_leave_an_invalid_block(
        chunks in proptest::collection::vec(1usize..4, 1..4),
        last in 1usize..200,
        lost in proptest::collection::vec(any::<bool>(), 64),
        layers in 1usize..3,
        head_dim in 1usize..5,
        format in proptest::sample::select(&FORMATS[..]),
    ) {
        let shape = shape(layers, 2, head_dim);
        let folder = TempDir::new().unwrap();
        let cache = KvCache::open(folder.path(), &identity_in(format), &shape).unwrap();
        for blocks in &chunks {
            append(&cache, &shape, blocks * BLOCK_TOKENS).unwrap();
        }
        let (durable, durable_bytes) = (cache.tokens(), cache.bytes() as usize);
        append(&cache, &shape, last).unwrap();
        drop(cache);
        let path = folder.path().join(BLOCKS_FILE);
        let mut bytes = fs::read(&path).unwrap();
        let mut any_lost = false;
        for (sector, lost) in bytes[durable_bytes..].chunks_mut(512).zip(lost.iter().cycle()) {
            if *lost {
                any_lost |= sector.iter().any(|byte| *byte != 0);
                sector.fill(0);
            }
        }
        fs::write(&path, bytes).unwrap();
        let cache = KvCache::open(folder.path(), &identity_in(format), &shape).unwrap();
        prop_assert!(cache.tokens() >= durable);
        prop_assert_eq!(any_lost, cache.recovery().is_some());
        assert_sound(&cache, &shape);
    }
}
