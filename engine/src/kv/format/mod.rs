//! How a layer's part of a block is encoded.
//!
//! In: one layer of an [`OpenBlock`]. Out: its bytes, and the way back to numbers: in place where they are
//! half-precision ([`PartHalves`]), as codes with their grids where they are not ([`PartCodes`]).
//!
//! A cache's format is part of its identity, and each block's header names its own: the first block stays in half
//! precision whatever the format, because every token attends to the first few (attention sinks, Xiao et al. 2023,
//! arXiv 2309.17453), and so does a block that is not full, because it may be opened again.
//!
//! **Codes.** Keys have a grid a channel, over the 64 tokens of the block, values a grid a token, over
//! [`VALUE_GROUP`] channels (KIVI, Liu et al. 2024, arXiv 2402.02750). Keys are taken before rotation and without the
//! projection's bias (KVQuant, Hooper et al. 2024, arXiv 2401.18079), so a channel's 64 keys lie close together.
//! Channels of keys are rows, so that attention needs no transposition.

mod codes;
mod grid;
mod packing;
mod thin;

pub use codes::{Codes, PartCodes, VALUE_GROUP};
pub use grid::{DROPPED_BITS, Grid, Grids, OFFSETS, grid_bytes};
pub use packing::{RUN, nibbles};

#[cfg(test)]
pub(crate) use codes::tests::decode_head;

use super::{BLOCK_TOKENS, KvShape, OpenBlock};
use half::f16;
use std::ops::RangeInclusive;

/// Number of [`BlockFormat::F16`] in identities.
pub const FORMAT_F16: u32 = BlockFormat::F16.number();

/// One layer's keys and values in half precision, each `[kv_heads][64][head_dim]`.
#[derive(Debug, Clone, Copy)]
pub struct PartHalves<'a> {
    /// Un-rotated, without bias.
    pub keys: &'a [f16],
    /// As projected.
    pub values: &'a [f16],
}

impl<'a> PartHalves<'a> {
    /// Keys and values of one head, each `[64][head_dim]`.
    pub fn head(&self, shape: &KvShape, kv_head: usize) -> PartHalves<'a> {
        let range = kv_head * shape.head_values()..(kv_head + 1) * shape.head_values();
        PartHalves {
            keys: &self.keys[range.clone()],
            values: &self.values[range],
        }
    }
}

/// One layer's keys and values of a block, in place.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// In half precision.
    Halves(PartHalves<'a>),
    /// As codes.
    Codes(PartCodes<'a>),
}

/// An encoding of a layer's part of a block; of a cache: that of its full blocks after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlockFormat {
    /// Half-precision keys and values.
    F16,
    /// Keys and values of 8 bits.
    K8V8,
    /// Keys of 8 bits, values of 4.
    K8V4,
    /// Keys and values of 4 bits.
    K4V4,
    /// Keys of 3 bits, values of 4.
    K3V4,
    /// Keys of 2 bits, values of 4.
    K2V4,
}

impl BlockFormat {
    /// All of them, largest first.
    pub const ALL: [BlockFormat; 6] = [
        BlockFormat::F16,
        BlockFormat::K8V8,
        BlockFormat::K8V4,
        BlockFormat::K4V4,
        BlockFormat::K3V4,
        BlockFormat::K2V4,
    ];

    /// Numbers of formats that no version reads any more: they had grids of 4 bytes throughout.
    pub const RETIRED: RangeInclusive<u32> = 3..=6;

