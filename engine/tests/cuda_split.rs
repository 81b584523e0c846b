//! A model and a document over several GPUs, on the fake driver: what one GPU gives, bit for bit, and the CPU where one of
//! them fails.

#![allow(clippy::unwrap_used)]

#[path = "../cuda/tests/support/fake_driver.rs"]
#[allow(dead_code)]
mod fake_driver;
#[path = "../cuda/tests/support/noise.rs"]
#[allow(dead_code)]
mod noise;
mod small_model;

use lectern_cuda::{Burden, Spread};
use lectern_engine::attention::{CancelFlag, DenseAttention, GpuRead, PagePolicy, SparseRead};
use lectern_engine::kv::{BlockFormat, CacheIdentity, KvCache};
use lectern_engine::model::spread_of;
use lectern_models::{Logits, Model};
use small_model::LAYERS;
use small_model::desk::{Desk, desk, spread};
use std::path::Path;
use tempfile::TempDir;

/// What a plan leaves free where little is free.
const MARGIN: usize = 256 << 20;

/// Tokens of a document that is read, and of a pass at most.
const DOCUMENT: usize = 100;
const PASS: usize = 64;

fn cache(folder: &Path, model: &Model, format: BlockFormat) -> KvCache {
    let identity = CacheIdentity {
        text: [1; 32],
        model: "noise".into(),
        prompt: 0,
        format: format.number(),
        scope: 0,
    };
    KvCache::open(folder, &identity, model.shape()).unwrap()
}

/// Attention with the GPUs that have the model; on the CPU where they are not to be used, or cannot be.
fn attention(
    model: &Model,
    cache: &KvCache,
    (cached_tokens, budget): (usize, Option<usize>),
    with_gpus: bool,
) -> DenseAttention {
    let mut attention = DenseAttention::over(cache, model.shape(), CancelFlag::new()).unwrap();
    attention.look_at(budget.map(|budget| SparseRead::new(PagePolicy::Keys, budget)));
    let read = GpuRead {
        spread: spread_of(model),
        format: cache.format(),
        cached_tokens,
        window_tokens: 2 * PASS,
        pass_tokens: PASS,
    };
    if with_gpus {
        // Where they cannot, all goes on on the CPU.
        let _ = attention.use_gpu(&read);
    }
    attention
}

fn ids(range: std::ops::Range<usize>) -> Vec<u32> {
    range.map(|at| (at * at % 89 + at % 7) as u32).collect()
}

fn forward(model: &Model, attention: &mut DenseAttention, ids: &[u32], wanted: Logits) -> Vec<f32> {
    let logits = model.forward(ids, attention, wanted).unwrap();
    logits.map_or(Vec::new(), |logits| {
        logits.flatten_all().unwrap().to_vec1().unwrap()
    })
}

/// Reads a document in chunks and asks it, recorded. All that came out: logits, then masses; and the cache's file.
fn read_and_ask(model: &Model, format: BlockFormat, with_gpus: bool) -> (Vec<Vec<f32>>, Vec<u8>) {
    let folder = TempDir::new().unwrap();
    let cache = cache(folder.path(), model, format);
    let mut reader = attention(model, &cache, (DOCUMENT, None), with_gpus);
    for range in [0..PASS, PASS..DOCUMENT] {
        let ids = ids(range);
        forward(model, &mut reader, &ids, Logits::None);
        reader.seal(&cache, &ids).unwrap();
    }
    let mut again = attention(model, &cache, (DOCUMENT, None), with_gpus);
    let mut found = Vec::new();
    for asked in [&mut reader, &mut again] {
        asked.record(&[(0, 1), (LAYERS - 1, 2)]);
        found.push(forward(model, asked, &ids(300..310), Logits::All));
        asked.rewind(DOCUMENT + 4);
        found.push(forward(model, asked, &ids(312..313), Logits::Last));
        found.push(asked.take_mass());
    }
    let bytes = std::fs::read(cache.folder().join("blocks.kv")).unwrap();
    (found, bytes)
}

