//! A document on the GPU under every plan: the same answers whatever fits, and none that are stale.

#![allow(clippy::unwrap_used)]

mod support;

use lectern_cuda::{
    Demand, Device, GpuCache, LayerPass, LayerResult, PAGE_TOKENS, PageFormat, Pages, Place, Plan,
    Projected, Shape, Step,
};
use lectern_engine::kv::BlockFormat;
use support::driver;
use support::fake_driver::{FakeDriver, Late};
use support::reference::{attend, relative_error};
use support::scene::{HEADS, Scene, page_format};

/// The margin that a plan leaves where little is free.
const MARGIN: usize = 256 << 20;

impl Pages for Scene {
    fn part(&self, layer: usize, page: usize) -> (PageFormat, &[u8]) {
        assert_eq!(layer, 0);
        let (format, bytes) = &self.parts[page];
        (page_format(*format), bytes)
    }
}

fn demand(scene: &Scene, cached: usize, budget_pages: Option<usize>) -> Demand {
    Demand {
        shape: Shape::new(&scene.shape).unwrap(),
        format: PageFormat::codes(4, 4).unwrap(),
        weight_bytes: 0,
        cached_tokens: cached,
        window_tokens: scene.tokens - cached,
        pass_tokens: scene.tokens - cached,
        budget_pages,
    }
}

/// A GPU on which just this step fits.
fn cache_on(driver: &FakeDriver, demand: &Demand, step: Step) -> GpuCache {
    let largest = Plan::within(demand, usize::MAX).unwrap().total();
    let smallest = Plan::smallest(demand).total();
    // Everything, or as little as the step can do with.
    let plan = (smallest..=largest + 512)
        .step_by(512)
        .filter_map(|room| Plan::within(demand, room))
        .find(|plan| plan.step == step)
        .unwrap();
    assert_eq!(plan.step, step);
    driver.reset(MARGIN + plan.total() + 512, 0);
    let cache = GpuCache::new(Device::open(0).unwrap(), demand.clone()).unwrap();
    // A real GPU has room for everything.
    assert!(cache.plan().step == step || !driver.is_fake());
    cache
}

fn pass(
    cache: &mut GpuCache,
    scene: &Scene,
    (first, last): (usize, usize),
    chooses: bool,
    recorded: &[usize],
) -> LayerResult {
    let kv = scene.kv.kv_heads * scene.kv.head_dim;
    let row = scene.shape.query_heads * scene.shape.head_dim;
    let pass = LayerPass {
        layer: 0,
        start: first,
        tokens: last - first,
        projected: Projected::Here {
            queries: &scene.queries[first * row..last * row],
            keys: &scene.given_keys[first * kv..last * kv],
            values: &scene.given_values[first * kv..last * kv],
        },
        chooses,
        recorded,
        // Also tokens of the pass before this one would count, but none of this one.
        recorded_tokens: first,
    };
    cache.attend(&pass, scene).unwrap()
}

fn check(scene: &Scene, found: &[f32], (first, last): (usize, usize), what: &str) {
    let d = scene.shape.head_dim;
    for token in 0..last - first {
        for head in 0..scene.shape.query_heads {
            let expected = attend(scene, first, token, head, |_| true);
            let row = (token * scene.shape.query_heads + head) * d;
            let error = relative_error(&found[row..row + d], &expected.values);
            assert!(error <= 1e-5, "{what}, token {token}, head {head}: {error}");
        }
    }
}

/// So many pages, and a question of some tokens behind them.
fn scene(nth: usize, pages: usize, question: usize) -> (Scene, usize) {
    let cached = pages * PAGE_TOKENS;
    let scene = Scene::new(
        HEADS[nth],
        BlockFormat::K4V4,
        cached + question,
        900 + nth as u64,
    );
    (scene, cached)
}

