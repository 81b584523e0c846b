//! A few rows of activations with a tile as it is packed: codes are unpacked in registers, between the load and the
//! `vpdpbusd`, and nothing is written but the totals.
//!
//! A block of sixteen rows and 32 columns is 4 to 8 loads of 64 bytes; for each of its eight groups codes of 4 bits
//! cost one or two instructions, codes of 5 and 6 bits three or four, and each row of activations one dot product. So
//! for one row, decoding, the loads of weights are what takes the time; with more rows than [`ROWS`] sums no longer
//! stay in registers beside that, and [`super::avx512`] takes over.

use std::arch::x86_64::*;

use super::{Panel, check_packed};
use crate::packed::layout::{
    BLOCK, CHUNK_BLOCKS, GROUP_CODES, GROUPS, Layout, NESTED_BLOCKS, Scales, TILE_ROWS,
};

/// Most rows of activations.
pub(super) const ROWS: usize = 4;

/// How far ahead of the loads weights are asked for, in bytes: more than a chunk has, because its scales, which stand at
/// its end, are needed at its beginning; the processor by itself does not look beyond a page.
const AHEAD: usize = 12 << 10;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn multiply(
    layout: Layout,
    tile: &[u8],
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    check_packed(layout, tile, panel, totals);
    match panel.rows {
        1 => by_layout::<1>(layout, tile, panel, totals),
        2 => by_layout::<2>(layout, tile, panel, totals),
        3 => by_layout::<3>(layout, tile, panel, totals),
        4 => by_layout::<4>(layout, tile, panel, totals),
        rows => unreachable!("at most four rows are multiplied with packed weights, not {rows}"),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn by_layout<const ROWS: usize>(
    layout: Layout,
    tile: &[u8],
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    // Functions that need features are no `Fn`; closures inside of one that has them are.
    match (layout.scales, layout.bits) {
        (Scales::Block, bits) => {
            let scales = |scales: &[u8], block| block_scales(scales, block);
            match bits {
                4 => whole_tile::<ROWS, 4, 1>(layout, tile, panel, totals, scales),
                5 => whole_tile::<ROWS, 5, 1>(layout, tile, panel, totals, scales),
                _ => whole_tile::<ROWS, 8, 1>(layout, tile, panel, totals, scales),
            }
        }
        (Scales::BlockAndMinimum, bits) => {
            let scales = |scales: &[u8], block| block_minimums(scales, block);
            match bits {
                4 => whole_tile::<ROWS, 4, 1>(layout, tile, panel, totals, scales),
                _ => whole_tile::<ROWS, 5, 1>(layout, tile, panel, totals, scales),
            }
        }
        (Scales::Nested, bits) => {
            let scales = |scales: &[u8], block| nested(scales, block);
            match bits {
                4 => whole_tile::<ROWS, 4, 1>(layout, tile, panel, totals, scales),
                _ => whole_tile::<ROWS, 5, 1>(layout, tile, panel, totals, scales),
            }
        }
        (Scales::NestedHalves, _) => {
            let scales = |scales: &[u8], block| nested_halves(scales, block);
            whole_tile::<ROWS, 6, 2>(layout, tile, panel, totals, scales);
        }
    }
}

/// Scales of the parts of a block, then its minimums if it has any.
type BlockScales<const PARTS: usize> = ([__m512; PARTS], Option<__m512>);

/// `PARTS` of a block have scales of their own; `scales_of` takes those of a block out of those of its chunk.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn whole_tile<const ROWS: usize, const BITS: usize, const PARTS: usize>(
    layout: Layout,
    tile: &[u8],
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
    scales_of: impl Fn(&[u8], usize) -> BlockScales<PARTS>,
) {
    let mut running = [_mm512_setzero_ps(); ROWS];
    for (running, total) in running.iter_mut().zip(&*totals) {
        // SAFETY: sixteen numbers.
        *running = unsafe { _mm512_loadu_ps(total.as_ptr()) };
    }
    let blocks = panel.blocks();
    for start in (0..blocks).step_by(CHUNK_BLOCKS) {
        let count = CHUNK_BLOCKS.min(blocks - start);
        let chunk = &tile[layout.tile_bytes(start)..][..layout.tile_bytes(count)];
        let (codes, scales) = chunk.split_at(layout.code_bytes(count));
        for (nth, codes) in codes.chunks_exact(BITS * GROUP_CODES).enumerate() {
            // A line more than its codes are: those of the chunk's scales, which are at most as many.
            let ahead = chunk.as_ptr().wrapping_add(AHEAD + nth * (BITS + 1) * 64);
            for line in 0..=BITS {
                _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(line * 64).cast());
            }
            let block = start + nth;
            let activations = &panel.codes[block * ROWS * BLOCK..][..ROWS * BLOCK];
            let corrections = &panel.corrections[block * PARTS * ROWS..][..PARTS * ROWS];
            let (scales, minimums) = scales_of(scales, nth);
            let mut sums = [[_mm512_setzero_si512(); ROWS]; PARTS];
            if minimums.is_none() {
                for (part, sums) in sums.iter_mut().enumerate() {
                    for (row, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_set1_epi32(corrections[part * ROWS + row]);
                    }
                }
            }
            two_groups::<ROWS, BITS, PARTS, 0>(codes, activations, &mut sums);
            two_groups::<ROWS, BITS, PARTS, 1>(codes, activations, &mut sums);
            two_groups::<ROWS, BITS, PARTS, 2>(codes, activations, &mut sums);
            two_groups::<ROWS, BITS, PARTS, 3>(codes, activations, &mut sums);
            for (sums, scales) in sums.into_iter().zip(scales) {
                for row in 0..ROWS {
                    let mut product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[row]), scales);
                    if let Some(minimums) = minimums {
                        let sum = _mm512_set1_ps(corrections[row] as f32);
                        product = _mm512_add_ps(product, _mm512_mul_ps(sum, minimums));
                    }
                    let scale = _mm512_set1_ps(panel.scales[block * ROWS + row]);
                    running[row] = _mm512_add_ps(running[row], _mm512_mul_ps(product, scale));
                }
            }
        }
    }
    for (total, running) in totals.iter_mut().zip(running) {
        // SAFETY: sixteen numbers.
        unsafe { _mm512_storeu_ps(total.as_mut_ptr(), running) };
    }
}