/// Root mean square of all differences, of numbers whose size is about 1; infinite where one is no number.
fn off(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let (mut sum, mut count) = (0.0, 0);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            sum += (found - expected).powi(2);
            count += 1;
        }
    }
    match sum.is_nan() {
        true => f32::INFINITY,
        false => (sum / count as f32).sqrt(),
    }
}

/// What processor and GPU may differ by: the one rounds activations to 8 bits.
const OFF: f32 = 0.05;

#[test]
fn several_gpus_give_the_bits_of_one() {
    let (desk, _alone) = desk();
    for format in [BlockFormat::F16, BlockFormat::K4V4] {
        let (expected, bytes) = read_and_ask(&desk.model_on(&[LAYERS]), format, true);
        assert_eq!(desk.driver.launches_on(1), 0);
        let on_cpu = Model::load(&desk.model()).unwrap();
        let off = off(&expected, &read_and_ask(&on_cpu, format, false).0);
        println!("{format:?}: one GPU and the CPU differ by {off:.1e}");
        assert!(off < OFF, "{off}");
        for ends in [&[1, LAYERS][..], &[2, 3, LAYERS]] {
            desk.driver.set_seed(ends.len() as u32);
            let model = desk.model_on(ends);
            let (found, split_bytes) = read_and_ask(&model, format, true);
            assert!(!model.is_on_cpu());
            assert!(found == expected, "{format:?} over {ends:?}: other numbers");
            assert!(
                split_bytes == bytes,
                "{format:?} over {ends:?}: another file"
            );
            assert!(desk.driver.launches_on(ends.len() - 1) > 0);
            desk.driver.reset_to(&[8 << 30; 3]);
        }
    }
}

#[test]
fn pages_are_chosen_on_several_gpus_as_on_one() {
    let (desk, _alone) = desk();
    let on_cpu = Model::load(&desk.model()).unwrap();
    let folder = TempDir::new().unwrap();
    let cache = cache(folder.path(), &on_cpu, BlockFormat::K4V4);
    let mut reader = attention(&on_cpu, &cache, (640, None), false);
    for first in (0..640).step_by(PASS) {
        let ids = ids(first..first + PASS);
        forward(&on_cpu, &mut reader, &ids, Logits::None);
        reader.seal(&cache, &ids).unwrap();
    }
    let ask = |ends: &[usize]| {
        let model = desk.model_on(ends);
        let mut asked = attention(&model, &cache, (640, Some(6 * 64)), true);
        asked.record(&[(2, 0), (3, 3)]);
        let mut found = forward(&model, &mut asked, &ids(700..705), Logits::All);
        found.extend(forward(&model, &mut asked, &ids(705..706), Logits::Last));
        found.extend(asked.take_mass());
        assert!(asked.is_on_gpu() && !model.is_on_cpu());
        found
    };
    let expected = ask(&[LAYERS]);
    assert!(desk.driver.log().contains("launch pick"));
    assert!(ask(&[3, LAYERS]) == expected);
}

/// Bytes that the model and the longest document that it reads need, on one GPU.
fn everything(desk: &Desk) -> usize {
    let mut bytes = 0;
    Model::load_to(&desk.model(), |weights| {
        let facts = Model::facts(&desk.model()).unwrap();
        let demand = lectern_engine::model::longest_document(&facts, 1.0);
        bytes = Burden::of_model(weights, demand).whole(&(0..LAYERS));
        None
    })
    .unwrap();
    bytes
}

