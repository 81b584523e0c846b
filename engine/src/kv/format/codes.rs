//! A part as codes: where grids and codes stand, and how they are made.
//!
//! For each key/value head, one after the other:
//!
//! | bytes | |
//! |---|---|
//! | 2 or 4 a channel | grid of the channel (see [`super::grid`]) |
//! | `8 * key_bits` a channel | its 64 keys, two runs (see [`super::packing`]) |
//! | 2 or 4 a token and group | grid of the group |
//! | `4 * value_bits` a token and run | its values, filled up with zeros to whole groups |
//!
//! then zeros to a multiple of 64.

use super::PartHalves;
use super::grid::{Grid, Grids, grid_bytes, largest_code};
use super::packing::{RUN, pack, run_bytes};
use crate::kv::header::ALIGNMENT;
use crate::kv::{BLOCK_TOKENS, KvShape};
use std::ops::Range;

/// Channels that share a value's grid; a multiple of [`RUN`].
pub const VALUE_GROUP: usize = 32;

/// Numbers as codes with their grids.
#[derive(Debug, Clone, Copy)]
pub struct Codes<'a> {
    /// Bits of a code: 2, 3, 4 or 8.
    pub bits: usize,
    /// What the codes stand for.
    pub grids: Grids<'a>,
    /// Runs of 32 codes, as many a grid as fit.
    pub packed: &'a [u8],
}

/// One layer's keys and values of a block as codes.
#[derive(Debug, Clone, Copy)]
pub struct PartCodes<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) key_bits: usize,
    pub(super) value_bits: usize,
}

impl<'a> PartCodes<'a> {
    /// Keys of one head: a grid a channel, over its 64 tokens.
    pub fn keys(&self, shape: &KvShape, kv_head: usize) -> Codes<'a> {
        let places = Places::of(shape, self.key_bits, self.value_bits, kv_head);
        self.at(self.key_bits, places.key_grids, places.keys)
    }

    /// Values of one head: for each token a grid for every [`VALUE_GROUP`] channels.
    pub fn values(&self, shape: &KvShape, kv_head: usize) -> Codes<'a> {
        let places = Places::of(shape, self.key_bits, self.value_bits, kv_head);
        self.at(self.value_bits, places.value_grids, places.values)
    }

    fn at(&self, bits: usize, grids: Range<usize>, codes: Range<usize>) -> Codes<'a> {
        Codes {
            bits,
            grids: Grids::of(bits, &self.bytes[grids]),
            packed: &self.bytes[codes],
        }
    }
}

/// Where the bytes of one head stand in a part.
pub(super) struct Places {
    pub(super) key_grids: Range<usize>,
    pub(super) keys: Range<usize>,
    pub(super) value_grids: Range<usize>,
    pub(super) values: Range<usize>,
}

impl Places {
    pub(super) fn of(
        shape: &KvShape,
        key_bits: usize,
        value_bits: usize,
        kv_head: usize,
    ) -> Places {
        let groups = BLOCK_TOKENS * shape.head_dim.div_ceil(VALUE_GROUP);
        let sizes = [
            grid_bytes(key_bits) * shape.head_dim,
            shape.head_dim * (BLOCK_TOKENS / RUN) * run_bytes(key_bits),
            grid_bytes(value_bits) * groups,
            groups * (VALUE_GROUP / RUN) * run_bytes(value_bits),
        ];
        let mut end = kv_head * sizes.iter().sum::<usize>();
        let [key_grids, keys, value_grids, values] = sizes.map(|size| {
            end += size;
            end - size..end
        });
        Places {
            key_grids,
            keys,
            value_grids,
            values,
        }
    }
}

/// Bytes of a part.
pub(super) fn part_bytes(shape: &KvShape, key_bits: usize, value_bits: usize) -> usize {
    let behind = Places::of(shape, key_bits, value_bits, shape.kv_heads);
    behind.key_grids.start.next_multiple_of(ALIGNMENT)
}