#[test]
fn attention_to_everything_is_the_same_under_every_plan() {
    let (driver, _alone) = driver();
    for (nth, question) in [(0, 5), (0, 18)] {
        let (scene, cached) = scene(nth, 12, question);
        let range = (cached, scene.tokens);
        // A budget makes room for fewer pages than a layer has, although all are attended to here.
        let demand = demand(&scene, cached, Some(2));
        let recorded = [0, scene.shape.query_heads - 1];
        let mut masses: Vec<Vec<f32>> = Vec::new();
        for step in [Step::Everything, Step::HotPages, Step::Turns] {
            let mut cache = cache_on(driver, &demand, step);
            cache.open(cached, &scene).unwrap();
            for order in [1, 20_251] {
                driver.set_seed(order);
                let mut result = pass(&mut cache, &scene, range, false, &recorded);
                check(&scene, &result.attended, range, &format!("{step:?}"));
                masses.push(std::mem::take(&mut result.masses));
            }
        }
        for mass in &masses {
            assert_eq!(mass.len(), question * cached);
            // Both heads pay the rest to the question itself.
            assert!(mass.iter().sum::<f32>() > question as f32);
            for (mass, first) in mass.iter().zip(&masses[0]) {
                assert!((mass - first).abs() < 1e-5);
            }
        }
    }
}

/// Chunks of many tokens, in runs of pages that come while the run before is attended to; then single tokens, in turns.
#[test]
fn pages_that_are_fetched_ahead_are_there_when_they_are_needed() {
    let (driver, _alone) = driver();
    let (scene, cached) = scene(0, 12, 40);
    let demand = demand(&scene, cached, Some(2));
    let mut found: Vec<Vec<f32>> = Vec::new();
    for step in [Step::Everything, Step::HotPages, Step::Turns] {
        let mut cache = cache_on(driver, &demand, step);
        if step == Step::Turns && driver.is_fake() {
            assert!(cache.plan().slots < 12, "nothing would have to make room");
        }
        for late in [Late::None, Late::Default, Late::Others] {
            driver.set_late(late);
            cache.open(cached, &scene).unwrap();
            let range = (cached, scene.tokens);
            let all = pass(&mut cache, &scene, range, false, &[]).attended;
            check(&scene, &all, range, &format!("{step:?}, {late:?}"));
            let last = (scene.tokens - 1, scene.tokens);
            let one = pass(&mut cache, &scene, last, false, &[]).attended;
            check(
                &scene,
                &one,
                last,
                &format!("one token, {step:?}, {late:?}"),
            );
            if let Some(before) = found.last().filter(|_| late != Late::None) {
                assert!(
                    *before == all,
                    "{step:?}, {late:?}: other bits than at once"
                );
            }
            found.push(all);
        }
        // What would be seen if one line of work did not wait for the other.
        for late in [Late::Default, Late::Others] {
            if step == Step::Everything || !driver.is_fake() {
                continue;
            }
            driver.set_late(late);
            driver.set_deaf(true);
            cache.open(cached, &scene).unwrap();
            let all = pass(&mut cache, &scene, (cached, scene.tokens), false, &[]).attended;
            assert!(
                found.last() != Some(&all),
                "{step:?}, {late:?}: no wait was needed"
            );
            driver.set_deaf(false);
        }
        driver.set_late(Late::None);
    }
}

/// Memory is there in its turn only: what is fetched into it waits for that.
#[test]
fn nothing_is_fetched_into_memory_that_is_not_there_yet() {
    let (driver, _alone) = driver();
    let (scene, cached) = scene(0, 6, 2);
    let demand = demand(&scene, cached, None);
    for deaf in [false, true] {
        if deaf && !driver.is_fake() {
            continue;
        }
        driver.reset(8 << 30, 0);
        let device = Device::open(0).unwrap();
        driver.set_late(Late::Default);
        driver.set_deaf(deaf);
        let mut cache = GpuCache::new(device, demand.clone()).unwrap();
        cache.open(cached, &scene).unwrap();
        let range = (cached, scene.tokens);
        let found = pass(&mut cache, &scene, range, false, &[]).attended;
        match deaf {
            false => check(&scene, &found, range, "memory in its turn"),
            true => assert!(
                found.iter().any(|number| number.is_nan()),
                "no wait was needed"
            ),
        }
        driver.set_deaf(false);
        driver.set_late(Late::None);
    }
}