#[test]
fn what_does_not_fit_one_gpu_is_spread_over_two() {
    let (desk, _alone) = desk();
    let needed = everything(desk);
    let load = |totals: &[usize]| {
        desk.driver.reset_to(totals);
        let model = lectern_engine::model::load(&desk.model()).unwrap();
        spread_of(&model)
    };
    assert_eq!(load(&[MARGIN + needed; 2]), Some(spread(&[LAYERS])));
    let half = load(&[MARGIN + needed - 1; 2]).unwrap();
    assert_eq!(half, spread(&[2, LAYERS]), "{half}");
    // The second alone has room for it.
    let second = load(&[MARGIN + needed - 1, MARGIN + needed]);
    assert_eq!(second, Some(Spread::on(1, LAYERS)));
    // There is not enough even for a small document beside the weights.
    assert_eq!(load(&[MARGIN + (100 << 20); 2]), None);

    // What is read there lies on both, and the person is told so.
    desk.driver.reset_to(&[MARGIN + needed - 1; 2]);
    let model = lectern_engine::model::load(&desk.model()).unwrap();
    let folder = TempDir::new().unwrap();
    let cache = cache(folder.path(), &model, BlockFormat::K4V4);
    let mut attention = DenseAttention::over(&cache, model.shape(), CancelFlag::new()).unwrap();
    let read = GpuRead {
        spread: spread_of(&model),
        format: BlockFormat::K4V4,
        cached_tokens: DOCUMENT,
        window_tokens: PASS,
        pass_tokens: PASS,
    };
    let words = attention.use_gpu(&read).unwrap();
    println!("{words}");
    assert!(
        words.contains("on 2 GPUs: 2 layers on GPU 0 (pages")
            && words.contains("2 layers on GPU 1"),
        "{words}"
    );
    // So does a document whose model is on the processor, where it is too large for one.
    drop((attention, model));
    let on_cpu = Model::load(&desk.model()).unwrap();
    let read = GpuRead {
        spread: None,
        ..read
    };
    let told = (0..128).find_map(|step| {
        desk.driver
            .reset_to(&[MARGIN + (8 << 20) - step * (64 << 10); 2]);
        let mut alone = DenseAttention::over(&cache, on_cpu.shape(), CancelFlag::new()).unwrap();
        let words = alone.use_gpu(&read).ok()?;
        words.contains("on 2 GPUs").then_some(words)
    });
    let words = told.unwrap();
    println!("{words}");
    assert!(!words.contains("stay in the computer"), "{words}");
}

#[test]
fn each_gpu_is_checked_for_itself() {
    let (desk, _alone) = desk();
    let model = desk.model_on(&[2, LAYERS]);
    let folder = TempDir::new().unwrap();
    let cache = cache(folder.path(), &model, BlockFormat::K4V4);
    let mut attention = DenseAttention::over(&cache, model.shape(), CancelFlag::new()).unwrap();
    let before = [0, 1].map(|gpu| desk.driver.launches_on(gpu));
    attention.use_gpu_if_sound(&GpuRead {
        spread: spread_of(&model),
        format: BlockFormat::K4V4,
        cached_tokens: DOCUMENT,
        window_tokens: PASS,
        pass_tokens: PASS,
    });
    assert!(attention.is_on_gpu());
    for gpu in [0, 1] {
        let launched = desk.driver.launches_on(gpu) - before[gpu];
        assert!(launched > 20, "GPU {gpu}: {launched} launches");
    }
}

