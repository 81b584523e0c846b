//! The bytes of a block.
//!
//! A block is a header followed by `layers` parts of equal size (the format says how large and what is in them), all
//! multiples of 64 bytes, so every part begins on a cache line of the page-aligned map. Numbers are little-endian.
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | magic `LKVBLK01` |
//! | 8 | 4 | index of the block, from 0 |
//! | 12 | 2 | tokens in it, 1 to 64; less than 64 only in the last block |
//! | 14 | 1 | blocks before it that were computed in one pass with it |
//! | 15 | 1 | blocks of that pass; 0 where that is not said |
//! | 16 | 4 | format of the parts |
//! | 20 | 4 | index of the first block of the append that wrote it |
//! | 24 | 4 | layers |
//! | 28 | 4 | index of the block from which on its tokens looked at all that stands before them, beside the opening; 0 of a text read whole |
//! | 32 | 8 | bytes of one part |
//! | 40 | 8 | hash of the cache's identity |
//! | 48 | 8 | chained hash of all token ids up to the end of this block |
//! | 56 | 8 | xxh3 of the header without these 8 bytes |
//! | 64 | 256 | token ids, 0 beyond the last |
//! | 320 | 8 a layer | xxh3 of each part |
//!
//! then zeros to the next multiple of 64.
//!
//! **A thinned block** ([`super::Kept`]) has [`THINNED`] added to its format. Behind its header stands for each layer and
//! key/value head which of the 64 tokens that head keeps, 8 bytes each, and zeros to the next multiple of 64; the header's
//! hash is over these too. Its parts are as large as their heads keep tokens, one right behind the other, with zeros to the next
//! multiple of 64 behind the last; what a header says of one part is said of all of them together.

use super::{BLOCK_TOKENS, KvShape};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const MAGIC: [u8; 8] = *b"LKVBLK01";
const FORMAT_AT: usize = 16;
const HASH_AT: usize = 56;
const TOKENS_AT: usize = 64;
const CHECKSUMS_AT: usize = TOKENS_AT + BLOCK_TOKENS * 4;

/// Alignment of everything in a block file.
pub const ALIGNMENT: usize = 64;

/// In a block's number of a format: its heads have lost tokens.
pub const THINNED: u32 = 1 << 8;

/// Header of one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHeader {
    /// Place in the file, from 0.
    pub index: u32,
    /// Format of the parts.
    pub format: u32,
    /// First block of the append that wrote this one: what may be torn together.
    pub append_start: u32,
    /// Which blocks were computed in one pass with it.
    pub pass: Pass,
    /// First block of the run that its tokens looked at, itself the last of it; 0 if that was everything before them. Where it
    /// is another, they looked at the opening of the cache and at nothing else.
    pub looked_at_from: u32,
    /// Bytes of one layer's part; of a thinned block those of all parts, with what fills them up.
    pub part_bytes: u64,
    /// [`super::CacheIdentity::hash`].
    pub identity: u64,
    /// [`chain`] up to and with this block.
    pub chain: u64,
    /// Ids of its tokens, 1 to 64 of them.
    pub tokens: Vec<u32>,
    /// xxh3 of each layer's part.
    pub checksums: Vec<u64>,
    /// Of a thinned block, `[layer][kv_head]`: the tokens that the head keeps, a bit each, the first token lowest.
    pub kept: Option<Box<[u64]>>,
}

/// The blocks that a model computed in one go: their tokens looked at each other before anything was rounded to codes, so whoever wants
/// the same bytes again has to compute the same blocks together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// How many of them stand before this one.
    pub before: u8,
    /// How many there are.
    pub blocks: u8,
}

impl Pass {
    /// What passes were before headers said it, from the beginning of the text or of its segment on: 256 tokens.
    const UNSAID: u8 = 4;

    /// That of block `nth` of `blocks`; not said of more than 255.
    pub fn of(nth: usize, blocks: usize) -> Pass {
        match u8::try_from(blocks) {
            Ok(blocks) => Pass {
                before: nth as u8,
                blocks,
            },
            Err(_) => Pass {
                before: 0,
                blocks: 0,
            },
        }
    }