#[test]
fn chosen_pages_give_the_same_bits_whether_they_were_there_or_had_to_be_brought() {
    let (driver, _alone) = driver();
    for (nth, question) in [(0, 18), (4, 6)] {
        let (scene, cached) = scene(nth, 22, question);
        let demand = demand(&scene, cached, Some(6));
        let mut found: Vec<Vec<f32>> = Vec::new();
        for step in [Step::Everything, Step::HotPages] {
            let mut cache = cache_on(driver, &demand, step);
            cache.open(cached, &scene).unwrap();
            let gathered = |driver: &FakeDriver| driver.log().matches("launch gather").count();
            let before = gathered(driver);
            // All at once, and again token by token: pages come and go.
            found.push(pass(&mut cache, &scene, (cached, scene.tokens), true, &[]).attended);
            let after_one = gathered(driver);
            let single: Vec<f32> = (cached..scene.tokens)
                .flat_map(|token| pass(&mut cache, &scene, (token, token + 1), true, &[]).attended)
                .collect();
            found.push(single);
            if driver.is_fake() {
                assert!(after_one > before);
            }
            if step == Step::HotPages && driver.is_fake() {
                assert!(gathered(driver) > after_one, "pages had to come again");
            }
        }
        for other in &found[1..] {
            assert!(other == &found[0], "{:?}", HEADS[nth]);
        }
    }
}

#[test]
fn a_document_that_is_read_is_sealed_where_it_lies() {
    let (driver, _alone) = driver();
    let scene = Scene::new(HEADS[2], BlockFormat::K4V4, 300, 77);
    let mut demand = demand(&scene, 0, None);
    demand.pass_tokens = 128;
    let mut cache = cache_on(driver, &demand, Step::Everything);
    cache.open(0, &scene).unwrap();
    for range in [(0, 128), (128, 256), (256, 300)] {
        driver.set_seed(range.0 as u32);
        let found = pass(&mut cache, &scene, range, false, &[]).attended;
        // Within its own chunk a token sees halves, not yet codes.
        let d = scene.shape.head_dim;
        if range.0 == 256 {
            check(&scene, &found, range, "after sealing");
        }
        assert_eq!(
            found.len(),
            (range.1 - range.0) * scene.shape.query_heads * d
        );
        cache.seal(range.1).unwrap();
    }
    if driver.is_fake() {
        assert_eq!(driver.log().matches("launch quantize").count(), 3);
    }
    assert!(
        !driver.log().contains("launch gather"),
        "nothing came back from the file"
    );
}

#[test]
fn numbers_that_lie_on_the_device_give_what_those_of_the_host_give() {
    let (driver, _alone) = driver();
    let scene = Scene::new(HEADS[1], BlockFormat::K4V4, 300, 78);
    let mut demand = demand(&scene, 200, None);
    demand.pass_tokens = 64;
    let kv = scene.kv.kv_heads * scene.kv.head_dim;
    let row = scene.shape.query_heads * scene.shape.head_dim;
    for (first, last) in [(192, 250), (192, 193)] {
        let mut cache = cache_on(driver, &demand, Step::Everything);
        cache.open(192, &scene).unwrap();
        let expected = pass(&mut cache, &scene, (first, last), false, &[]).attended;
        drop(cache);
        driver.reset(8 << 30, 0);
        let device = std::sync::Arc::new(Device::open(0).unwrap());
        let mut cache = GpuCache::new(std::sync::Arc::clone(&device), demand.clone()).unwrap();
        cache.open(192, &scene).unwrap();
        let tokens = last - first;
        let on_device = [
            device
                .upload(&scene.queries[first * row..last * row])
                .unwrap(),
            device
                .upload(&scene.given_keys[first * kv..last * kv])
                .unwrap(),
            device
                .upload(&scene.given_values[first * kv..last * kv])
                .unwrap(),
            device.allocate(tokens * row).unwrap(),
        ];
        let [queries, keys, values, attended] = on_device.each_ref().map(|b| device.address(b));
        let place = Place {
            device: std::sync::Arc::clone(&device),
            queries,
            keys,
            values,
            attended,
        };
        let layer = LayerPass {
            layer: 0,
            start: first,
            tokens,
            projected: Projected::There(&place),
            chooses: false,
            recorded: &[],
            recorded_tokens: 0,
        };
        let result = cache.attend(&layer, &scene).unwrap();
        assert!(result.attended.is_empty());
        let found = device.download(&on_device[3], tokens * row).unwrap();
        assert!(found == expected, "{tokens} tokens");
        let kept = cache.kept(tokens).unwrap();
        assert!(kept[..tokens * kv] == scene.given_keys[first * kv..last * kv]);
        assert!(kept[tokens * kv..2 * tokens * kv] == scene.given_values[first * kv..last * kv]);
    }
}
