//! What is planned is what is allocated, and every refusal leads to a smaller plan or to the CPU.

#![allow(clippy::unwrap_used)]

mod support;

use lectern_cuda::{CudaError, Demand, Device, Holdings, PageFormat, Plan, Shape, Step};
use lectern_models::attention::{AttentionShape, Rotary, RotaryPairing};
use support::{driver, gpu};

/// Bytes beside the margin, which is 256 MB where little is free.
const MARGIN: usize = 256 << 20;

fn demand(
    (layers, query_heads, kv_heads, head_dim): (usize, usize, usize, usize),
    cached_tokens: usize,
    budget_pages: Option<usize>,
) -> Demand {
    let shape = AttentionShape {
        layers,
        query_heads,
        kv_heads,
        head_dim,
        softmax_scale: 0.1,
        rotary: Rotary {
            pairing: RotaryPairing::Halves,
            inverse_frequencies: vec![0.5; head_dim / 2],
        },
        key_bias: vec![None; layers],
    };
    Demand {
        shape: Shape::new(&shape).unwrap(),
        format: PageFormat::codes(4, 4).unwrap(),
        weight_bytes: 0,
        cached_tokens,
        window_tokens: 512,
        pass_tokens: 128,
        budget_pages,
    }
}

const SMALL: (usize, usize, usize, usize) = (4, 8, 2, 64);

#[test]
fn the_plan_is_what_is_allocated() {
    let gpu = gpu();
    for (heads, tokens, budget) in [
        (SMALL, 4096, None),
        (SMALL, 5000, Some(32)),
        ((2, 14, 2, 64), 20_000, Some(32)),
        ((3, 12, 2, 128), 3000, Some(16)),
        ((1, 3, 3, 64), 10, None),
    ] {
        let demand = demand(heads, tokens, budget);
        let everything = Plan::within(&demand, usize::MAX).unwrap();
        assert_eq!(everything.step, Step::Everything);
        let smallest = Plan::smallest(&demand).total();
        let mut seen = Vec::new();
        for room in
            [0, 1, 2, 3, 4].map(|part| smallest + (everything.total() - smallest) * part / 4)
        {
            let plan = Plan::within(&demand, room).unwrap();
            assert!(plan.total() <= room);
            let before = gpu.driver.allocated().0;
            let holdings = Holdings::allocate(&gpu.device, &demand, &plan).unwrap();
            let allocated = gpu.driver.allocated().0 - before;
            let off = allocated.abs_diff(plan.allocated()) as f64 / allocated as f64;
            assert!(off < 0.02, "{plan:?}: {allocated} bytes");
            drop(holdings);
            assert_eq!(gpu.driver.allocated().0, before);
            seen.push(plan.step);
        }
        println!("{heads:?}, {tokens} tokens: {seen:?}");
        assert!(Plan::within(&demand, smallest - 1).is_none());
    }
}

#[test]
fn less_memory_gives_a_smaller_plan_and_at_last_the_cpu() {
    let (driver, _alone) = driver();
    let demand = demand(SMALL, 6000, Some(16));
    let everything = Plan::within(&demand, usize::MAX).unwrap().total();
    let mut to_the_cpu = false;
    let mut steps = Vec::new();
    for room in (0..=everything + 4096).rev().step_by(everything / 23) {
        driver.reset(MARGIN + room, 0);
        let device = Device::open(0).unwrap();
        match Holdings::settle(&device, &demand) {
            Ok(holdings) => {
                assert!(!to_the_cpu && holdings.plan.total() <= room);
                steps.push(holdings.plan.step);
            }
            Err(CudaError::TooLittleMemory { free, needed }) => {
                assert!(free < needed);
                to_the_cpu = true;
            }
            Err(other) => panic!("{other}"),
        }
        assert_eq!(driver.allocated().0, 0);
    }
    assert!(to_the_cpu);
    steps.dedup();
    assert_eq!(steps, [Step::Everything, Step::HotPages, Step::Turns]);
}

#[test]
fn memory_that_others_took_meanwhile_steps_down() {
    let (driver, _alone) = driver();
    for budget in [None, Some(16)] {
        let demand = demand(SMALL, 6000, budget);
        driver.reset(4 << 30, 0);
        let device = Device::open(0).unwrap();
        let whole = Holdings::settle(&device, &demand).unwrap();
        let allocations = driver.allocations();
        let largest = whole.plan.total();
        drop(whole);
        assert!(allocations > 10);
        for nth in 1..=allocations {
            driver.fail_allocation(nth);
            let holdings = Holdings::settle(&device, &demand).unwrap();
            assert!(holdings.plan.total() < largest, "allocation {nth}");
            let held = driver.allocated().0;
            let off = held.abs_diff(holdings.plan.allocated()) as f64 / held as f64;
            assert!(off < 0.02, "allocation {nth}: {held} bytes are held");
            drop(holdings);
            assert_eq!(driver.allocated().0, 0);
        }
    }
}

/// A 7B model of 4 bits on a GPU of 8 GB, 120,000 tokens: what the person would read.
#[test]
fn a_plan_says_what_lies_where() {
    let mut demand = demand((28, 28, 4, 128), 120_000, Some(32));
    demand.weight_bytes = 4_700 << 20;
    let plan = Plan::within(&demand, Plan::room(8 << 30)).unwrap();
    assert_eq!(plan.step, Step::HotPages);
    let words = plan.to_string();
    println!("{words}");
    assert!(
        words.contains("model 4.6 GB") && words.contains("stay in the computer's memory"),
        "{words}"
    );
}
