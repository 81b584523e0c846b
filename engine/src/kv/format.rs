//! How a layer's part of a block is encoded: the seam for smaller formats.
//!
//! `attention` asks a part for one head's keys or values as `[64, head_dim]`. A format that stores half-precision
//! numbers hands them out in place ([`BlockFormat::halves`]), which the fast kernels read directly; any other decodes
//! into F32. A cache's format is part of its identity; a block's header names its own, so that one cache may one day
//! hold blocks of several (sinks in full precision, the rest in four bits).

use super::{KvShape, OpenBlock};
use half::f16;
use std::fmt::Debug;

/// Half-precision keys and values, as they are computed (`identity.format`).
pub const FORMAT_F16: u32 = 1;

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

/// An encoding of one layer's part of a block.
pub trait BlockFormat: Debug + Send + Sync {
    /// Number in identities and headers.
    fn number(&self) -> u32;

    /// Name for people.
    fn name(&self) -> &'static str;

    /// Bytes of one layer's part; a multiple of 64.
    fn part_bytes(&self, shape: &KvShape) -> usize;

    /// Encodes `layer` of a block with `tokens` tokens into `part`, which is zeroed and `part_bytes` long.
    ///
    /// Slots from `tokens` on are left zero, so that equal tokens give equal bytes.
    fn encode(
        &self,
        shape: &KvShape,
        block: &OpenBlock,
        layer: usize,
        tokens: usize,
        part: &mut [u8],
    );

    /// The part's numbers in place, if they are half-precision numbers in the order of [`PartHalves`].
    fn halves<'a>(&self, shape: &KvShape, part: &'a [u8]) -> Option<PartHalves<'a>>;

    /// Decodes the un-rotated keys of one head into `keys`, `[64, head_dim]`.
    fn keys(&self, shape: &KvShape, part: &[u8], kv_head: usize, keys: &mut [f32]);

    /// Decodes the values of one head into `values`, `[64, head_dim]`.
    fn values(&self, shape: &KvShape, part: &[u8], kv_head: usize, values: &mut [f32]);
}

/// The format of that number, if this version knows it.
pub fn by_number(number: u32) -> Option<&'static dyn BlockFormat> {
    match number {
        FORMAT_F16 => Some(&F16),
        _ => None,
    }
}

/// [`FORMAT_F16`].
#[derive(Debug)]
pub(super) struct F16;

impl BlockFormat for F16 {
    fn number(&self) -> u32 {
        FORMAT_F16
    }

    fn name(&self) -> &'static str {
        "f16"
    }

    fn part_bytes(&self, shape: &KvShape) -> usize {
        2 * 2 * shape.layer_values()
    }

    fn encode(
        &self,
        shape: &KvShape,
        block: &OpenBlock,
        layer: usize,
        tokens: usize,
        part: &mut [u8],
    ) {
        let halves = block.part(layer);
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

    fn halves<'a>(&self, shape: &KvShape, part: &'a [u8]) -> Option<PartHalves<'a>> {
        if cfg!(target_endian = "big") {
            return None;
        }
        // SAFETY: every bit pattern is an f16 and `align_to` itself sees to alignment and length.
        let (before, halves, after) = unsafe { part.align_to::<f16>() };
        if !before.is_empty() || !after.is_empty() {
            return None;
        }
        let (keys, values) = halves.split_at(shape.layer_values());
        Some(PartHalves { keys, values })
    }

    fn keys(&self, shape: &KvShape, part: &[u8], kv_head: usize, keys: &mut [f32]) {
        decode(&part[kv_head * 2 * shape.head_values()..], keys);
    }

    fn values(&self, shape: &KvShape, part: &[u8], kv_head: usize, values: &mut [f32]) {
        let first = 2 * shape.layer_values() + kv_head * 2 * shape.head_values();
        decode(&part[first..], values);
    }
}

fn decode(bytes: &[u8], numbers: &mut [f32]) {
    for (number, bytes) in numbers.iter_mut().zip(bytes.chunks_exact(2)) {
        *number = f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn in_place_and_decoded_numbers_agree_and_unfilled_slots_are_zero() {
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
        let mut part = vec![0; F16.part_bytes(&shape)];
        F16.encode(&shape, &block, 0, 10, &mut part);
        let in_place = F16.halves(&shape, &part).unwrap();
        for head in 0..3 {
            let (mut keys, mut values) = (vec![0.0; 256], vec![0.0; 256]);
            F16.keys(&shape, &part, head, &mut keys);
            F16.values(&shape, &part, head, &mut values);
            for slot in 0..64 {
                for channel in 0..4 {
                    let at = slot * 4 + channel;
                    let expected = if slot < 10 {
                        (slot * 12 + head * 4 + channel) as f32
                    } else {
                        0.0
                    };
                    assert_eq!((keys[at], values[at]), (expected, -expected));
                    assert_eq!(in_place.head(&shape, head).keys[at].to_f32(), expected);
                }
            }
        }
    }
}
