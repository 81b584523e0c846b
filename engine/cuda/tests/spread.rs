//! Layers over several GPUs: which lie where, that each GPU gets what was planned for it, and that none uses another's
//! memory unseen.

#![allow(clippy::unwrap_used)]

mod support;

use lectern_cuda::parameters::{Norm, Rows};
use lectern_cuda::{
    Burden, CudaError, Demand, Device, GpuCache, LayerPass, PageFormat, Pages, Place, Projected,
    Room, Shape, Share, Spread, Step, rooms,
};
use lectern_models::attention::{AttentionShape, Rotary, RotaryPairing};
use std::sync::Arc;
use support::driver;

const MARGIN: usize = 256 << 20;
const GB: usize = 1 << 30;
const MB: usize = 1 << 20;

/// Of a model with so many layers; 11 MB of pages a layer.
fn demand(layers: usize) -> Demand {
    let shape = AttentionShape {
        layers,
        query_heads: 8,
        kv_heads: 2,
        head_dim: 64,
        softmax_scale: 0.1,
        rotary: Rotary {
            pairing: RotaryPairing::Halves,
            inverse_frequencies: vec![0.5; 32],
        },
        key_bias: vec![None; layers],
    };
    Demand {
        shape: Shape::new(&shape).unwrap(),
        format: PageFormat::codes(4, 4).unwrap(),
        weight_bytes: 0,
        cached_tokens: 80_000,
        window_tokens: 128,
        pass_tokens: 128,
        budget_pages: None,
    }
}

/// Weights of a GB a layer, and a head of half of that.
fn model(layers: usize) -> Burden {
    Burden {
        layer_bytes: vec![GB; layers],
        head_bytes: GB / 2,
        demand: None,
    }
}

/// What is chosen, and how many GPUs were looked at for it.
fn choose(rooms: &[usize], burden: &Burden) -> (Result<Spread, CudaError>, usize) {
    let mut asked = 0;
    let rooms = rooms.iter().enumerate().map(|(ordinal, bytes)| {
        asked += 1;
        Ok(Room {
            ordinal,
            bytes: *bytes,
        })
    });
    let chosen = Spread::choose(rooms, burden);
    (chosen, asked)
}

/// Layers by GPU.
fn counts(spread: &Spread) -> Vec<(usize, usize)> {
    let shares = spread.shares().iter();
    shares
        .map(|share| (share.ordinal, share.layers.len()))
        .collect()
}

#[test]
fn one_gpu_has_everything_wherever_it_fits() {
    let (spread, asked) = choose(&[12 * GB, 24 * GB], &model(10));
    assert_eq!((spread.unwrap(), asked), (Spread::on(0, 10), 1));
    let (spread, asked) = choose(&[8 * GB, 12 * GB, 24 * GB], &model(10));
    assert_eq!((spread.unwrap(), asked), (Spread::on(1, 10), 2));
}

#[test]
fn layers_are_spread_by_what_is_free_over_as_few_gpus_as_will_do() {
    let of = |rooms: &[usize], layers: usize| choose(rooms, &model(layers)).0.unwrap();
    // A third and two thirds.
    let spread = of(&[12 * GB, 24 * GB], 30);
    assert_eq!(counts(&spread), [(0, 10), (1, 20)]);
    assert_eq!(spread.to_string(), "10 layers on GPU 0, 20 layers on GPU 1");
    // The two that have the most room, in their order.
    assert_eq!(counts(&of(&[8 * GB, 2 * GB, 8 * GB], 12)), [(0, 6), (2, 6)]);
    // All three.
    let all = counts(&of(&[8 * GB, 4 * GB, 8 * GB], 16));
    assert_eq!(all.iter().map(|(_, layers)| layers).sum::<usize>(), 16);
    assert_eq!(all.len(), 3);
    // The head needs room where the last layer is.
    assert_eq!(counts(&of(&[5 * GB, 5 * GB], 8)), [(0, 4), (1, 4)]);
    assert!(matches!(
        choose(&[5 * GB, 4 * GB + GB / 4], &model(8)).0,
        Err(CudaError::TooLittleMemory { .. })
    ));
}

#[test]
fn a_document_that_fits_nowhere_as_a_whole_is_spread_over_all() {
    let burden = Burden {
        // 2 GB of pages.
        demand: Some(Demand {
            cached_tokens: 1_600_000,
            ..demand(10)
        }),
        ..model(10)
    };
    // Weights of ten and a half, and a small part of the pages beside.
    let room = 5 * GB + GB / 2 + 220 * MB;
    let spread = choose(&[room; 2], &burden).0.unwrap();
    assert_eq!(counts(&spread), [(0, 5), (1, 5)]);
    let plans = burden.plans(&spread, |_| Ok(room)).unwrap().unwrap();
    println!("{plans}");
    assert_eq!(plans.0[1].1.weights, 5 * GB + GB / 2);
    assert!(plans.0.iter().all(|(_, plan)| plan.step == Step::Turns));
    assert!(!plans.are_everything());
    let words = plans.to_string();
    assert!(
        words.contains("on 2 GPUs: 5 layers on GPU 0 (model 5.0 GB, pages")
            && words.contains("of the document's cache stay in the computer's memory"),
        "{words}"
    );
    // One GPU is told of as ever.
    let alone = burden.plans(&Spread::on(0, 10), |_| Ok(20 * GB)).unwrap();
    let words = alone.unwrap().to_string();
    assert!(
        words.contains("on the GPU: model 10.5 GB, pages"),
        "{words}"
    );
}

