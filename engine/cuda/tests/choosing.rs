//! The index, its scan and the choice of pages, against F64; and the copies that bring chosen pages.

#![allow(clippy::unwrap_used)]

mod support;

use lectern_cuda::parameters::{Copy16, Gather, Index, Pick, Scan};
use lectern_cuda::{Buffer, PAGE_TOKENS, Shape};
use lectern_engine::kv::BlockFormat;
use support::noise::Noise;
use support::reference::{relative_error, turned};
use support::scene::{HEADS, OnDevice, Rows, Scene};
use support::{Gpu, ORDERS, gpu};

/// The index of one layer, on the device.
struct Indexed {
    steps: Buffer<f32>,
    centres: Buffer<f32>,
    codes: Buffer<u32>,
    room: usize,
}

fn index(gpu: &Gpu, on: &OnDevice, pages: usize, room: usize) -> Indexed {
    let device = &gpu.device;
    let shape = &on.shape;
    let numbers = shape.kv_heads() * shape.head_dim();
    let indexed = Indexed {
        steps: device.allocate(numbers).unwrap(),
        centres: device.allocate(numbers * room).unwrap(),
        codes: device.allocate(numbers * room * PAGE_TOKENS / 4).unwrap(),
        room,
    };
    let mut index = Index {
        pages: device.address(&on.pages),
        rotation: on.rotation(gpu),
        bias: device.address(&on.bias),
        steps: device.address(&indexed.steps),
        centres: device.address(&indexed.centres),
        codes: device.address(&indexed.codes),
        kv_heads: shape.kv_heads() as i32,
        room: room as i32,
        first_page: 1,
    };
    // SAFETY: the buffers above are as large as the kernels say, and live until the work is done.
    unsafe { device.index_steps(shape, &index) }.unwrap();
    // In two pieces, as a document grows.
    for (first, count) in [(0, pages / 2), (pages / 2, pages - pages / 2)] {
        index.first_page = first as i32;
        // SAFETY: as above.
        unsafe { device.index_pages(shape, count, &index) }
            .unwrap_or_else(|error| panic!("{error}: {}", gpu.driver.last_failure()));
    }
    device.finish().unwrap();
    indexed
}

/// A vector in the order of pairs.
fn in_pairs(shape: &Shape, vector: &[f64]) -> Vec<f64> {
    let channels = shape.pair_channels();
    let firsts = channels.iter().map(|pair| vector[pair[0] as usize]);
    let seconds = channels.iter().map(|pair| vector[pair[1] as usize]);
    firsts.chain(seconds).collect()
}

#[test]
fn the_index_holds_every_key_within_half_a_step() {
    let gpu = gpu();
    for (nth, heads) in HEADS.into_iter().enumerate() {
        let pages = 4;
        let scene = Scene::new(
            heads,
            BlockFormat::K4V4,
            pages * PAGE_TOKENS,
            60 + nth as u64,
        );
        let on = OnDevice::new(&gpu, &scene);
        gpu.driver.set_seed(ORDERS[nth % ORDERS.len()]);
        let indexed = index(&gpu, &on, pages, 6);
        let (d, room) = (heads.head_dim, indexed.room);
        let steps = gpu
            .device
            .download(&indexed.steps, heads.kv_heads * d)
            .unwrap();
        let numbers = heads.kv_heads * d * room;
        let centres = gpu.device.download(&indexed.centres, numbers).unwrap();
        let codes = gpu
            .device
            .download(&indexed.codes, numbers * PAGE_TOKENS / 4)
            .unwrap();
        for head in 0..heads.kv_heads {
            for page in 0..pages {
                let keys: Vec<Vec<f64>> = (0..PAGE_TOKENS)
                    .map(|token| {
                        in_pairs(
                            &on.shape,
                            scene.turned_key(page * PAGE_TOKENS + token, head),
                        )
                    })
                    .collect();
                for channel in 0..d {
                    let ofs: Vec<f64> = keys.iter().map(|key| key[channel]).collect();
                    let least = ofs.iter().copied().fold(f64::INFINITY, f64::min);
                    let largest = ofs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let step = f64::from(steps[head * d + channel]);
                    if page == 1 {
                        assert!(((largest - least) / 64.0 - step).abs() <= 1e-5 * step);
                    }
                    let entry = head * room + page;
                    let centre = f64::from(centres[entry * d + channel]);
                    assert!(
                        (centre - (least + largest) / 2.0).abs() <= 1e-5 * (largest - least + 1.0)
                    );
                    for (token, key) in ofs.iter().enumerate() {
                        let word = codes[(entry * d / 4 + channel / 4) * PAGE_TOKENS + token];
                        let code = f64::from(word >> (8 * (channel % 4)) & 255);
                        assert!(code <= 127.0);
                        let meant = centre + (code - 64.0) * step;
                        // A key beyond what the steps of the second page reach is cut off.
                        let cut_off = code == 0.0 || code == 127.0;
                        assert!(
                            cut_off || (meant - key).abs() <= 0.501 * step,
                            "{heads:?}: {key} as {meant}"
                        );
                    }
                }
            }
        }
    }
}