/// Adds the products of groups `2 * PAIR` and `2 * PAIR + 1` of a block to the sums of their part.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn two_groups<const ROWS: usize, const BITS: usize, const PARTS: usize, const PAIR: usize>(
    codes: &[u8],
    activations: &[i8],
    sums: &mut [[__m512i; ROWS]; PARTS],
) {
    let line = |nth: usize| {
        let line = &codes[nth * GROUP_CODES..][..GROUP_CODES];
        // SAFETY: 64 bytes.
        unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
    };
    let groups = if BITS == 8 {
        [line(2 * PAIR), line(2 * PAIR + 1)]
    } else {
        let low = line(PAIR);
        let high = match BITS {
            5 => line(4),
            6 => line(4 + PAIR / 2),
            _ => _mm512_setzero_si512(),
        };
        let upper = upper_bits::<BITS, PAIR>(high);
        let shifted = _mm512_srli_epi16::<4>(low);
        let whole = |low, upper| {
            if BITS == 4 {
                _mm512_and_si512(low, _mm512_set1_epi8(15))
            } else {
                // The low four bits of the first, the others of the second; then without those too many.
                let both = _mm512_ternarylogic_epi32::<0xca>(_mm512_set1_epi8(15), low, upper);
                _mm512_and_si512(both, _mm512_set1_epi8((1 << BITS) - 1))
            }
        };
        [whole(low, upper[0]), whole(shifted, upper[1])]
    };
    let sums = &mut sums[PAIR * 2 / (GROUPS / PARTS)];
    let fours = activations.as_chunks::<4>().0;
    for (nth, codes) in groups.into_iter().enumerate() {
        for (row, sum) in sums.iter_mut().enumerate() {
            let four = i32::from_ne_bytes(fours[row * GROUPS + 2 * PAIR + nth].map(|x| x as u8));
            *sum = _mm512_dpbusd_epi32(*sum, codes, _mm512_set1_epi32(four));
        }
    }
}

