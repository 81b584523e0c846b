//! Attention with a GPU behind it, on the fake driver: what the CPU gives, within rounding, and the CPU where the GPU fails.

#![allow(clippy::unwrap_used)]

#[path = "../cuda/tests/support/fake_driver.rs"]
#[allow(dead_code)]
mod fake_driver;
#[path = "../cuda/tests/support/noise.rs"]
mod noise;

use fake_driver::{Checked, FakeDriver, build};
use lectern_engine::attention::{CancelFlag, DenseAttention, GpuRead, PagePolicy, SparseRead};
use lectern_engine::kv::{BlockFormat, CacheIdentity, Kept, KvCache};
use lectern_models::attention::{Attention, AttentionShape, Projected, Rotary, RotaryPairing};
use noise::Noise;
use std::sync::{Mutex, MutexGuard, OnceLock};
use tempfile::TempDir;

fn driver() -> (&'static FakeDriver, MutexGuard<'static, ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    static LOADED: OnceLock<FakeDriver> = OnceLock::new();
    let alone = ALONE
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let driver = LOADED.get_or_init(|| FakeDriver::load_wanted(|| build(Checked::Plain, None)));
    driver.reset(8 << 30, 0);
    (driver, alone)
}

fn shape(head_dim: usize) -> AttentionShape {
    AttentionShape {
        layers: 2,
        query_heads: 6,
        kv_heads: 2,
        head_dim,
        softmax_scale: (head_dim as f32).sqrt().recip(),
        rotary: Rotary {
            pairing: RotaryPairing::Halves,
            inverse_frequencies: (0..head_dim / 2)
                .map(|pair| 10_000f32.powf(-2.0 * pair as f32 / head_dim as f32))
                .collect(),
        },
        key_bias: vec![Some(Noise::new(3).numbers(2 * head_dim, 5.0)), None],
    }
}

/// One layer after the other, a pass over positions `first..last`; queries, keys and values follow from the position.
fn pass(
    attention: &mut DenseAttention,
    shape: &AttentionShape,
    (first, last): (usize, usize),
) -> Vec<Vec<f32>> {
    let numbers = |layer: usize, heads: usize, what: u64, size: f32| {
        (first..last)
            .flat_map(|position| {
                Noise::new(what + 10 * layer as u64 + 1000 * position as u64)
                    .numbers(heads * shape.head_dim, size)
            })
            .collect()
    };
    (0..shape.layers)
        .map(|layer| {
            let projected = Projected {
                tokens: last - first,
                queries: numbers(layer, shape.query_heads, 1, 2.0),
                keys: numbers(layer, shape.kv_heads, 2, 1.0),
                values: numbers(layer, shape.kv_heads, 3, 1.0),
            };
            let mut attended = Vec::new();
            attention.attend(layer, &projected, &mut attended).unwrap();
            attended
        })
        .collect()
}

fn cache(folder: &TempDir, shape: &AttentionShape, format: BlockFormat) -> KvCache {
    let identity = CacheIdentity {
        text: [1; 32],
        model: "noise".into(),
        prompt: 0,
        format: format.number(),
        scope: 0,
    };
    KvCache::open(folder.path(), &identity, shape).unwrap()
}

fn gpu_read(format: BlockFormat, cached_tokens: usize) -> GpuRead {
    GpuRead {
        spread: None,
        format,
        cached_tokens,
        window_tokens: 256,
        pass_tokens: 128,
    }
}

/// Reads 300 tokens in chunks and asks behind them, recorded. All that came out: attended values, then masses.
fn read_and_ask(
    shape: &AttentionShape,
    format: BlockFormat,
    gpu: bool,
    still_on_gpu: Option<bool>,
) -> (Vec<Vec<f32>>, Vec<u8>) {
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder, shape, format);
    let mut attention = DenseAttention::over(&cache, shape, CancelFlag::new()).unwrap();
    if gpu {
        attention.use_gpu(&gpu_read(format, 300)).unwrap();
    }
    let mut found = Vec::new();
    for range in [(0, 128), (128, 256), (256, 300)] {
        found.extend(pass(&mut attention, shape, range));
        let ids: Vec<u32> = (range.0 as u32..range.1 as u32).collect();
        attention.seal(&cache, &ids).unwrap();
    }
    // The document is asked, the question put back, and asked again by somebody who opens it anew.
    let mut again = DenseAttention::over(&cache, shape, CancelFlag::new()).unwrap();
    if gpu {
        again.use_gpu(&gpu_read(format, 300)).unwrap();
    }
    for attention in [&mut attention, &mut again] {
        attention.record(&[(0, 1), (1, 5)]);
        found.extend(pass(attention, shape, (300, 320)));
        attention.rewind(304);
        found.extend(pass(attention, shape, (304, 305)));
        found.push(attention.take_mass());
        if let Some(expected) = still_on_gpu {
            assert_eq!(attention.is_on_gpu(), expected);
        }
    }
    let bytes = std::fs::read(cache.folder().join("blocks.kv")).unwrap();
    (found, bytes)
}