/// What `scan` is to find, from what the index holds, in F64 but for the query's rounding to 8 bits.
fn estimate(
    scene: &Scene,
    on: &OnDevice,
    gpu: &Gpu,
    indexed: &Indexed,
    position: usize,
    head: usize,
    pages: usize,
) -> Vec<f64> {
    let (d, room) = (scene.shape.head_dim, indexed.room);
    let kv_head = head / scene.shape.group_size();
    let steps = gpu
        .device
        .download(&indexed.steps, scene.kv.kv_heads * d)
        .unwrap();
    let numbers = scene.kv.kv_heads * d * room;
    let centres = gpu.device.download(&indexed.centres, numbers).unwrap();
    let codes = gpu
        .device
        .download(&indexed.codes, numbers * PAGE_TOKENS / 4)
        .unwrap();
    let scale = f64::from(on.shape.scale());
    let query: Vec<f64> = in_pairs(
        &on.shape,
        &turned(&scene.shape, &scene.query(position, head), position),
    )
    .iter()
    .map(|number| number * scale)
    .collect();
    let in_steps: Vec<f64> = query
        .iter()
        .zip(&steps[kv_head * d..])
        .map(|(q, s)| q * f64::from(*s))
        .collect();
    let unit = in_steps.iter().fold(0.0f64, |a, b| a.max(b.abs())) / 127.0;
    let rounded: Vec<f64> = in_steps
        .iter()
        .map(|step| (step / unit + 127.5).floor() - 127.0)
        .collect();
    (0..pages)
        .map(|page| {
            let entry = kv_head * room + page;
            let best = (0..PAGE_TOKENS)
                .map(|token| {
                    (0..d)
                        .map(|channel| {
                            let word = codes[(entry * d / 4 + channel / 4) * PAGE_TOKENS + token];
                            rounded[channel] * (f64::from(word >> (8 * (channel % 4)) & 255) - 64.0)
                        })
                        .sum::<f64>()
                })
                .fold(f64::NEG_INFINITY, f64::max);
            let centre: f64 = query
                .iter()
                .zip(&centres[entry * d..])
                .map(|(q, c)| q * f64::from(*c))
                .sum();
            centre + best * unit
        })
        .collect()
}