    fn decode(before: u8, blocks: u8, block_of_text: u32) -> Pass {
        match blocks {
            0 => Pass {
                before: (block_of_text % u32::from(Pass::UNSAID)) as u8,
                blocks: Pass::UNSAID,
            },
            _ => Pass { before, blocks },
        }
    }
}

/// Chained hash of token ids: that of everything before, then these.
pub fn chain(before: u64, tokens: &[u32]) -> u64 {
    let mut hash = Xxh3::with_seed(before);
    for token in tokens {
        hash.update(&token.to_le_bytes());
    }
    hash.digest()
}

/// Bytes of a header for a model with that many layers, without what a thinned block says behind it.
pub fn header_bytes(layers: usize) -> usize {
    (CHECKSUMS_AT + 8 * layers).next_multiple_of(ALIGNMENT)
}

/// Bytes of what a thinned block says of its heads.
fn kept_bytes(shape: &KvShape) -> usize {
    (8 * shape.layers * shape.kv_heads).next_multiple_of(ALIGNMENT)
}

impl BlockHeader {
    /// What `heads` key/value heads of a layer keep, a mask each; `None` if nothing was left out of the block.
    pub fn kept_of(&self, layer: usize, heads: usize) -> Option<&[u64]> {
        self.kept.as_ref()?.get(layer * heads..(layer + 1) * heads)
    }

    /// Bytes of the header that begins with these [`header_bytes`] bytes, whatever they are.
    pub fn length(begins: &[u8], shape: &KvShape) -> usize {
        match u32_at(begins, FORMAT_AT) & THINNED {
            0 => begins.len(),
            _ => begins.len() + kept_bytes(shape),
        }
    }

    /// Bytes of this header.
    pub fn bytes(&self) -> usize {
        let kept = self.kept.as_ref().map_or(0, |kept| 8 * kept.len());
        header_bytes(self.checksums.len()) + kept.next_multiple_of(ALIGNMENT)
    }

    /// Bytes of the whole block.
    pub fn block_bytes(&self) -> u64 {
        let parts = match &self.kept {
            Some(_) => 1,
            None => self.checksums.len() as u64,
        };
        self.bytes() as u64 + self.part_bytes * parts
    }