fn worst(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found
        .iter()
        .zip(expected)
        .flat_map(|(found, expected)| {
            assert_eq!(found.len(), expected.len());
            found.iter().zip(expected).map(|(a, b)| (a - b).abs())
        })
        .fold(
            0.0,
            |a, b| if b.is_nan() { f32::INFINITY } else { a.max(b) },
        )
}

#[test]
fn the_gpu_gives_what_the_cpu_gives() {
    let (driver, _alone) = driver();
    // In codes the CPU rounds weights to 8 bits, see `attention/mod.rs`; in halves both are exact.
    for (format, head_dim, bound) in [
        (BlockFormat::F16, 64, 1e-4),
        (BlockFormat::K4V4, 128, 0.02),
        (BlockFormat::K8V4, 64, 0.02),
    ] {
        let shape = shape(head_dim);
        let (expected, cpu_bytes) = read_and_ask(&shape, format, false, None);
        driver.set_seed(head_dim as u32);
        let (found, gpu_bytes) = read_and_ask(&shape, format, true, Some(true));
        let worst = worst(&found, &expected);
        println!("{format:?}: largest difference {worst:.1e}");
        assert!(worst <= bound, "{format:?}: {worst}");
        assert!(cpu_bytes == gpu_bytes, "the cache is the same file");
        let quantized = driver.log().contains("launch quantize");
        assert!(quantized || format == BlockFormat::F16 || !driver.is_fake());
    }
}

/// An opening of two blocks, and behind it alone one segment after the other; then asked behind it and the third.
fn read_segments_and_ask(shape: &AttentionShape, format: BlockFormat, gpu: bool) -> Vec<Vec<f32>> {
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder, shape, format);
    let mut attention = DenseAttention::over(&cache, shape, CancelFlag::new()).unwrap();
    if gpu {
        attention.use_gpu(&gpu_read(format, 256)).unwrap();
    }
    let mut found = Vec::new();
    for first in (0..512).step_by(128) {
        attention
            .go_to(cache.view().pick(std::iter::once(0..2)))
            .unwrap();
        let start = attention.tokens();
        found.extend(pass(&mut attention, shape, (start, start + 128)));
        let ids: Vec<u32> = (first..first + 128).collect();
        attention.seal(&cache, &ids).unwrap();
        assert_eq!(attention.is_on_gpu(), gpu);
    }
    assert_eq!(cache.tokens(), 512);
    let picked = cache.view().pick([0..2, 6..8]);
    let mut asked = DenseAttention::over_view(picked, shape, CancelFlag::new()).unwrap();
    if gpu {
        asked.use_gpu(&gpu_read(format, 256)).unwrap();
    }
    asked.record(&[(0, 1), (1, 5)]);
    found.extend(pass(&mut asked, shape, (256, 270)));
    found.push(asked.take_mass());
    assert_eq!(asked.is_on_gpu(), gpu);
    found
}

#[test]
fn segments_on_the_gpu_are_those_of_the_cpu() {
    let (_driver, _alone) = driver();
    for (format, bound) in [(BlockFormat::F16, 1e-4), (BlockFormat::K4V4, 0.02)] {
        let shape = shape(64);
        let expected = read_segments_and_ask(&shape, format, false);
        let found = read_segments_and_ask(&shape, format, true);
        let worst = worst(&found, &expected);
        assert!(worst <= bound, "{format:?}: {worst}");
    }
}

