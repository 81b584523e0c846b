//! A part of which heads have lost tokens: the codes of those that each head keeps, close together.
//!
//! For each key/value head that keeps some, one after the other:
//!
//! | bytes | |
//! |---|---|
//! | 2 or 4 a channel | grid of the channel |
//! | `key_bits / 8` a token and channel, whole bytes a channel | its keys, of the tokens that stay, in order |
//! | 2 or 4 a token and group | grids of the values of the tokens that stay |
//! | `4 * value_bits` a token and run | these values |
//!
//! The codes are those of the full part, so what stays is what it was to the last bit. Attention wants 64 places a block:
//! [`spread`] puts the codes back to their places, with zeros in those between, which attention leaves out by the masks.

use super::codes::Places;
use super::packing::RUN;
use super::{BlockFormat, VALUE_GROUP, grid_bytes};
use crate::kv::{BLOCK_TOKENS, KvShape};

/// Where the bytes of a token's values, grids and codes, stand among those of its head, `[64]` of each.
struct Sizes {
    key_grids: usize,
    /// Bits of a key's code: 4 or 8.
    key_bits: usize,
    value_grids: usize,
    value_codes: usize,
}

impl Sizes {
    fn of(shape: &KvShape, (key_bits, value_bits): (usize, usize)) -> Sizes {
        let groups = shape.head_dim.div_ceil(VALUE_GROUP);
        Sizes {
            key_grids: grid_bytes(key_bits) * shape.head_dim,
            key_bits,
            value_grids: grid_bytes(value_bits) * groups,
            value_codes: groups * (VALUE_GROUP / RUN) * super::packing::run_bytes(value_bits),
        }
    }

    /// Bytes of a channel's keys of so many tokens.
    fn keys(&self, tokens: usize) -> usize {
        (tokens * self.key_bits).div_ceil(8)
    }

    /// Bytes of a head that keeps so many tokens.
    fn head(&self, head_dim: usize, tokens: usize) -> usize {
        match tokens {
            0 => 0,
            _ => {
                self.key_grids
                    + head_dim * self.keys(tokens)
                    + tokens * (self.value_grids + self.value_codes)
            }
        }
    }
}

/// The places of the bits that are set, ascending.
fn places_in(mask: u64) -> impl Iterator<Item = usize> + Clone {
    (0..BLOCK_TOKENS).filter(move |place| mask >> place & 1 == 1)
}

impl BlockFormat {
    /// Whether parts of this format can lose tokens: those of codes that share no byte with more than one other.
    pub fn can_be_thinned(self) -> bool {
        matches!(self.bits(), Some((4 | 8, _)))
    }

    /// Bytes of a part whose heads keep the tokens of these masks, one a key/value head.
    pub(in crate::kv) fn thin_bytes(self, shape: &KvShape, kept: &[u64]) -> usize {
        let Some(bits) = self.bits() else { return 0 };
        let sizes = Sizes::of(shape, bits);
        let tokens = kept.iter().map(|mask| mask.count_ones() as usize);
        tokens
            .map(|tokens| sizes.head(shape.head_dim, tokens))
            .sum()
    }

    /// Appends what heads keep of a full `part` to `thin`.
    pub(in crate::kv) fn thin(
        self,
        shape: &KvShape,
        part: &[u8],
        kept: &[u64],
        thin: &mut Vec<u8>,
    ) {
        let Some(bits) = self.bits() else { return };
        let sizes = Sizes::of(shape, bits);
        for (kv_head, &mask) in kept.iter().enumerate().filter(|(_, mask)| **mask != 0) {
            let places = Places::of(shape, bits.0, bits.1, kv_head);
            thin.extend_from_slice(&part[places.key_grids]);
            let keys = &part[places.keys];
            for channel in keys.chunks_exact(BLOCK_TOKENS * sizes.key_bits / 8) {
                let codes = places_in(mask).map(|place| code(sizes.key_bits, channel, place));
                match sizes.key_bits {
                    8 => thin.extend(codes),
                    _ => {
                        let mut codes = codes;
                        while let Some(low) = codes.next() {
                            thin.push(low | codes.next().unwrap_or(0) << 4);
                        }
                    }
                }
            }
            for (bytes, each) in [
                (&part[places.value_grids], sizes.value_grids),
                (&part[places.values], sizes.value_codes),
            ] {
                for place in places_in(mask) {
                    thin.extend_from_slice(&bytes[place * each..(place + 1) * each]);
                }
            }
        }
    }