#[test]
fn gpus_that_cannot_be_used_are_left_out() {
    let (driver, _alone) = driver();
    driver.reset_to(&[MARGIN + 10 * MB, 8 * GB]);
    let burden = Burden::of(demand(4));
    let spread = Spread::choose(rooms(), &burden).unwrap();
    assert_eq!(spread, Spread::on(1, 4));
    driver.set_driver(13_000, 2, (6, 1));
    assert!(matches!(
        Spread::choose(rooms(), &burden),
        Err(CudaError::DeviceTooOld { .. })
    ));
    driver.set_driver(13_000, 0, (8, 6));
    assert!(matches!(
        Spread::choose(rooms(), &burden),
        Err(CudaError::NoDevice)
    ));
}

/// A document for which one GPU has too little memory, and two have enough: it lies on both, in as many bytes as planned.
#[test]
fn each_gpu_holds_the_bytes_that_were_planned_for_it() {
    let (driver, _alone) = driver();
    let demand = demand(6);
    let burden = Burden::of(demand.clone());
    for totals in [
        [MARGIN + burden.whole(&(0..6)) - 1; 2],
        // The second has a third of the room, and does not have to take more than two layers.
        [
            MARGIN + burden.whole(&(0..5)),
            MARGIN + burden.whole(&(0..2)),
        ],
        // Together they have too little: some pages stay elsewhere.
        [MARGIN + burden.whole(&(0..2)); 2],
    ] {
        driver.reset_to(&totals);
        let spread = Spread::choose(rooms(), &burden).unwrap();
        let room = |ordinal: usize| Ok(lectern_cuda::room(ordinal)?.bytes);
        let plans = burden.plans(&spread, room).unwrap().unwrap();
        println!("{plans}");
        assert_eq!(plans.0.len(), 2, "{spread}");
        let is_last = totals[0] == totals[1] && totals[0] < MARGIN + burden.whole(&(0..3));
        assert_eq!(plans.are_everything(), !is_last);
        for (Share { ordinal, layers }, plan) in &plans.0 {
            let device = Device::open(*ordinal).unwrap();
            let before = driver.allocated_on(*ordinal).0;
            let cache = GpuCache::new(device, demand.of_layers(layers)).unwrap();
            assert_eq!(cache.plan(), plan);
            let allocated = driver.allocated_on(*ordinal).0 - before;
            let off = allocated.abs_diff(plan.allocated()) as f64 / allocated as f64;
            assert!(off < 0.02, "GPU {ordinal}, {plan:?}: {allocated} bytes");
        }
    }
}

struct Nothing;

impl Pages for Nothing {
    fn part(&self, _layer: usize, _page: usize) -> (PageFormat, &[u8]) {
        (PageFormat::HALVES, &[])
    }
}

/// What a part that took another GPU's memory for its own would do.
#[test]
fn another_gpus_memory_is_not_used_unseen() {
    let (driver, _alone) = driver();
    if !driver.is_fake() {
        return;
    }
    driver.reset_to(&[8 * GB; 2]);
    let [first, second] = [0, 1].map(|ordinal| Arc::new(Device::open(ordinal).unwrap()));
    let of_first = first.upload(&[1.0f32; 128]).unwrap();
    let of_second = second.upload(&[1.0f32; 128]).unwrap();
    let norm = |from, weights, to| Norm {
        numbers: first.address(from),
        weights: first.address(weights),
        to: Rows {
            plain: first.address(to),
            halves: 0,
            scales: 0,
        },
        columns: 128,
        epsilon: 1e-6,
    };
    // SAFETY: the fake driver sees what is wrong with it.
    let run = |device: &Device, norm: &Norm| unsafe { device.norm_rows(1, norm) };
    run(&first, &norm(&of_first, &of_first, &of_first)).unwrap();
    run(&second, &norm(&of_second, &of_second, &of_second)).unwrap();
    for norm in [
        norm(&of_second, &of_first, &of_first),
        norm(&of_first, &of_second, &of_first),
        norm(&of_first, &of_first, &of_second),
    ] {
        let refused = run(&first, &norm);
        assert!(matches!(refused, Err(CudaError::Driver { .. })));
        let words = driver.last_failure();
        assert!(words.contains("touched another device's memory"), "{words}");
    }
    assert!(second.download(&of_first, 128).is_err());
    assert!(first.write(&[1.0], &mut { of_second }, 0).is_err());

    // A layer's projections, where they lie on the wrong GPU.
    let demand = demand(1);
    let mut cache = GpuCache::new(Arc::clone(&first), demand).unwrap();
    cache.open(0, &Nothing).unwrap();
    let mut attend = |device: &Arc<Device>| {
        let rows = device.upload(&[0.5f32; 8 * 64]).unwrap();
        let at = device.address(&rows);
        let place = Place {
            device: Arc::clone(device),
            queries: at,
            keys: at,
            values: at,
            attended: at,
        };
        let pass = LayerPass {
            layer: 0,
            start: 0,
            tokens: 1,
            projected: Projected::There(&place),
            chooses: false,
            recorded: &[],
            recorded_tokens: 0,
        };
        cache.attend(&pass, &Nothing).map(|_| ())
    };
    attend(&first).unwrap();
    assert!(attend(&second).is_err());
}