/// The bits above the fourth of both groups, moved to where they belong; what stands around them is anything.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn upper_bits<const BITS: usize, const PAIR: usize>(high: __m512i) -> [__m512i; 2] {
    match (BITS, PAIR) {
        (5, 0) => [_mm512_slli_epi16::<4>(high), _mm512_slli_epi16::<3>(high)],
        (5, 1) => [_mm512_slli_epi16::<2>(high), _mm512_slli_epi16::<1>(high)],
        (5, 2) => [high, _mm512_srli_epi16::<1>(high)],
        (5, _) => [_mm512_srli_epi16::<2>(high), _mm512_srli_epi16::<3>(high)],
        (6, 0 | 2) => [_mm512_slli_epi16::<4>(high), _mm512_slli_epi16::<2>(high)],
        (6, _) => [high, _mm512_srli_epi16::<2>(high)],
        _ => [high; 2],
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn block_scales(scales: &[u8], block: usize) -> BlockScales<1> {
    ([singles(&scales[block * 2 * TILE_ROWS..])], None)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn block_minimums(scales: &[u8], block: usize) -> BlockScales<1> {
    let scales = &scales[block * 4 * TILE_ROWS..];
    ([singles(scales)], Some(singles(&scales[2 * TILE_ROWS..])))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn nested(scales: &[u8], block: usize) -> BlockScales<1> {
    let (outer, block) = (block / NESTED_BLOCKS, block % NESTED_BLOCKS);
    let scales = &scales[outer * 16 * TILE_ROWS..][..16 * TILE_ROWS];
    let (scale, scale_of_minimums) = (singles(scales), singles(&scales[2 * TILE_ROWS..]));
    let (low, high) = scales[4 * TILE_ROWS..].split_at(NESTED_BLOCKS * TILE_ROWS);
    let low = sixteen(&low[block * TILE_ROWS..]);
    let high = sixteen(&high[block / 2 * TILE_ROWS..]);
    let high = if block % 2 == 1 {
        _mm_srli_epi16::<4>(high)
    } else {
        high
    };
    let fifteen = _mm_set1_epi8(15);
    let above = _mm_set1_epi8(0x30);
    let factor = _mm_or_si128(
        _mm_and_si128(low, fifteen),
        _mm_and_si128(_mm_slli_epi16::<4>(high), above),
    );
    let minimum = _mm_or_si128(
        _mm_and_si128(_mm_srli_epi16::<4>(low), fifteen),
        _mm_and_si128(_mm_slli_epi16::<2>(high), above),
    );
    let single = |bytes| _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
    let minimums = _mm512_mul_ps(scale_of_minimums, single(minimum));
    let sign = _mm512_set1_epi32(i32::MIN);
    let minimums = _mm512_xor_si512(_mm512_castps_si512(minimums), sign);
    (
        [_mm512_mul_ps(scale, single(factor))],
        Some(_mm512_castsi512_ps(minimums)),
    )
}

#[inline]
#[target_feature(enable = "avx512f")]
fn nested_halves(scales: &[u8], block: usize) -> BlockScales<2> {
    let (outer, block) = (block / NESTED_BLOCKS, block % NESTED_BLOCKS);
    let scales = &scales[outer * 18 * TILE_ROWS..][..18 * TILE_ROWS];
    let scale = singles(scales);
    let half = |half: usize| {
        let factors = sixteen(&scales[(2 + 2 * block + half) * TILE_ROWS..]);
        _mm512_mul_ps(scale, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(factors)))
    };
    ([half(0), half(1)], None)
}

/// Sixteen little-endian f16 from the front of some bytes as F32.
#[inline]
#[target_feature(enable = "avx512f")]
fn singles(halves: &[u8]) -> __m512 {
    let halves = &halves[..2 * TILE_ROWS];
    // SAFETY: 32 bytes.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(halves.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn sixteen(bytes: &[u8]) -> __m128i {
    let bytes = &bytes[..TILE_ROWS];
    // SAFETY: 16 bytes.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}