#[test]
fn the_scan_is_the_product_with_the_best_key() {
    let gpu = gpu();
    let mut worst = 0.0f64;
    let mut rounded_otherwise = 0;
    for (nth, heads) in HEADS.into_iter().enumerate() {
        let (pages, pass) = (9, 2);
        let tokens = pages * PAGE_TOKENS + 5;
        let scene = Scene::new(heads, BlockFormat::K4V4, tokens, 70 + nth as u64);
        let on = OnDevice::new(&gpu, &scene);
        gpu.driver.set_seed(ORDERS[nth % ORDERS.len()]);
        let indexed = index(&gpu, &on, pages, pages);
        let start = tokens - pass;
        let rows = Rows::new(&gpu, &scene, &on, start, pass);
        let query_heads = scene.shape.query_heads;
        let estimates = gpu
            .device
            .allocate::<f32>(pass * query_heads * pages)
            .unwrap();
        let scan = Scan {
            queries: rows.queries(),
            rotation: on.rotation(&gpu),
            steps: gpu.device.address(&indexed.steps),
            centres: gpu.device.address(&indexed.centres),
            codes: gpu.device.address(&indexed.codes),
            estimates: gpu.device.address(&estimates),
            pages: pages as i32,
            room: pages as i32,
        };
        // SAFETY: the buffers above are as large as the kernel says, and live until the work is done.
        unsafe { gpu.device.scan(&on.shape, pass, 2, &scan) }
            .unwrap_or_else(|error| panic!("{error}: {}", gpu.driver.last_failure()));
        let found = gpu
            .device
            .download(&estimates, pass * query_heads * pages)
            .unwrap();
        for row in 0..pass * query_heads {
            let (token, head) = (row / query_heads, row % query_heads);
            let expected = estimate(&scene, &on, &gpu, &indexed, start + token, head, pages);
            let error = relative_error(&found[row * pages..(row + 1) * pages], &expected);
            // A channel of the query that lies between two codes may be rounded otherwise in F64; of 127 steps, one.
            if error > 1e-5 {
                rounded_otherwise += 1;
                assert!(error <= 0.02, "{heads:?}, row {row}: {error}");
            } else {
                worst = worst.max(error);
            }
        }
    }
    println!(
        "scan: largest relative error {worst:.2e}; {rounded_otherwise} rows rounded otherwise"
    );
    assert!(rounded_otherwise <= 4);
}

/// Pages that `pick` chooses of these estimates, `[rows][pages]` of one token and head.
fn pick(gpu: &Gpu, estimates: &[f32], pages: usize, budget: usize) -> Vec<i32> {
    let device = &gpu.device;
    let group = estimates.len() / pages;
    let scene = Scene::new(
        support::scene::Heads {
            kv_heads: 1,
            group,
            head_dim: 64,
            ..HEADS[0]
        },
        BlockFormat::F16,
        1,
        1,
    );
    let shape = Shape::new(&scene.shape).unwrap();
    let room = budget.max(5).min(pages);
    let on_device = device.upload(estimates).unwrap();
    let worth = device.allocate::<f32>(pages).unwrap();
    let chosen = device.allocate::<i32>(room).unwrap();
    let counts = device.allocate::<i32>(1).unwrap();
    let pick = Pick {
        estimates: device.address(&on_device),
        worth: device.address(&worth),
        chosen: device.address(&chosen),
        counts: device.address(&counts),
        pages: pages as i32,
        query_heads: group as i32,
        budget: budget as i32,
        room: room as i32,
    };
    // SAFETY: the buffers above are as large as the kernel says, and live until the work is done.
    unsafe { device.pick(&shape, 1, &pick) }
        .unwrap_or_else(|error| panic!("{error}: {}", gpu.driver.last_failure()));
    let count = device.download(&counts, 1).unwrap()[0] as usize;
    device.download(&chosen, room).unwrap()[..count].to_vec()
}

/// The engine's rule (`attention/sparse/pick.rs`), in F64.
fn pick_plainly(estimates: &[f32], pages: usize, budget: usize) -> (Vec<i32>, Vec<f64>) {
    let mut worth = vec![0.0f64; pages];
    for row in estimates.chunks_exact(pages) {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = row.iter().map(|e| f64::from(e - largest).exp2()).collect();
        let sum: f64 = weights.iter().sum();
        for (worth, weight) in worth.iter_mut().zip(weights) {
            *worth += weight / sum;
        }
    }
    let always = |page: usize| page < 1 || page + 4 >= pages;
    let mut chosen: Vec<usize> = (0..pages).filter(|page| always(*page)).collect();
    let mut others: Vec<usize> = (0..pages).filter(|page| !always(*page)).collect();
    others.sort_by(|a, b| worth[*b].total_cmp(&worth[*a]).then(b.cmp(a)));
    others.truncate(budget.saturating_sub(chosen.len()));
    chosen.extend(others);
    chosen.sort_unstable();
    (chosen.iter().map(|page| *page as i32).collect(), worth)
}