/// Wherever the GPU fails, the CPU goes on, and what comes out is what it would have been.
#[test]
fn a_gpu_that_fails_half_way_is_left_behind() {
    let (driver, _alone) = driver();
    let shape = shape(64);
    let format = BlockFormat::F16;
    let (expected, _) = read_and_ask(&shape, format, false, None);
    let (_, _) = read_and_ask(&shape, format, true, Some(true));
    let launches = driver.launches();
    assert!(launches > 20 || !driver.is_fake());
    for nth in (1..=launches).step_by(11) {
        driver.fail_launch(nth);
        let (found, _) = read_and_ask(&shape, format, true, None);
        assert!(worst(&found, &expected) <= 1e-4, "launch {nth}");
        assert!(driver.launches() >= nth);
    }
}

#[test]
fn chosen_pages_on_the_gpu_are_those_of_the_cpu() {
    let (driver, _alone) = driver();
    let (shape, format) = (shape(64), BlockFormat::F16);
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder, &shape, format);
    let mut reader = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
    for first in (0..1280).step_by(128) {
        pass(&mut reader, &shape, (first, first + 128));
        let ids: Vec<u32> = (first as u32..first as u32 + 128).collect();
        reader.seal(&cache, &ids).unwrap();
    }
    let ask = |gpu: bool| {
        let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
        attention.look_at(Some(SparseRead::new(PagePolicy::Keys, 8 * 64)));
        if gpu {
            attention.use_gpu(&gpu_read(format, 1280)).unwrap();
        }
        let mut found = pass(&mut attention, &shape, (1280, 1283));
        found.extend(pass(&mut attention, &shape, (1283, 1284)));
        assert_eq!(attention.is_on_gpu(), gpu);
        found
    };
    let expected = ask(false);
    let found = ask(true);
    assert!(driver.log().contains("launch pick") || !driver.is_fake());
    let worst = worst(&found, &expected);
    assert!(worst <= 1e-4, "{worst}");
}

#[test]
fn a_gpu_that_passes_the_check_is_used() {
    let (_driver, _alone) = driver();
    let (shape, format) = (shape(64), BlockFormat::F16);
    let folder = TempDir::new().unwrap();
    let cache = cache(&folder, &shape, format);
    let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
    attention.use_gpu_if_sound(&gpu_read(format, 300));
    assert!(attention.is_on_gpu());
}

#[test]
fn what_has_no_kernels_stays_on_the_cpu() {
    let (driver, _alone) = driver();
    for (head_dim, format) in [(80, BlockFormat::F16), (64, BlockFormat::K3V4)] {
        let folder = TempDir::new().unwrap();
        let shape = shape(head_dim);
        let cache = cache(&folder, &shape, format);
        let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
        let error = attention.use_gpu(&gpu_read(format, 300)).unwrap_err();
        assert!(error.to_string().contains("no kernels"), "{error}");
        assert!(!attention.is_on_gpu());
        pass(&mut attention, &shape, (0, 5));
    }
    assert_eq!(driver.allocated().0, 0);
}

/// Of a cache that heads have lost tokens of, GPUs know nothing: the processor looks at it.
#[test]
fn a_thinned_cache_is_looked_at_by_the_cpu() {
    let (_driver, _alone) = driver();
    let shape = shape(64);
    let (format, folder) = (BlockFormat::K4V4, TempDir::new().unwrap());
    let cache = cache(&folder, &shape, format);
    let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
    pass(&mut attention, &shape, (0, 256));
    attention.seal(&cache, &[7; 256]).unwrap();
    drop(attention);
    let mut kept = Kept::everything(cache.shape(), 4);
    (64..200).for_each(|token| kept.evict(1, 0, token));
    let cache = cache.thin(&kept).unwrap();
    let ask = |gpu: bool| {
        let mut attention = DenseAttention::over(&cache, &shape, CancelFlag::new()).unwrap();
        if gpu {
            let why = attention.use_gpu(&gpu_read(format, 256)).unwrap();
            assert!(why.contains("lost tokens"), "{why}");
        }
        assert!(!attention.is_on_gpu());
        pass(&mut attention, &shape, (256, 262))
    };
    assert_eq!(ask(true), ask(false));
    // One that goes on from a whole one leaves the GPU.
    let whole = cache.view().pick(std::iter::once(0..1));
    let mut attention = DenseAttention::over_view(whole, &shape, CancelFlag::new()).unwrap();
    attention.use_gpu(&gpu_read(format, 256)).unwrap();
    assert!(attention.is_on_gpu());
    attention.go_to(cache.view()).unwrap();
    assert!(!attention.is_on_gpu());
    assert_eq!(pass(&mut attention, &shape, (256, 262)), ask(false));
}
