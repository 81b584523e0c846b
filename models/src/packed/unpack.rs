//! Tiles to what kernels multiply with: a byte for each code, an F32 for each scale.
//!
//! Plain loops over arrays, inlined into each level's functions and vectorised by the compiler for its instructions.

use super::layout::{
    BLOCK_CODES, CHUNK_BLOCKS, GROUP_CODES, GROUPS, Layout, NESTED_BLOCKS, Scales, TILE_ROWS,
};

/// A chunk of a tile, unpacked.
#[repr(C, align(64))]
pub(super) struct Unpacked {
    /// `[blocks][groups][16 rows][4 columns]`.
    pub(super) codes: [[u8; BLOCK_CODES]; CHUNK_BLOCKS],
    /// `[blocks][16 rows]`, or `[blocks][2 halves][16 rows]`.
    pub(super) scales: [[f32; TILE_ROWS]; 2 * CHUNK_BLOCKS],
    /// `[blocks][16 rows]`, where there are minimums.
    pub(super) minimums: [[f32; TILE_ROWS]; CHUNK_BLOCKS],
}

impl Unpacked {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            codes: [[0; BLOCK_CODES]; CHUNK_BLOCKS],
            scales: [[0.0; TILE_ROWS]; 2 * CHUNK_BLOCKS],
            minimums: [[0.0; TILE_ROWS]; CHUNK_BLOCKS],
        })
    }
}

/// Unpacks the codes and the scales of a chunk. Codes of 8 bits are multiplied where they lie.
#[inline(always)]
pub(super) fn unpack(layout: Layout, codes: &[u8], scales: &[u8], out: &mut Unpacked) {
    match layout.bits {
        4 => unfold::<4>(codes, &mut out.codes),
        5 => unfold::<5>(codes, &mut out.codes),
        6 => unfold::<6>(codes, &mut out.codes),
        _ => {}
    }
    match layout.scales {
        Scales::Block => {
            for (out, halves) in out.scales.iter_mut().zip(scales.as_chunks::<32>().0) {
                *out = singles(halves);
            }
        }
        Scales::BlockAndMinimum => {
            let outs = out.scales.iter_mut().zip(&mut out.minimums);
            for ((scale, minimum), halves) in outs.zip(scales.as_chunks::<64>().0) {
                *scale = singles(halves.first_chunk().unwrap_or(&[0; 32]));
                *minimum = singles(halves.last_chunk().unwrap_or(&[0; 32]));
            }
        }
        Scales::Nested => {
            let scales = scales.as_chunks::<{ 16 * TILE_ROWS }>().0;
            for (outer, packed) in scales.iter().enumerate() {
                let at = outer * NESTED_BLOCKS;
                nested(packed, &mut out.scales[at..], &mut out.minimums[at..]);
            }
        }
        Scales::NestedHalves => {
            let scales = scales.as_chunks::<{ 18 * TILE_ROWS }>().0;
            for (outer, packed) in scales.iter().enumerate() {
                let scale = singles(packed.first_chunk().unwrap_or(&[0; 32]));
                let factors = packed[2 * TILE_ROWS..].as_chunks::<TILE_ROWS>().0;
                let outs = &mut out.scales[outer * 2 * NESTED_BLOCKS..];
                for (out, factors) in outs.iter_mut().zip(factors) {
                    for row in 0..TILE_ROWS {
                        out[row] = scale[row] * f32::from(factors[row] as i8);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn unfold<const BITS: usize>(packed: &[u8], out: &mut [[u8; BLOCK_CODES]]) {
    for (packed, out) in packed.chunks_exact(BLOCK_CODES / 8 * BITS).zip(out) {
        let (low, high) = packed.split_at(BLOCK_CODES / 2);
        let low = low.as_chunks::<GROUP_CODES>().0;
        let high = high.as_chunks::<GROUP_CODES>().0;
        let out = out.as_chunks_mut::<GROUP_CODES>().0;
        for group in 0..GROUPS {
            let low = &low[group / 2];
            let out = &mut out[group];
            match BITS {
                5 => {
                    for i in 0..GROUP_CODES {
                        let fifth = (high[0][i] >> group & 1) << 4;
                        out[i] = low[i] >> (group % 2 * 4) & 15 | fifth;
                    }
                }
                6 => {
                    for i in 0..GROUP_CODES {
                        let upper = (high[group / 4][i] >> (group % 4 * 2) & 3) << 4;
                        out[i] = low[i] >> (group % 2 * 4) & 15 | upper;
                    }
                }
                _ => {
                    for i in 0..GROUP_CODES {
                        out[i] = low[i] >> (group % 2 * 4) & 15;
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn nested(
    packed: &[u8; 16 * TILE_ROWS],
    scales: &mut [[f32; TILE_ROWS]],
    minimums: &mut [[f32; TILE_ROWS]],
) {
    let scale = singles(packed.first_chunk().unwrap_or(&[0; 32]));
    let scale_of_minimums = singles(packed[32..].first_chunk().unwrap_or(&[0; 32]));
    let (low, high) = packed[4 * TILE_ROWS..].split_at(NESTED_BLOCKS * TILE_ROWS);
    let low = low.as_chunks::<TILE_ROWS>().0;
    let high = high.as_chunks::<TILE_ROWS>().0;
    for (block, low) in low.iter().enumerate() {
        for row in 0..TILE_ROWS {
            let upper = high[block / 2][row] >> (block % 2 * 4);
            let factor = low[row] & 15 | (upper & 3) << 4;
            let minimum = low[row] >> 4 | (upper >> 2 & 3) << 4;
            scales[block][row] = scale[row] * f32::from(factor);
            minimums[block][row] = -(scale_of_minimums[row] * f32::from(minimum));
        }
    }
}

/// Sixteen little-endian f16 as F32, exactly, infinities and NaN among them.
#[inline(always)]
fn singles(halves: &[u8; 2 * TILE_ROWS]) -> [f32; TILE_ROWS] {
    /// 2^112, the difference of the exponents' biases.
    const REBIAS: f32 = f32::from_bits((112 + 127) << 23);
    let halves = halves.as_chunks::<2>().0;
    let mut out = [0.0; TILE_ROWS];
    for row in 0..TILE_ROWS {
        let half = u32::from(u16::from_le_bytes(halves[row]));
        let magnitude = half & 0x7fff;
        let finite = (f32::from_bits(magnitude << 13) * REBIAS).to_bits();
        let special = magnitude << 13 | 0x7f80_0000;
        let bits = if magnitude < 0x7c00 { finite } else { special };
        out[row] = f32::from_bits(bits | (half & 0x8000) << 16);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    #[test]
    fn every_half_is_its_single() {
        for bits in 0..=u16::MAX {
            let expected = f16::from_bits(bits).to_f32();
            let mut halves = [0; 2 * TILE_ROWS];
            halves[2..4].copy_from_slice(&bits.to_le_bytes());
            let single = singles(&halves)[1];
            assert!(
                single.to_bits() == expected.to_bits() || single.is_nan() && expected.is_nan(),
                "{bits:04x}: {single} for {expected}"
            );
        }
    }
}