#[test]
fn the_best_pages_are_picked_in_order() {
    let gpu = gpu();
    let mut noise = Noise::new(5);
    let mut nth = 0;
    for (pages, group) in [(1, 1), (4, 2), (5, 1), (6, 3), (100, 7), (257, 4), (700, 2)] {
        for budget in [0, 5, 6, 8, 33, 1000] {
            let estimates = noise.numbers(group * pages, 6.0);
            gpu.driver.set_seed(ORDERS[nth % ORDERS.len()]);
            nth += 1;
            let found = pick(&gpu, &estimates, pages, budget);
            let (expected, worth) = pick_plainly(&estimates, pages, budget);
            if found != expected {
                // Worths that F32 cannot tell apart may change places.
                assert_eq!(found.len(), expected.len());
                assert!(found.is_sorted() && found.windows(2).all(|pair| pair[0] < pair[1]));
                let least = |chosen: &[i32]| {
                    chosen
                        .iter()
                        .map(|page| worth[*page as usize])
                        .fold(f64::INFINITY, f64::min)
                };
                assert!(
                    least(&found) >= least(&expected) * (1.0 - 1e-5),
                    "{pages} pages, budget {budget}"
                );
            }
        }
    }
}

#[test]
fn of_equal_pages_the_later_ones_are_picked() {
    let gpu = gpu();
    for order in ORDERS {
        gpu.driver.set_seed(order);
        let equal = vec![1.5; 300];
        assert_eq!(
            pick(&gpu, &equal, 300, 8),
            [0, 293, 294, 295, 296, 297, 298, 299]
        );
        let mut one_better = equal.clone();
        one_better[17] = 2.0;
        assert_eq!(
            pick(&gpu, &one_better, 300, 7),
            [0, 17, 295, 296, 297, 298, 299]
        );
        let mut one_worse = vec![1.0; 12];
        one_worse[6] = 0.5;
        assert_eq!(
            pick(&gpu, &one_worse, 12, 11),
            [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11]
        );
    }
}

#[test]
fn gathered_pages_are_the_pages_that_were_asked_for() {
    let gpu = gpu();
    let device = &gpu.device;
    let mut noise = Noise::new(9);
    for order in ORDERS {
        gpu.driver.set_seed(order);
        let lengths = [16, 4864, 9728, 64, 32_768];
        let host: Vec<Vec<u8>> = lengths
            .iter()
            .map(|length| (0..*length).map(|_| noise.bits() as u8).collect())
            .collect();
        let from: Vec<_> = host
            .iter()
            .map(|bytes| device.upload(bytes).unwrap())
            .collect();
        // Slots hold other pages before.
        let to: Vec<_> = lengths
            .iter()
            .map(|length| device.upload(&vec![7u8; *length]).unwrap())
            .collect();
        let copies: Vec<Copy16> = from
            .iter()
            .zip(&to)
            .zip(&lengths)
            .map(|((from, to), length)| Copy16 {
                from: device.address(from),
                to: device.address(to),
                pieces: (length / 16) as i64,
            })
            .collect();
        let copies_there = device.upload(&copies).unwrap();
        let gather = Gather {
            copies: device.address(&copies_there),
        };
        // SAFETY: the buffers above are as long as their copies say, and live until the work is done.
        unsafe { device.gather(copies.len(), &gather) }.unwrap();
        device.finish_fetching().unwrap();
        for (slot, page) in to.iter().zip(&host) {
            assert!(device.download(slot, page.len()).unwrap() == *page);
        }
    }
}