/// Each allocation of either GPU in turn: less is on the GPUs then, or nothing.
#[test]
fn whatever_cannot_be_allocated_a_smaller_plan_or_the_cpu_is_found() {
    let (desk, _alone) = desk();
    let folder = TempDir::new().unwrap();
    let on_cpu = Model::load(&desk.model()).unwrap();
    let cache = cache(folder.path(), &on_cpu, BlockFormat::F16);
    let needed = everything(desk);
    let ask = |model: &Model, attention: &mut DenseAttention| {
        vec![forward(model, attention, &ids(0..3), Logits::All)]
    };
    let expected = ask(&on_cpu, &mut attention(&on_cpu, &cache, (0, None), false));
    desk.driver.reset_to(&[MARGIN + needed - 1; 2]);
    let free = [0, 1].map(|gpu| desk.driver.allocated_on(gpu).0);
    // The weights.
    let mut nth = 1;
    loop {
        desk.driver.fail_allocation(nth);
        let model = lectern_engine::model::load(&desk.model()).unwrap();
        if desk.driver.allocations() < nth {
            assert!(!model.is_on_cpu());
            break;
        }
        assert!(model.is_on_cpu(), "allocation {nth}");
        assert_eq!([0, 1].map(|gpu| desk.driver.allocated_on(gpu).0), free);
        nth += 1;
    }
    println!("{} allocations of weights", nth - 1);
    // The document, beside a model that has what a pass needs.
    desk.driver.fail_allocation(0);
    let model = lectern_engine::model::load(&desk.model()).unwrap();
    ask(&model, &mut attention(&model, &cache, (0, None), true));
    let weights = [0, 1].map(|gpu| desk.driver.allocated_on(gpu).0);
    assert!(weights.iter().all(|bytes| *bytes > 0));
    let mut nth = 1;
    loop {
        desk.driver.fail_allocation(nth);
        let mut asked = attention(&model, &cache, (0, None), true);
        let found = ask(&model, &mut asked);
        assert!(off(&found, &expected) < OFF, "allocation {nth}");
        if desk.driver.allocations() < nth {
            assert!(asked.is_on_gpu());
            break;
        }
        drop(asked);
        assert_eq!([0, 1].map(|gpu| desk.driver.allocated_on(gpu).0), weights);
        nth += 1;
    }
    println!("{} allocations of a document", nth - 1);
    assert!(nth > 40 && !model.is_on_cpu());
    drop(model);
    // What a longer pass needs.
    let ask = |model: &Model, attention: &mut DenseAttention| {
        vec![forward(model, attention, &ids(0..12), Logits::All)]
    };
    let expected = ask(&on_cpu, &mut attention(&on_cpu, &cache, (0, None), false));
    let mut nth = 1;
    loop {
        desk.driver.fail_allocation(0);
        let model = lectern_engine::model::load(&desk.model()).unwrap();
        let mut asked = attention(&model, &cache, (0, None), true);
        desk.driver.fail_allocation(nth);
        let found = ask(&model, &mut asked);
        assert!(off(&found, &expected) < OFF, "allocation {nth}");
        if desk.driver.allocations() < nth {
            assert!(!model.is_on_cpu() && asked.is_on_gpu());
            break;
        }
        assert!(model.is_on_cpu(), "allocation {nth}");
        nth += 1;
    }
    println!("{} allocations of a pass", nth - 1);
}

#[test]
fn a_gpu_that_is_lost_half_way_is_left_behind_with_the_others() {
    let (desk, _alone) = desk();
    let ends = [2, LAYERS];
    let on_cpu = Model::load(&desk.model()).unwrap();
    let (expected, _) = read_and_ask(&on_cpu, BlockFormat::F16, false);
    let launches = {
        let model = desk.model_on(&ends);
        let before = [0, 1].map(|gpu| desk.driver.launches_on(gpu));
        read_and_ask(&model, BlockFormat::F16, true);
        [0, 1].map(|gpu| desk.driver.launches_on(gpu) - before[gpu])
    };
    println!("{launches:?} launches");
    for gpu in [0, 1] {
        // The first of all, some in between, and one of the last.
        for nth in (1..=launches[gpu]).step_by(launches[gpu] as usize / 5) {
            desk.driver.reset_to(&[8 << 30; 2]);
            let model = desk.model_on(&ends);
            desk.driver.lose(gpu, nth);
            let (found, _) = read_and_ask(&model, BlockFormat::F16, true);
            assert!(model.is_on_cpu(), "GPU {gpu}, launch {nth}");
            let off = off(&found, &expected);
            assert!(off < OFF, "GPU {gpu}, launch {nth}: {off}");
        }
    }
}