    /// Puts what heads keep back to its places in a full `part`, which is zeroed. `thin` is [`BlockFormat::thin_bytes`] long.
    pub(in crate::kv) fn spread(
        self,
        shape: &KvShape,
        mut thin: &[u8],
        kept: &[u64],
        part: &mut [u8],
    ) {
        let Some(bits) = self.bits() else { return };
        let sizes = Sizes::of(shape, bits);
        let mut take = |bytes: usize| {
            let (taken, rest) = thin.split_at(bytes);
            thin = rest;
            taken
        };
        for (kv_head, &mask) in kept.iter().enumerate().filter(|(_, mask)| **mask != 0) {
            let places = Places::of(shape, bits.0, bits.1, kv_head);
            let mut list = [0; BLOCK_TOKENS];
            let tokens = mask.count_ones() as usize;
            for (slot, place) in list.iter_mut().zip(places_in(mask)) {
                *slot = place;
            }
            let list = &list[..tokens];
            part[places.key_grids.clone()].copy_from_slice(take(sizes.key_grids));
            let keys = part[places.keys].chunks_exact_mut(BLOCK_TOKENS * sizes.key_bits / 8);
            for channel in keys {
                let codes = take(sizes.keys(tokens));
                match sizes.key_bits {
                    8 => {
                        for (place, code) in list.iter().zip(codes) {
                            channel[*place] = *code;
                        }
                    }
                    _ => {
                        for (pair, codes) in list.chunks(2).zip(codes) {
                            put_nibble(channel, pair[0], codes & 15);
                            if let Some(second) = pair.get(1) {
                                put_nibble(channel, *second, codes >> 4);
                            }
                        }
                    }
                }
            }
            for (bytes, each) in [
                (places.value_grids, sizes.value_grids),
                (places.values, sizes.value_codes),
            ] {
                let bytes = &mut part[bytes];
                for place in list {
                    bytes[place * each..(place + 1) * each].copy_from_slice(take(each));
                }
            }
        }
    }
}

/// The byte of a channel's keys that holds the 4-bit code of a place, and how far up (see [`super::packing`]).
fn nibble_at(place: usize) -> (usize, usize) {
    (
        place / RUN * (RUN / 2) + place % (RUN / 2),
        4 * (place % RUN / (RUN / 2)),
    )
}

fn code(bits: usize, channel: &[u8], place: usize) -> u8 {
    match bits {
        8 => channel[place],
        _ => {
            let (byte, up) = nibble_at(place);
            channel[byte] >> up & 15
        }
    }
}

fn put_nibble(channel: &mut [u8], place: usize, code: u8) {
    let (byte, up) = nibble_at(place);
    channel[byte] |= code << up;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::OpenBlock;
    use crate::kv::format::decode_head;
    use proptest::prelude::*;

    /// A full part in which everything differs.
    fn part(format: BlockFormat, shape: &KvShape) -> Vec<u8> {
        let mut block = OpenBlock::new(*shape);
        let row = shape.kv_heads * shape.head_dim;
        for slot in 0..BLOCK_TOKENS {
            let number = |at: usize| ((slot * row + at) * 7919 % 1009) as f32 / 100.0;
            let keys: Vec<f32> = (0..row).map(number).collect();
            let values: Vec<f32> = (row..2 * row).map(number).collect();
            block.put(0, slot, &keys, &values);
        }
        let mut part = vec![0; format.part_bytes(shape)];
        format.encode(shape, &block, 0, BLOCK_TOKENS, &mut part);
        part
    }

    proptest! {
        /// What stays is what it was to the last bit, at its place, whatever goes; what everything stays of is the full part.
        #[test]
        fn what_stays_comes_back_to_its_place(
            masks in proptest::collection::vec(
                prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), (0..64u64).prop_map(|at| 1 << at)], 1..4),
            head_dim in prop_oneof![Just(33usize), Just(64), Just(80)],
            format in prop_oneof![Just(BlockFormat::K4V4), Just(BlockFormat::K8V4), Just(BlockFormat::K8V8)],
        ) {
            let shape = KvShape { layers: 1, kv_heads: masks.len(), head_dim };
            let full = part(format, &shape);
            let mut thin = Vec::new();
            format.thin(&shape, &full, &masks, &mut thin);
            prop_assert_eq!(thin.len(), format.thin_bytes(&shape, &masks));
            let mut spread = vec![0; full.len()];
            format.spread(&shape, &thin, &masks, &mut spread);
            if masks.iter().all(|mask| *mask == u64::MAX) {
                prop_assert_eq!(&spread, &full);
            }
            for (kv_head, mask) in masks.iter().enumerate() {
                let (keys, values) = decode_head(&shape, &format.part(&shape, &spread), kv_head);
                let (all_keys, all_values) = decode_head(&shape, &format.part(&shape, &full), kv_head);
                for place in places_in(*mask) {
                    let row = place * head_dim..(place + 1) * head_dim;
                    prop_assert_eq!(&keys[row.clone()], &all_keys[row.clone()]);
                    prop_assert_eq!(&values[row.clone()], &all_values[row]);
                }
            }
        }
    }

    #[test]
    fn half_of_the_tokens_take_little_more_than_half() {
        let shape = KvShape {
            layers: 1,
            kv_heads: 2,
            head_dim: 64,
        };
        let format = BlockFormat::K4V4;
        let half = format.thin_bytes(&shape, &[0x5555_5555_5555_5555; 2]) as f64;
        assert!(half / (format.part_bytes(&shape) as f64) < 0.52);
        assert_eq!(format.thin_bytes(&shape, &[0, 0]), 0);
        assert!(!BlockFormat::F16.can_be_thinned() && !BlockFormat::K3V4.can_be_thinned());
    }
}
