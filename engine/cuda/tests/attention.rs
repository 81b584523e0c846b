//! Attention's kernels on the CPU against F64: decode with merge, prefill, mass; odd shapes, all formats, thread orders.

#![allow(clippy::unwrap_used)]

mod support;

use lectern_cuda::parameters::{Chosen, Decode, Mass, Merge, Prefill, Unpack};
use lectern_cuda::{Buffer, PAGE_TOKENS};
use lectern_engine::kv::BlockFormat;
use support::reference::{Attended, attend, relative_error};
use support::scene::{HEADS, OnDevice, Rows, Scene};
use support::{Gpu, ORDERS, gpu};

/// What may differ from F64, by the largest number of a row.
const BOUND: f64 = 1e-5;

const FORMATS: [BlockFormat; 4] = [
    BlockFormat::K4V4,
    BlockFormat::K8V4,
    BlockFormat::K8V8,
    BlockFormat::F16,
];

/// What a pass leaves on the device.
struct Passed {
    attended: Buffer<f32>,
    largest: Buffer<f32>,
    sums: Buffer<f32>,
}

/// Decodes `tokens` tokens from position `start` on, over `splits` shares.
fn decode(
    gpu: &Gpu,
    scene: &Scene,
    on: &OnDevice,
    rows: &Rows,
    tokens: usize,
    splits: usize,
    chosen: Chosen,
) -> Passed {
    let device = &gpu.device;
    let heads = tokens * scene.shape.query_heads;
    let values = device
        .allocate::<f32>(heads * splits * scene.shape.head_dim)
        .unwrap();
    let largest = device.allocate::<f32>(heads * splits).unwrap();
    let sums = device.allocate::<f32>(heads * splits).unwrap();
    let decode = Decode {
        queries: rows.queries(),
        rotation: on.rotation(gpu),
        chosen,
        pages: device.address(&on.pages),
        bias: device.address(&on.bias),
        values: device.address(&values),
        largest: device.address(&largest),
        sums: device.address(&sums),
        splits: splits as i32,
        first_split: 0,
        first_row: 0,
    };
    // SAFETY: the buffers above are as large as the kernel says, and live until the work is done.
    unsafe { device.decode(&on.shape, tokens, splits, &decode) }
        .unwrap_or_else(|error| panic!("{error}: {}", gpu.driver.last_failure()));
    let passed = Passed {
        attended: device.allocate(heads * scene.shape.head_dim).unwrap(),
        largest: device.allocate(heads).unwrap(),
        sums: device.allocate(heads).unwrap(),
    };
    let merge = Merge {
        values: decode.values,
        largest: decode.largest,
        sums: decode.sums,
        attended: device.address(&passed.attended),
        row_largest: device.address(&passed.largest),
        row_sums: device.address(&passed.sums),
        splits: splits as i32,
        head_dim: scene.shape.head_dim as i32,
    };
    // SAFETY: as above.
    unsafe { device.merge(&on.shape, tokens, &merge) }
        .unwrap_or_else(|error| panic!("{error}: {}", gpu.driver.last_failure()));
    device.finish().unwrap();
    passed
}

/// Compares all rows of a pass with F64.
fn check(
    gpu: &Gpu,
    scene: &Scene,
    passed: &Passed,
    (start, tokens): (usize, usize),
    what: &str,
    looks_at: impl Fn(usize, usize, usize) -> bool,
) -> f64 {
    let d = scene.shape.head_dim;
    let heads = scene.shape.query_heads;
    let attended = gpu
        .device
        .download(&passed.attended, tokens * heads * d)
        .unwrap();
    let largest = gpu
        .device
        .download(&passed.largest, tokens * heads)
        .unwrap();
    let sums = gpu.device.download(&passed.sums, tokens * heads).unwrap();
    let mut worst = 0.0f64;
    for token in 0..tokens {
        for head in 0..heads {
            let expected = attend(scene, start, token, head, |position| {
                looks_at(token, head / scene.shape.group_size(), position)
            });
            let row = token * heads + head;
            let error = relative_error(&attended[row * d..(row + 1) * d], &expected.values);
            assert!(
                error <= BOUND,
                "{what}, token {token}, head {head}: {error}"
            );
            worst = worst.max(error);
            // Largest score and sum belong together: what counts is their product.
            let sum = f64::from(sums[row]) * (f64::from(largest[row]) - expected.largest).exp2();
            assert!(
                (sum / expected.sum - 1.0).abs() <= 2e-5,
                "{what}: sum {sum}"
            );
        }
    }
    worst
}