/// Writes the codes of a full block into `part`, which is zeroed.
pub(super) fn encode(
    shape: &KvShape,
    key_bits: usize,
    value_bits: usize,
    halves: &PartHalves<'_>,
    part: &mut [u8],
) {
    let head_dim = shape.head_dim;
    for kv_head in 0..shape.kv_heads {
        let head = halves.head(shape, kv_head);
        let places = Places::of(shape, key_bits, value_bits, kv_head);
        for channel in 0..head_dim {
            let keys: [f32; BLOCK_TOKENS] =
                std::array::from_fn(|token| head.keys[token * head_dim + channel].to_f32());
            let grid = places.key_grids.start + grid_bytes(key_bits) * channel;
            let codes = places.keys.start + channel * 2 * run_bytes(key_bits);
            encode_grid(key_bits, &keys, part, grid, codes);
        }
        let groups = head_dim.div_ceil(VALUE_GROUP);
        for (token, row) in head.values.chunks_exact(head_dim).enumerate() {
            for (nth, values) in row.chunks(VALUE_GROUP).enumerate() {
                let values: Vec<f32> = values.iter().map(|value| value.to_f32()).collect();
                let nth = token * groups + nth;
                let grid = places.value_grids.start + grid_bytes(value_bits) * nth;
                let codes = places.values.start + nth * (VALUE_GROUP / RUN) * run_bytes(value_bits);
                encode_grid(value_bits, &values, part, grid, codes);
            }
        }
    }
}

