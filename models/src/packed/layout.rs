//! Where the numbers of a packed matrix lie.
//!
//! A matrix is cut into tiles of [`TILE_ROWS`] rows, a tile into blocks of [`BLOCK`] columns. Of every
//! [`CHUNK_BLOCKS`] blocks a tile holds the codes, then the scales: the order in which they are read, so that the
//! processor fetches them ahead. Nothing is rounded, and a tile has as many bytes as its rows have in the file, because
//! decoding takes as long as reading those bytes.
//!
//! **Codes.** The unit is a *group*: four columns of all sixteen rows, 64 codes, row by row, which is what one 8-bit
//! dot-product instruction of AVX-512 takes. A block has eight groups.
//!
//! * 8 bits: group after group.
//! * 4 bits: 64 bytes for two groups, the even one in the low halves of the bytes, the odd one in the high halves.
//! * 5 bits: as 4, then 64 bytes in which bit `g` of byte `i` is the fifth bit of code `i` of group `g`.
//! * 6 bits: as 4, then twice 64 bytes, of which the first holds two bits for each of groups 0 to 3, lowest first,
//!   and the second for groups 4 to 7.
//!
//! **Scales**, all `[16 rows]`, little-endian:
//!
//! * [`Scales::Block`]: for each block an f16 scale. A weight is `scale * (code - 2^offset)`.
//! * [`Scales::BlockAndMinimum`]: for each block an f16 scale, then an f16 minimum: `scale * code + minimum`.
//! * [`Scales::Nested`]: for each 8 blocks an f16 scale, an f16 scale of minimums, 8 bytes with the low four bits of
//!   each block's 6-bit factor and (high half) minimum, 4 bytes with the upper two bits of two blocks' factor and
//!   minimum each: `scale * factor * code - scale of minimums * minimum`.
//! * [`Scales::NestedHalves`]: for each 8 blocks an f16 scale, and for each half of a block a signed byte:
//!   `scale * factor * (code - 2^offset)`.

use candle_core::quantized::GgmlDType;

/// Rows of a tile: the 32-bit sums that an AVX-512 register holds.
pub(super) const TILE_ROWS: usize = 16;
/// Blocks unpacked at once: 512 columns, so that codes and as many columns of a panel of activations stay in the
/// first-level cache, also where two threads share it.
pub(super) const CHUNK_BLOCKS: usize = 16;
/// Columns of a block, the most that share a scale.
pub(super) const BLOCK: usize = 32;
/// Codes of a block of a tile.
pub(super) const BLOCK_CODES: usize = TILE_ROWS * BLOCK;
/// Codes of a group.
pub(super) const GROUP_CODES: usize = TILE_ROWS * 4;
/// Groups of a block.
pub(super) const GROUPS: usize = BLOCK / 4;
/// Blocks under one pair of scales where scales are nested.
pub(super) const NESTED_BLOCKS: usize = 8;

/// How codes become weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scales {
    /// A scale for 32 columns; codes have an offset.
    Block,
    /// A scale and a minimum for 32 columns.
    BlockAndMinimum,
    /// A factor and a minimum for 32 columns, scales of both for 256.
    Nested,
    /// A factor for 16 columns, its scale for 256; codes have an offset.
    NestedHalves,
}

/// The layout of a block format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bits of a code: 4, 5, 6 or 8.
    pub(super) bits: usize,
    /// What a code has too much, as a power of two, where there are no minimums.
    pub(super) offset: u32,
    pub(super) scales: Scales,
}

impl Layout {
    /// `None` for the formats that are not packed.
    pub(super) fn of(dtype: GgmlDType) -> Option<Self> {
        let (bits, offset, scales) = match dtype {
            GgmlDType::Q4_0 => (4, 3, Scales::Block),
            GgmlDType::Q5_0 => (5, 4, Scales::Block),
            GgmlDType::Q8_0 => (8, 7, Scales::Block),
            GgmlDType::Q4_1 => (4, 0, Scales::BlockAndMinimum),
            GgmlDType::Q5_1 => (5, 0, Scales::BlockAndMinimum),
            GgmlDType::Q4K => (4, 0, Scales::Nested),
            GgmlDType::Q5K => (5, 0, Scales::Nested),
            GgmlDType::Q6K => (6, 5, Scales::NestedHalves),
            _ => return None,
        };
        Some(Self {
            bits,
            offset,
            scales,
        })
    }

    /// Bytes of the codes of so many blocks of a tile.
    pub(super) fn code_bytes(self, blocks: usize) -> usize {
        blocks * BLOCK_CODES / 8 * self.bits
    }

    /// Bytes of the scales of so many blocks of a tile.
    pub(super) fn scale_bytes(self, blocks: usize) -> usize {
        let each = match self.scales {
            Scales::Block => 2 * blocks,
            Scales::BlockAndMinimum => 4 * blocks,
            Scales::Nested => blocks / NESTED_BLOCKS * (2 + 2 + 8 + 4),
            Scales::NestedHalves => blocks / NESTED_BLOCKS * (2 + 16),
        };
        TILE_ROWS * each
    }

    /// Bytes of so many blocks of a tile.
    pub(super) fn tile_bytes(self, blocks: usize) -> usize {
        self.code_bytes(blocks) + self.scale_bytes(blocks)
    }

    /// Columns of a block as the file has it.
    pub(super) fn file_block(self) -> usize {
        match self.scales {
            Scales::Block | Scales::BlockAndMinimum => BLOCK,
            Scales::Nested | Scales::NestedHalves => NESTED_BLOCKS * BLOCK,
        }
    }
}
