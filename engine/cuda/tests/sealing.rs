//! From the model's numbers to a sealed page: the bytes that the engine's own packer writes, bit for bit.

#![allow(clippy::unwrap_used)]

mod support;

use half::f16;
use lectern_cuda::parameters::{Append, Page, Quantize};
use lectern_cuda::{PAGE_TOKENS, PageFormat};
use lectern_engine::kv::{BlockFormat, OpenBlock};
use support::scene::{HEADS, Heads, Scene, page_format};
use support::{Gpu, ORDERS, gpu};

/// Appends the scene's tokens from its first page on in passes of these sizes; the open pages' halves.
fn append(gpu: &Gpu, scene: &Scene, passes: &[usize]) -> Vec<Vec<u16>> {
    let device = &gpu.device;
    let pages = scene.tokens.div_ceil(PAGE_TOKENS);
    let halves = 2 * scene.kv.layer_values();
    let shape = lectern_cuda::Shape::new(&scene.shape).unwrap();
    let open: Vec<_> = (0..pages)
        .map(|_| device.allocate::<u16>(halves).unwrap())
        .collect();
    let addresses: Vec<Page> = open
        .iter()
        .map(|page| PageFormat::HALVES.page(device.address(page)))
        .collect();
    let row = scene.kv.kv_heads * scene.kv.head_dim;
    let mut start = 0;
    for tokens in passes {
        let numbers = start * row..(start + tokens) * row;
        let keys = device.upload(&scene.given_keys[numbers.clone()]).unwrap();
        let values = device.upload(&scene.given_values[numbers]).unwrap();
        // The table begins with the page that the pass begins in.
        let first_page = start / PAGE_TOKENS;
        let table = device.upload(&addresses[first_page..]).unwrap();
        let append = Append {
            keys: device.address(&keys),
            values: device.address(&values),
            pages: device.address(&table),
            kept: 0,
            first_page: first_page as i32,
            start: start as i32,
            tokens: *tokens as i32,
            kv_heads: scene.kv.kv_heads as i32,
            head_dim: scene.kv.head_dim as i32,
        };
        // SAFETY: the pages hold all tokens, and all buffers live until the work is done.
        unsafe { device.append(&shape, &append) }.unwrap();
        device.finish().unwrap();
        start += tokens;
    }
    assert_eq!(start, scene.tokens);
    open.iter()
        .map(|page| device.download(page, halves).unwrap())
        .collect()
}

fn bits(halves: &[f16]) -> Vec<u16> {
    halves.iter().map(|half| half.to_bits()).collect()
}

#[test]
fn appended_tokens_are_the_halves_that_the_engine_keeps() {
    let gpu = gpu();
    for (nth, heads) in HEADS.into_iter().enumerate() {
        let mut scene = Scene::new(heads, BlockFormat::F16, 150, 11 + nth as u64);
        // Too large for half precision, and just not.
        scene.given_keys[3] = 1e9;
        scene.given_values[5] = f32::NEG_INFINITY;
        scene.given_values[6] = 65_519.0;
        gpu.driver.set_seed(ORDERS[nth % ORDERS.len()]);
        let found = append(&gpu, &scene, &[1, 62, 3, 70, 14]);
        for (page, found) in found.iter().enumerate() {
            let block = scene.open_block(page * PAGE_TOKENS);
            let expected = block.part(0);
            let filled = (scene.tokens - page * PAGE_TOKENS).min(PAGE_TOKENS);
            let all = [bits(expected.keys), bits(expected.values)].concat();
            for (at, (found, expected)) in found.iter().zip(&all).enumerate() {
                if at / scene.kv.head_dim % PAGE_TOKENS < filled {
                    assert_eq!(found, expected, "{heads:?}, page {page}, half {at}");
                }
            }
        }
    }
}

/// Seals `block` on the device and with the engine's packer.
fn seal_both(
    gpu: &Gpu,
    scene: &Scene,
    block: &OpenBlock,
    format: BlockFormat,
) -> (Vec<u8>, Vec<u8>) {
    let device = &gpu.device;
    let shape = lectern_cuda::Shape::new(&scene.shape).unwrap();
    let part = block.part(0);
    let halves = device
        .upload(&[bits(part.keys), bits(part.values)].concat())
        .unwrap();
    let bytes = format.part_bytes(&scene.kv);
    let on_device = page_format(format);
    assert_eq!(on_device.part_bytes(&shape), bytes);
    let sealed = device.allocate::<u8>(bytes).unwrap();
    let quantize = Quantize {
        halves: device.address(&halves),
        part: device.address(&sealed),
        kv_heads: scene.kv.kv_heads as i32,
        head_dim: scene.kv.head_dim as i32,
        key_bits: on_device.key_bits() as i32,
        value_bits: on_device.value_bits() as i32,
    };
    // SAFETY: an open page and room for its part, which live until the work is done.
    unsafe { device.quantize(&shape, &quantize) }
        .unwrap_or_else(|error| panic!("{error}: {}", gpu.driver.last_failure()));
    let mut expected = vec![0; bytes];
    format.encode(&scene.kv, block, 0, PAGE_TOKENS, &mut expected);
    (device.download(&sealed, bytes).unwrap(), expected)
}

const CODES: [BlockFormat; 3] = [BlockFormat::K4V4, BlockFormat::K8V4, BlockFormat::K8V8];

#[test]
fn sealed_pages_are_the_packers_bytes() {
    let gpu = gpu();
    for (nth, heads) in HEADS.into_iter().enumerate() {
        let scene = Scene::new(heads, BlockFormat::F16, PAGE_TOKENS, 40 + nth as u64);
        let block = scene.open_block(0);
        for (format, order) in CODES.into_iter().zip(ORDERS) {
            gpu.driver.set_seed(order);
            let (found, expected) = seal_both(&gpu, &scene, &block, format);
            assert!(found == expected, "{heads:?}, {format:?}");
        }
    }
}

/// Numbers that are equal, zeros of both signs, the largest there are, tiny ones, NaN, and ties between two codes.
#[test]
fn sealed_pages_are_the_packers_bytes_for_odd_numbers_too() {
    let gpu = gpu();
    let heads: Heads = HEADS[2];
    type Number = fn(usize) -> f32;
    let cases: [(&str, Number); 9] = [
        ("equal", |_| 0.25),
        ("zeros", |_| 0.0),
        (
            "zeros of both signs",
            |at| if at % 2 == 0 { 0.0 } else { -0.0 },
        ),
        (
            "largest",
            |at| if at % 3 == 0 { 65_504.0 } else { -65_504.0 },
        ),
        ("subnormal", |at| (at % 7) as f32 * 6e-8),
        ("a step of 0", |at| 1.0 + (at % 2) as f32 * 6e-8),
        ("some NaN", |at| {
            if at % 201 == 7 {
                f32::NAN
            } else {
                (at % 13) as f32
            }
        }),
        ("ties", |at| (at % 31) as f32 * 0.5),
        ("far from 0", |at| 900.0 + (at % 17) as f32),
    ];
    for (what, number) in cases {
        let mut scene = Scene::new(heads, BlockFormat::F16, PAGE_TOKENS, 1);
        for (at, key) in scene.given_keys.iter_mut().enumerate() {
            *key = number(at);
        }
        for (at, value) in scene.given_values.iter_mut().enumerate() {
            *value = number(at + 5);
        }
        let block = scene.open_block(0);
        for format in CODES {
            let (found, expected) = seal_both(&gpu, &scene, &block, format);
            let differing = found.iter().zip(&expected).position(|(a, b)| a != b);
            assert_eq!(differing, None, "{what}, {format:?}");
        }
    }
}