#[test]
fn decode_equals_plain_attention() {
    let gpu = gpu();
    let mut worst = 0.0f64;
    let mut nth = 0;
    for heads in HEADS {
        for format in FORMATS {
            // One page; its edges; several pages with more splits than pages, and fewer.
            for (tokens, pass, splits) in
                [(1, 1, 1), (64, 1, 3), (65, 2, 2), (200, 3, 9), (330, 1, 2)]
            {
                let scene = Scene::new(heads, format, tokens, 7 + nth);
                let on = OnDevice::new(&gpu, &scene);
                let start = tokens - pass;
                let rows = Rows::new(&gpu, &scene, &on, start, pass);
                gpu.driver
                    .set_seed(ORDERS[nth as usize % ORDERS.len()] + nth as u32 / 4);
                nth += 1;
                let passed = decode(&gpu, &scene, &on, &rows, pass, splits, Chosen::ALL);
                let what = format!("{heads:?}, {format:?}, {tokens} tokens in {splits} splits");
                worst = worst.max(check(
                    &gpu,
                    &scene,
                    &passed,
                    (start, pass),
                    &what,
                    |_, _, _| true,
                ));
            }
        }
    }
    println!("decode: largest relative error {worst:.2e} in {nth} cases");
}

#[test]
fn decode_looks_at_chosen_pages_and_at_the_open_ones_only() {
    let gpu = gpu();
    for (nth, heads) in HEADS.into_iter().enumerate() {
        let tokens = 64 * 9 + 30;
        let scene = Scene::new(heads, BlockFormat::K4V4, tokens, 90 + nth as u64);
        let on = OnDevice::new(&gpu, &scene);
        // Seven pages are sealed; two and a part are question and answer.
        let (sealed, pass, room) = (7, 2, 4);
        let start = tokens - pass;
        let list = |token: usize, kv_head: usize| -> Vec<i32> {
            [vec![0, 3, 5], vec![1], vec![0, 2, 4, 6]][(token + kv_head) % 3].clone()
        };
        let lists: Vec<Vec<i32>> = (0..pass)
            .flat_map(|token| (0..scene.shape.kv_heads).map(move |head| list(token, head)))
            .collect();
        let padded: Vec<i32> = lists
            .iter()
            .flat_map(|list| (0..room).map(|at| list.get(at).copied().unwrap_or(i32::MAX)))
            .collect();
        let counts: Vec<i32> = lists.iter().map(|list| list.len() as i32).collect();
        let (pages, counts) = (
            gpu.device.upload(&padded).unwrap(),
            gpu.device.upload(&counts).unwrap(),
        );
        let chosen = Chosen {
            pages: gpu.device.address(&pages),
            counts: gpu.device.address(&counts),
            room: room as i32,
            sealed,
        };
        let rows = Rows::new(&gpu, &scene, &on, start, pass);
        for order in ORDERS {
            gpu.driver.set_seed(order);
            let passed = decode(&gpu, &scene, &on, &rows, pass, 3, chosen);
            check(
                &gpu,
                &scene,
                &passed,
                (start, pass),
                &format!("{heads:?}"),
                |token, head, position| {
                    let page = (position / PAGE_TOKENS) as i32;
                    page >= sealed || list(token, head).contains(&page)
                },
            );
        }
    }
}

/// A pass over all of `scene`'s tokens from `start` on.
fn prefill(
    gpu: &Gpu,
    scene: &Scene,
    on: &OnDevice,
    rows: &Rows,
    tokens: usize,
    splits: usize,
) -> Passed {
    let device = &gpu.device;
    let heads = tokens * scene.shape.query_heads;
    let values = device
        .allocate::<f32>(heads * splits * scene.shape.head_dim)
        .unwrap();
    let largest = device.allocate::<f32>(heads * splits).unwrap();
    let sums = device.allocate::<f32>(heads * splits).unwrap();
    let passed = Passed {
        attended: device.allocate(heads * scene.shape.head_dim).unwrap(),
        largest: device.allocate(heads).unwrap(),
        sums: device.allocate(heads).unwrap(),
    };
    // Two pages at a time, so that a later run goes on with an earlier one.
    const RUN: usize = 2;
    let kv_heads = scene.shape.kv_heads;
    let unpacked = device
        .allocate::<u32>(RUN * kv_heads * 2 * PAGE_TOKENS * scene.shape.head_dim)
        .unwrap();
    let end = rows.queries().start as usize + tokens;
    let pages = end.div_ceil(PAGE_TOKENS);
    for first in (0..pages).step_by(RUN) {
        let unpack = Unpack {
            rotation: on.rotation(gpu),
            pages: device.address(&on.pages),
            bias: device.address(&on.bias),
            to: device.address(&unpacked),
            kv_heads: kv_heads as i32,
            first_page: first as i32,
            end: end as i32,
        };
        let prefill = Prefill {
            queries: rows.queries(),
            rotation: unpack.rotation,
            unpacked: unpack.to,
            values: device.address(&values),
            largest: device.address(&largest),
            sums: device.address(&sums),
            tokens: tokens as i32,
            first_page: first as i32,
            pages: RUN.min(pages - first) as i32,
            goes_on: i32::from(first > 0),
        };
        // SAFETY: the buffers above are as large as the kernels say, and live until the work is done.
        unsafe {
            device
                .unpack(&on.shape, RUN.min(pages - first), &unpack)
                .and_then(|()| device.prefill(&on.shape, splits, &prefill))
        }
        .unwrap_or_else(|error| panic!("{error}: {}", gpu.driver.last_failure()));
    }
    let merge = Merge {
        values: device.address(&values),
        largest: device.address(&largest),
        sums: device.address(&sums),
        attended: device.address(&passed.attended),
        row_largest: device.address(&passed.largest),
        row_sums: device.address(&passed.sums),
        splits: splits as i32,
        head_dim: scene.shape.head_dim as i32,
    };
    // SAFETY: as above.
    unsafe { device.merge(&on.shape, tokens, &merge) }.unwrap();
    device.finish().unwrap();
    passed
}