    /// The header as it stands in the file.
    pub fn encode(&self) -> Vec<u8> {
        let layers = self.checksums.len();
        let mut bytes = vec![0; self.bytes()];
        let thinned = self.kept.as_ref().map_or(0, |_| THINNED);
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.index.to_le_bytes());
        bytes[12..14].copy_from_slice(&(self.tokens.len() as u16).to_le_bytes());
        bytes[14] = self.pass.before;
        bytes[15] = self.pass.blocks;
        bytes[FORMAT_AT..20].copy_from_slice(&(self.format | thinned).to_le_bytes());
        bytes[20..24].copy_from_slice(&self.append_start.to_le_bytes());
        bytes[24..28].copy_from_slice(&(layers as u32).to_le_bytes());
        bytes[28..32].copy_from_slice(&self.looked_at_from.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.part_bytes.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.identity.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.chain.to_le_bytes());
        for (slot, token) in bytes[TOKENS_AT..CHECKSUMS_AT]
            .chunks_exact_mut(4)
            .zip(&self.tokens)
        {
            slot.copy_from_slice(&token.to_le_bytes());
        }
        let (fixed, behind) = bytes.split_at_mut(header_bytes(layers));
        let checksums = (&mut fixed[CHECKSUMS_AT..], &self.checksums[..]);
        for (slots, words) in [checksums, (behind, self.kept.as_deref().unwrap_or(&[]))] {
            for (slot, word) in slots.chunks_exact_mut(8).zip(words) {
                slot.copy_from_slice(&word.to_le_bytes());
            }
        }
        let hash = own_hash(&bytes);
        bytes[HASH_AT..TOKENS_AT].copy_from_slice(&hash.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` if the bytes are not a whole and undamaged one of a model of this shape.
    pub fn decode(bytes: &[u8], shape: &KvShape) -> Option<BlockHeader> {
        let layers = shape.layers;
        let fixed = bytes.get(..header_bytes(layers))?;
        if bytes.len() != BlockHeader::length(fixed, shape) || bytes[0..8] != MAGIC {
            return None;
        }
        let u64_at =
            |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|i| bytes[at + i]));
        let u32_at = |at: usize| u32_at(bytes, at);
        if u64_at(HASH_AT) != own_hash(bytes) || u32_at(24) as usize != layers {
            return None;
        }
        let count = usize::from(u16::from_le_bytes([bytes[12], bytes[13]]));
        if count == 0 || count > BLOCK_TOKENS {
            return None;
        }
        let words = |at: usize, count: usize| (0..count).map(move |i| u64_at(at + 8 * i));
        let is_thinned = bytes.len() > fixed.len();
        let (index, looked_at_from) = (u32_at(8), u32_at(28));
        Some(BlockHeader {
            index,
            format: u32_at(FORMAT_AT) & !THINNED,
            append_start: u32_at(20),
            pass: Pass::decode(bytes[14], bytes[15], index.saturating_sub(looked_at_from)),
            looked_at_from,
            part_bytes: u64_at(32),
            identity: u64_at(40),
            chain: u64_at(48),
            tokens: (0..count).map(|i| u32_at(TOKENS_AT + 4 * i)).collect(),
            checksums: words(CHECKSUMS_AT, layers).collect(),
            kept: is_thinned.then(|| words(fixed.len(), layers * shape.kv_heads).collect()),
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]))
}

fn own_hash(bytes: &[u8]) -> u64 {
    xxh3_64(&[&bytes[..HASH_AT], &bytes[TOKENS_AT..]].concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHAPE: KvShape = KvShape {
        layers: 3,
        kv_heads: 2,
        head_dim: 4,
    };

    fn header() -> BlockHeader {
        BlockHeader {
            index: 3,
            format: 1,
            append_start: 2,
            pass: Pass::of(1, 3),
            looked_at_from: 1,
            part_bytes: 4096,
            identity: 11,
            chain: chain(5, &[1, 2, 3]),
            tokens: vec![1, 2, 3],
            checksums: vec![8, 9, 10],
            kept: None,
        }
    }

    fn thinned() -> BlockHeader {
        BlockHeader {
            kept: Some([1, 2, 3, u64::MAX, 5, 0].into()),
            ..header()
        }
    }

    #[test]
    fn a_header_comes_back_as_it_was() {
        for header in [header(), thinned()] {
            let bytes = header.encode();
            assert_eq!(bytes.len() % ALIGNMENT, 0);
            assert_eq!(bytes.len(), header.bytes());
            let fixed = &bytes[..header_bytes(3)];
            assert_eq!(BlockHeader::length(fixed, &SHAPE), bytes.len());
            assert_eq!(BlockHeader::decode(&bytes, &SHAPE), Some(header));
            let layers = 2;
            assert_eq!(
                BlockHeader::decode(&bytes, &KvShape { layers, ..SHAPE }),
                None
            );
        }
    }

    #[test]
    fn where_no_pass_is_said_it_had_four_blocks() {
        for (index, looked_at_from, before) in [(7, 0, 3), (8, 0, 0), (8, 3, 1), (3, 3, 0)] {
            let header = BlockHeader {
                index,
                looked_at_from,
                pass: Pass::of(0, 256),
                ..header()
            };
            let decoded = BlockHeader::decode(&header.encode(), &SHAPE).unwrap();
            assert_eq!(decoded.pass, Pass { before, blocks: 4 });
        }
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        for bytes in [header().encode(), thinned().encode()] {
            for at in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[at / 8] ^= 1 << (at % 8);
                assert_eq!(BlockHeader::decode(&flipped, &SHAPE), None, "bit {at}");
            }
        }
    }

    #[test]
    fn the_chain_depends_on_order_and_past() {
        assert_ne!(chain(0, &[1, 2]), chain(0, &[2, 1]));
        assert_ne!(chain(0, &[1, 2]), chain(1, &[1, 2]));
    }
}
