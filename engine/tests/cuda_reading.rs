//! Reading on a GPU, on the fake driver: in longer chunks than the processor's, mended by the same, and soon stopped.

#![allow(clippy::unwrap_used)]

#[path = "../cuda/tests/support/fake_driver.rs"]
#[allow(dead_code)]
mod fake_driver;
#[allow(dead_code)]
mod lesson;
#[path = "../cuda/tests/support/noise.rs"]
#[allow(dead_code)]
mod noise;
mod small_model;

use fake_driver::{FakeDriver, Late};
use lectern_engine::attention::{CancelFlag, DenseAttention, GpuRead};
use lectern_engine::kv::{BlockFormat, KvCache};
use lectern_engine::model::spread_of;
use lectern_engine::reading::{
    CHUNK_TOKENS, Followers, GPU_CHUNK_TOKENS, ReadingInput, Wanted, mend, read,
};
use lectern_models::{Attention, AttentionError, Logits, Model, Projected, Token};
use small_model::LAYERS;
use small_model::desk::desk;
use std::any::Any;
use std::cell::Cell;
use std::path::Path;
use tempfile::TempDir;

fn input(model: &Model, tokens: usize) -> ReadingInput {
    let token = |at: usize| Token {
        id: (at * at % 89 + at % 7) as u32,
        start: at as u32,
    };
    let tokens = (0..tokens).map(token).collect();
    lesson::of(model, vec![1, 2, 3], tokens, BlockFormat::K4V4.number())
}

fn open(folder: &Path, input: &ReadingInput, model: &Model) -> KvCache {
    KvCache::open(folder, &input.identity, model.shape()).unwrap()
}

fn bytes(folder: &TempDir) -> Vec<u8> {
    std::fs::read(folder.path().join("blocks.kv")).unwrap()
}

/// Blocks of the passes that filled a cache.
fn passes(cache: &KvCache) -> Vec<usize> {
    let view = cache.view();
    let mut passes: Vec<_> = (0..view.blocks()).map(|block| view.pass(block)).collect();
    passes.dedup();
    passes.into_iter().map(|pass| pass.len()).collect()
}

#[test]
fn a_gpu_reads_more_at_a_time_and_mends_what_it_read() {
    let (desk, _alone) = desk();
    let model = desk.model_on(&[LAYERS]);
    let input = input(&model, GPU_CHUNK_TOKENS + 200);
    let whole = TempDir::new().unwrap();
    let cache = open(whole.path(), &input, &model);
    let cancel = CancelFlag::new();
    read(&model, &input, &cache, Followers::none(&cancel)).unwrap();
    assert_eq!(passes(&cache), [8, 4]);
    drop(cache);

    // A flipped bit in the first chunk: the GPU computes the same bytes again, and nothing behind them is read again.
    let mended = TempDir::new().unwrap();
    let mut damaged = bytes(&whole);
    let place = damaged.len() / 3;
    damaged[place] ^= 1;
    {
        let cache = open(mended.path(), &input, &model);
        drop(cache);
        std::fs::write(mended.path().join("blocks.kv"), &damaged).unwrap();
    }
    let cache = open(mended.path(), &input, &model);
    assert_eq!(
        mend(&model, &input, &cache, &cancel).unwrap(),
        GPU_CHUNK_TOKENS
    );
    assert_eq!(cache.view().damaged(), [0; 0]);
    drop(cache);
    assert!(bytes(&mended) == bytes(&whole));

    // Stopped, and gone on: the same bytes again.
    let stopped = TempDir::new().unwrap();
    let cache = open(stopped.path(), &input, &model);
    let stop = CancelFlag::new();
    let followers = Followers {
        along: &|_| stop.cancel(),
        ..Followers::none(&stop)
    };
    assert!(read(&model, &input, &cache, followers).is_err());
    assert_eq!(passes(&cache), [8]);
    read(&model, &input, &cache, Followers::none(&cancel)).unwrap();
    drop(cache);
    assert!(bytes(&stopped) == bytes(&whole));

    // Given up for somebody who never goes away, and computed again: the same bytes.
    let given_way = TempDir::new().unwrap();
    let cache = open(given_way.path(), &input, &model);
    let wanted = Wanted::new();
    wanted.set(true);
    let begun = Cell::new(0);
    let followers = Followers {
        behind: Some(&wanted),
        yield_point: &|| begun.set(begun.get() + 1),
        ..Followers::none(&cancel)
    };
    read(&model, &input, &cache, followers).unwrap();
    assert_eq!((begun.get(), passes(&cache)), (6, vec![8, 4]));
    drop(cache);
    assert!(bytes(&given_way) == bytes(&whole));

    // The processor read a chunk of its own before: the GPU goes on behind it.
    let both = TempDir::new().unwrap();
    let cache = open(both.path(), &input, &model);
    let ids = &input.ids()[..CHUNK_TOKENS];
    let mut attention = DenseAttention::over(&cache, model.shape(), CancelFlag::new()).unwrap();
    model.forward(ids, &mut attention, Logits::None).unwrap();
    attention.seal(&cache, ids).unwrap();
    drop(attention);
    read(&model, &input, &cache, Followers::none(&cancel)).unwrap();
    assert_eq!(passes(&cache), [4, 4, 4]);
}

/// Looks, whenever it is asked whether to stop, how much the GPU has still to do.
struct Watched<'d> {
    attention: DenseAttention,
    driver: &'d FakeDriver,
    waiting: Cell<Vec<usize>>,
}

impl Attention for Watched<'_> {
    fn attend(
        &mut self,
        layer: usize,
        projected: &Projected,
        attended: &mut Vec<f32>,
    ) -> Result<(), AttentionError> {
        self.attention.attend(layer, projected, attended)
    }

    fn attend_at(
        &mut self,
        layer: usize,
        tokens: usize,
        place: &dyn Any,
    ) -> Result<bool, AttentionError> {
        self.attention.attend_at(layer, tokens, place)
    }

    fn is_cancelled(&self) -> bool {
        let mut waiting = self.waiting.take();
        waiting.push(self.driver.waiting());
        self.waiting.set(waiting);
        false
    }
}

#[test]
fn a_pass_is_asked_for_one_layer_ahead_so_it_can_be_stopped() {
    let (desk, _alone) = desk();
    let model = desk.model_on(&[LAYERS]);
    let input = input(&model, 64);
    let folder = TempDir::new().unwrap();
    let cache = open(folder.path(), &input, &model);
    let mut attention = DenseAttention::over(&cache, model.shape(), CancelFlag::new()).unwrap();
    let read = GpuRead {
        spread: spread_of(&model),
        format: cache.format(),
        cached_tokens: 64,
        window_tokens: 64,
        pass_tokens: 64,
    };
    attention.use_gpu(&read).unwrap();
    let mut watched = Watched {
        attention,
        driver: &desk.driver,
        waiting: Cell::default(),
    };
    desk.driver.set_late(Late::Default);
    let ids = &input.ids()[..64];
    model.forward(ids, &mut watched, Logits::None).unwrap();
    desk.driver.set_late(Late::None);
    assert!(watched.attention.is_on_gpu());
    let waiting = watched.waiting.take();
    println!("pieces of work that wait before each layer: {waiting:?}");
    // A layer's first products and attention, then those behind the rest of the layer before: no more with every layer.
    assert!(waiting.len() > 2 && waiting[0] > 5, "{waiting:?}");
    assert!(
        waiting[2..].iter().all(|waits| *waits <= waiting[1]),
        "{waiting:?}"
    );
}