#[test]
fn prefill_equals_plain_attention() {
    let gpu = gpu();
    let mut worst = 0.0f64;
    let mut nth = 0;
    for heads in HEADS {
        for (format, tokens, pass, splits) in [
            (BlockFormat::K4V4, 70, 70, 1),
            (BlockFormat::K8V4, 150, 23, 2),
            (BlockFormat::F16, 129, 65, 1),
            (BlockFormat::K8V8, 200, 1, 3),
        ] {
            let scene = Scene::new(heads, format, tokens, 300 + nth);
            let on = OnDevice::new(&gpu, &scene);
            let start = tokens - pass;
            let rows = Rows::new(&gpu, &scene, &on, start, pass);
            gpu.driver
                .set_seed(ORDERS[nth as usize % ORDERS.len()] + nth as u32 / 4);
            nth += 1;
            let passed = prefill(&gpu, &scene, &on, &rows, pass, splits);
            let what =
                format!("{heads:?}, {format:?}, {pass} of {tokens} tokens in {splits} splits");
            worst = worst.max(check(
                &gpu,
                &scene,
                &passed,
                (start, pass),
                &what,
                |_, _, _| true,
            ));
        }
    }
    println!("prefill: largest relative error {worst:.2e} in {nth} cases");
}

#[test]
fn mass_is_the_sum_of_probabilities_of_recorded_heads() {
    let gpu = gpu();
    for (nth, heads) in HEADS.into_iter().enumerate() {
        let (tokens, pass) = (64 * 3 + 9, 3);
        let scene = Scene::new(heads, BlockFormat::K4V4, tokens, 500 + nth as u64);
        let on = OnDevice::new(&gpu, &scene);
        let start = tokens - pass;
        let rows = Rows::new(&gpu, &scene, &on, start, pass);
        gpu.driver.set_seed(ORDERS[nth % ORDERS.len()]);
        let passed = decode(&gpu, &scene, &on, &rows, pass, 2, Chosen::ALL);
        let device = &gpu.device;
        // Tokens of the pass itself are not counted.
        let room = start;
        let masses = device.upload(&vec![0.0f32; pass * room]).unwrap();
        let group = scene.shape.group_size();
        let recorded = |head: usize| head % 3 != 1;
        for kv_head in 0..scene.shape.kv_heads {
            for first_row in (0..group).step_by(lectern_cuda::SLICE_ROWS) {
                let rows_here = (group - first_row).min(lectern_cuda::SLICE_ROWS);
                let bits = (0..rows_here)
                    .filter(|row| recorded(kv_head * group + first_row + row))
                    .fold(0, |bits, row| bits | 1 << row);
                let mass = Mass {
                    queries: rows.queries(),
                    rotation: on.rotation(&gpu),
                    chosen: Chosen::ALL,
                    pages: device.address(&on.pages),
                    bias: device.address(&on.bias),
                    row_largest: device.address(&passed.largest),
                    row_sums: device.address(&passed.sums),
                    masses: device.address(&masses),
                    room: room as i32,
                    kv_head: kv_head as i32,
                    first_row: first_row as i32,
                    recorded: bits,
                };
                // SAFETY: the buffers above are as large as the kernel says, and live until the work is done.
                unsafe { device.mass(&on.shape, pass, 2, &mass) }
                    .unwrap_or_else(|error| panic!("{error}: {}", gpu.driver.last_failure()));
            }
        }
        let found = device.download(&masses, pass * room).unwrap();
        for token in 0..pass {
            let rows: Vec<Attended> = (0..scene.shape.query_heads)
                .filter(|head| recorded(*head))
                .map(|head| attend(&scene, start, token, head, |_| true))
                .collect();
            let expected: Vec<f64> = (0..room)
                .map(|position| rows.iter().map(|row| row.probabilities[position]).sum())
                .collect();
            let error = relative_error(&found[token * room..(token + 1) * room], &expected);
            assert!(error <= 2e-5, "{heads:?}: {error}");
        }
    }
}