    /// The format of that number, if this version knows it.
    pub fn by_number(number: u32) -> Option<BlockFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.number() == number)
    }

    /// The format of that name.
    pub fn by_name(name: &str) -> Option<BlockFormat> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Number in identities and headers.
    pub const fn number(self) -> u32 {
        match self {
            BlockFormat::F16 => 1,
            BlockFormat::K8V8 => 2,
            // See `RETIRED`.
            BlockFormat::K8V4 => 7,
            BlockFormat::K4V4 => 8,
            BlockFormat::K3V4 => 9,
            BlockFormat::K2V4 => 10,
        }
    }

    /// Name for people: bits of a key and of a value.
    pub fn name(self) -> &'static str {
        match self {
            BlockFormat::F16 => "f16",
            BlockFormat::K8V8 => "8/8",
            BlockFormat::K8V4 => "8/4",
            BlockFormat::K4V4 => "4/4",
            BlockFormat::K3V4 => "3/4",
            BlockFormat::K2V4 => "2/4",
        }
    }

    /// Bits of a key's code and of a value's; `None` for half precision.
    fn bits(self) -> Option<(usize, usize)> {
        match self {
            BlockFormat::F16 => None,
            BlockFormat::K8V8 => Some((8, 8)),
            BlockFormat::K8V4 => Some((8, 4)),
            BlockFormat::K4V4 => Some((4, 4)),
            BlockFormat::K3V4 => Some((3, 4)),
            BlockFormat::K2V4 => Some((2, 4)),
        }
    }

    /// The encoding that a cache of this format gives to its block `index` if that holds `tokens` tokens.
    pub fn of_block(self, index: usize, tokens: usize) -> BlockFormat {
        if index == 0 || tokens < BLOCK_TOKENS {
            BlockFormat::F16
        } else {
            self
        }
    }

    /// Bytes of one layer's part; a multiple of 64.
    pub fn part_bytes(self, shape: &KvShape) -> usize {
        match self.bits() {
            None => 2 * 2 * shape.layer_values(),
            Some((keys, values)) => codes::part_bytes(shape, keys, values),
        }
    }

    /// Encodes `layer` of a block with `tokens` tokens into `part`, which is zeroed and `part_bytes` long.
    ///
    /// Slots from `tokens` on are left zero, so that equal tokens give equal bytes. Codes need all 64 tokens.
    pub fn encode(
        self,
        shape: &KvShape,
        block: &OpenBlock,
        layer: usize,
        tokens: usize,
        part: &mut [u8],
    ) {
        let halves = block.part(layer);
        match self.bits() {
            None => encode_halves(shape, &halves, tokens, part),
            Some((keys, values)) => {
                assert_eq!(tokens, BLOCK_TOKENS, "codes are made of full blocks");
                codes::encode(shape, keys, values, &halves, part);
            }
        }
    }

    /// The numbers of a part, in place. `part` is `part_bytes` long and aligned to 64 bytes, as in a mapped file.
    pub fn part<'a>(self, shape: &KvShape, part: &'a [u8]) -> Part<'a> {
        match self.bits() {
            None => Part::Halves(halves(shape, part)),
            Some((key_bits, value_bits)) => Part::Codes(PartCodes {
                bytes: part,
                key_bits,
                value_bits,
            }),
        }
    }
}

#[cfg(target_endian = "big")]
compile_error!("caches hold little-endian numbers, which attention reads in place");

fn encode_halves(shape: &KvShape, halves: &PartHalves<'_>, tokens: usize, part: &mut [u8]) {
    let filled = tokens * shape.head_dim;
    let (keys, values) = part.split_at_mut(2 * shape.layer_values());
    for (bytes, halves) in [(keys, halves.keys), (values, halves.values)] {
        for (bytes, halves) in bytes
            .chunks_exact_mut(2 * shape.head_values())
            .zip(halves.chunks_exact(shape.head_values()))
        {
            for (slot, half) in bytes.chunks_exact_mut(2).zip(&halves[..filled]) {
                slot.copy_from_slice(&half.to_le_bytes());
            }
        }
    }
}

fn halves<'a>(shape: &KvShape, part: &'a [u8]) -> PartHalves<'a> {
    // SAFETY: every bit pattern is an f16 and `align_to` itself sees to alignment and length.
    let (before, halves, after) = unsafe { part.align_to::<f16>() };
    assert!(before.is_empty() && after.is_empty(), "a part is aligned");
    let (keys, values) = halves.split_at(shape.layer_values());
    PartHalves { keys, values }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn halves_stand_in_place_and_unfilled_slots_are_zero() {
        let shape = KvShape {
            layers: 1,
            kv_heads: 3,
            head_dim: 4,
        };
        let mut block = OpenBlock::new(shape);
        for slot in 0..64 {
            let keys: Vec<f32> = (0..12).map(|i| (slot * 12 + i) as f32).collect();
            let values: Vec<f32> = keys.iter().map(|key| -key).collect();
            block.put(0, slot, &keys, &values);
        }
        let mut part = vec![0; BlockFormat::F16.part_bytes(&shape)];
        BlockFormat::F16.encode(&shape, &block, 0, 10, &mut part);
        let Part::Halves(halves) = BlockFormat::F16.part(&shape, &part) else {
            panic!("halves are halves");
        };
        for head in 0..3 {
            let found = halves.head(&shape, head);
            for slot in 0..64 {
                for channel in 0..4 {
                    let at = slot * 4 + channel;
                    let expected = if slot < 10 {
                        (slot * 12 + head * 4 + channel) as f32
                    } else {
                        0.0
                    };
                    assert_eq!(found.keys[at].to_f32(), expected);
                    assert_eq!(found.values[at].to_f32(), -expected);
                }
            }
        }
    }

    #[test]
    fn numbers_and_names_lead_back() {
        for format in BlockFormat::ALL {
            assert_eq!(BlockFormat::by_number(format.number()), Some(format));
            assert_eq!(BlockFormat::by_name(format.name()), Some(format));
            assert_eq!(format.of_block(0, 64), BlockFormat::F16);
            assert_eq!(format.of_block(3, 63), BlockFormat::F16);
            assert_eq!(format.of_block(3, 64), format);
        }
        assert_eq!(BlockFormat::by_number(0), None);
    }
}