/// Writes one grid and the codes of its `numbers`.
fn encode_grid(bits: usize, numbers: &[f32], part: &mut [u8], grid_at: usize, codes_at: usize) {
    let (grid, bytes) = Grid::over(bits, numbers.iter().copied());
    let bytes = &bytes[..grid_bytes(bits)];
    part[grid_at..][..bytes.len()].copy_from_slice(bytes);
    let packed = &mut part[codes_at..];
    for (numbers, packed) in numbers
        .chunks(RUN)
        .zip(packed.chunks_exact_mut(run_bytes(bits)))
    {
        let mut codes = [0; RUN];
        for (code, number) in codes.iter_mut().zip(numbers) {
            *code = grid.code(*number, largest_code(bits));
        }
        pack(bits, &codes, packed);
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kv::format::{BlockFormat, Part, nibbles};
    use crate::kv::{OpenBlock, PartHalves};
    use half::f16;

    /// The number that code `nth` of grid `grid` stands for, in double precision; `runs` runs a grid.
    fn number(codes: &Codes<'_>, runs: usize, grid: usize, nth: usize) -> f64 {
        let run = grid * runs + nth / RUN;
        let packed = &codes.packed[run * run_bytes(codes.bits)..][..run_bytes(codes.bits)];
        let (nth, mut spread) = (nth % RUN, [0; 16]);
        let code = match codes.bits {
            8 => packed[nth],
            4 => packed[nth % 16] >> (4 * (nth / 16)) & 15,
            bits => {
                nibbles(bits, packed, &mut spread);
                spread[nth % 16] >> (4 * (nth / 16)) & 15
            }
        };
        let grid = codes.grids.at(grid);
        f64::from(grid.least) + f64::from(code) * f64::from(grid.step)
    }

    /// Keys and values of one head, each `[64][head_dim]`, plainly.
    pub(crate) fn decode_head(
        shape: &KvShape,
        part: &Part<'_>,
        kv_head: usize,
    ) -> (Vec<f64>, Vec<f64>) {
        let head_dim = shape.head_dim;
        match part {
            Part::Halves(halves) => {
                let head = halves.head(shape, kv_head);
                let plain = |halves: &[f16]| halves.iter().map(|h| h.to_f64()).collect();
                (plain(head.keys), plain(head.values))
            }
            Part::Codes(codes) => {
                let (keys, values) = (codes.keys(shape, kv_head), codes.values(shape, kv_head));
                let groups = head_dim.div_ceil(VALUE_GROUP);
                let all = (0..BLOCK_TOKENS * head_dim).map(|at| (at / head_dim, at % head_dim));
                all.map(|(token, channel)| {
                    let grid = token * groups + channel / VALUE_GROUP;
                    (
                        number(&keys, BLOCK_TOKENS / RUN, channel, token),
                        number(&values, VALUE_GROUP / RUN, grid, channel % VALUE_GROUP),
                    )
                })
                .unzip()
            }
        }
    }

    fn block(shape: KvShape, number: impl Fn(usize) -> f32) -> OpenBlock {
        let mut block = OpenBlock::new(shape);
        let row = shape.kv_heads * shape.head_dim;
        for slot in 0..BLOCK_TOKENS {
            for layer in 0..shape.layers {
                let first = (layer * BLOCK_TOKENS + slot) * row;
                let keys: Vec<f32> = (first..first + row).map(&number).collect();
                let values: Vec<f32> = (first..first + row).map(|at| number(at + 7)).collect();
                block.put(layer, slot, &keys, &values);
            }
        }
        block
    }

    /// Every number comes back within what its grid allows, for all formats and odd sizes of a head.
    #[test]
    fn numbers_come_back_near_their_levels() {
        for (kv_heads, head_dim) in [(1, 2), (2, 64), (3, 80), (1, 128), (2, 33)] {
            let shape = KvShape {
                layers: 2,
                kv_heads,
                head_dim,
            };
            let wave = |at: usize| ((at * 7919 % 1009) as f32 / 504.5 - 1.0) * 3.0 + 5.0;
            let block = block(shape, wave);
            for format in &BlockFormat::ALL[1..] {
                let bytes = format.part_bytes(&shape);
                assert!(bytes.is_multiple_of(ALIGNMENT));
                let mut part = vec![0; bytes];
                format.encode(&shape, &block, 1, BLOCK_TOKENS, &mut part);
                let part = format.part(&shape, &part);
                let (key_bits, value_bits) = format.bits().unwrap();
                for kv_head in 0..kv_heads {
                    let (keys, values) = decode_head(&shape, &part, kv_head);
                    let PartHalves {
                        keys: exact_keys,
                        values: exact_values,
                    } = block.part(1).head(&shape, kv_head);
                    for (found, exact, bits) in [
                        (keys, exact_keys, key_bits),
                        (values, exact_values, value_bits),
                    ] {
                        // The range is 6. A step in half precision adds a little at the far end, one in a byte (see
                        // `grid`) a sixteenth of half of the range, and its offset a quarter.
                        let step = 6.0 / f64::from((1 << bits) - 1);
                        let bound = match bits {
                            8 => step * 0.5 + 6.0 / 2048.0,
                            _ => step * 0.75 + 6.0 / 32.0,
                        };
                        for (found, exact) in found.iter().zip(exact) {
                            let error = (found - exact.to_f64()).abs();
                            assert!(error <= bound, "{format:?}: {error} > {bound}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn equal_large_and_missing_numbers() {
        let shape = KvShape {
            layers: 1,
            kv_heads: 1,
            head_dim: 64,
        };
        type Number = fn(usize) -> f32;
        let cases: [(f32, Number); 4] = [
            (0.005, |_| 0.25),
            (0.0, |_| 0.0),
            (0.06, |at| if at % 3 == 0 { 65504.0 } else { -65504.0 }),
            (0.005, |at| if at == 200 { f32::NAN } else { 1.0 }),
        ];
        for (bound, number) in cases {
            let block = block(shape, number);
            for format in &BlockFormat::ALL[1..] {
                let mut part = vec![0; format.part_bytes(&shape)];
                format.encode(&shape, &block, 0, BLOCK_TOKENS, &mut part);
                let (keys, values) = decode_head(&shape, &format.part(&shape, &part), 0);
                let exact = block.part(0);
                for (found, exact) in [(keys, exact.keys), (values, exact.values)] {
                    for (found, exact) in found.iter().zip(exact) {
                        let exact = exact.to_f64();
                        // A NaN spreads over its grid and is never lost.
                        let sound = (found - exact).abs() <= f64::from(bound) * exact.abs();
                        assert!(sound || found.is_nan(), "{format:?}: {found} for {exact}");
                        assert!(!exact.is_nan() || found.is_nan());
                    }
                }
            }
        }
    }

    #[test]
    fn four_bits_take_little_more_than_a_quarter() {
        for head_dim in [64, 128] {
            let shape = KvShape {
                layers: 24,
                kv_heads: 2,
                head_dim,
            };
            let share = BlockFormat::K4V4.part_bytes(&shape) as f64
                / BlockFormat::F16.part_bytes(&shape) as f64;
            assert!(share < 0.274, "{share}");
        }
    }
}
