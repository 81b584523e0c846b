//! What a launch reads from memory and computes, counted from the kernels' own loops: for the roofline in `docs/gpu.md`.
//!
//! Bytes are those that must come from the GPU's memory at least once in a launch: pages, index, partial results. Tables
//! and queries stay in caches and are left out. Operations are F32 additions and multiplications, a multiplication with an
//! addition being two; powers and whole-number products (`scan`) are counted as they are issued, one an instruction lane.

use crate::kernels::{SLICE_ROWS, TILE_ROWS};
use crate::shape::{PAGE_TOKENS, PageFormat, Shape};
use std::ops::{Add, AddAssign};

/// Bytes and operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Read from the GPU's memory.
    pub bytes: u64,
    /// F32 operations.
    pub operations: u64,
    /// Of tensor cores, on halves.
    pub tensor_operations: u64,
}

impl Add for Work {
    type Output = Work;

    fn add(self, other: Work) -> Work {
        Work {
            bytes: self.bytes + other.bytes,
            operations: self.operations + other.operations,
            tensor_operations: self.tensor_operations + other.tensor_operations,
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        *self = *self + other;
    }
}

impl Work {
    /// Of one layer: `decode` of one token over `pages` coded pages for each head.
    pub fn decode(shape: &Shape, format: PageFormat, pages: usize) -> Work {
        let (d, keys) = (shape.head_dim(), PAGE_TOKENS);
        let slices = shape.group_size().div_ceil(SLICE_ROWS);
        // A pair of a row: turned back, and what halves leave out. A channel's factor and summand.
        let staged = SLICE_ROWS * d / 2 * 8 + d * 4;
        // A pair of a key: factors and summands, turned, and what halves leave out. A value: its code times the step.
        let decoded = keys * (d / 2 * 12 + d * 2);
        // A weight, and what each quarter of the keys has summed so far.
        let softmax = SLICE_ROWS * (keys * 4 + 4 * d);
        // Three products of halves for scores, two for values and for what is added to 64 channels at a time.
        let products = 2 * SLICE_ROWS * keys * (3 * d + 2 * d + 2 * 16 * d / 64);
        let heads = pages * shape.kv_heads() * slices;
        Work {
            bytes: (pages * slices * format.part_bytes(shape)) as u64,
            operations: (heads * (staged + decoded + softmax)) as u64,
            tensor_operations: (heads * products) as u64,
        }
    }

    /// Of one layer: `unpack` and `prefill` of `tokens` tokens from position `start` on. Every tile reads what was decoded;
    /// what the cache of the second level saves of that is not counted, nor are pages that lie behind a tile's last row.
    pub fn prefill(shape: &Shape, format: PageFormat, start: usize, tokens: usize) -> Work {
        let (d, keys, group) = (shape.head_dim(), PAGE_TOKENS, shape.group_size());
        let all = (start + tokens).div_ceil(PAGE_TOKENS);
        // Two halves a number, keys and values.
        let unpacked = shape.kv_heads() * 2 * 4 * d * keys;
        // A pair: two steps and offsets, two biases, turned twice. A value: step and offset. What a half leaves out.
        let decoded = shape.kv_heads() * keys * (d / 2 * 18 + d * 2 + 2 * d);
        let mut work = Work {
            bytes: (all * (format.part_bytes(shape) + unpacked)) as u64,
            operations: (all * decoded) as u64,
            tensor_operations: 0,
        };
        for tile in 0..(tokens * group).div_ceil(TILE_ROWS) {
            let last_row = ((tile + 1) * TILE_ROWS).min(tokens * group) - 1;
            let pages = (start + last_row / group) / PAGE_TOKENS + 1;
            // Three products of halves each.
            let products = TILE_ROWS * keys * (3 * 2 * d + 3 * 2 * d);
            work += Work {
                bytes: (pages * unpacked) as u64,
                // The softmax, and two halves of each weight.
                operations: (pages * shape.kv_heads() * TILE_ROWS * keys * 7) as u64,
                tensor_operations: (pages * shape.kv_heads() * products) as u64,
            };
        }
        work
    }

    /// Of one layer: `scan` and `pick` of one token over `pages` pages.
    pub fn choose(shape: &Shape, pages: usize) -> Work {
        let d = shape.head_dim();
        let rows = shape.group_size().next_multiple_of(SLICE_ROWS);
        let slices = rows / SLICE_ROWS;
        let index = d * (PAGE_TOKENS + 4);
        // `pick` looks at a row's estimates three times and at the worths ten.
        let estimates = 4 * (4 * shape.group_size() + 10);
        Work {
            bytes: (pages * shape.kv_heads() * (slices * index + estimates)) as u64,
            operations: (pages * shape.kv_heads() * rows * (PAGE_TOKENS * d / 4 + 2 * d)) as u64,
            tensor_operations: 0,
        }
    }
}
