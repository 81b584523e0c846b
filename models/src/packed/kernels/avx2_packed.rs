//! A few rows of activations with a tile as it is packed, in vectors of 256 bits: as [`super::avx512_packed`], rows 0
//! to 7 of a block after rows 8 to 15, for any [`Dot`].

use std::arch::x86_64::*;

use super::dot::Dot;
use super::{Panel, check_packed};
use crate::packed::layout::{
    BLOCK, CHUNK_BLOCKS, GROUP_CODES, GROUPS, Layout, NESTED_BLOCKS, Scales, TILE_ROWS,
};

/// Most rows of activations.
pub(super) const ROWS: usize = 4;

/// See [`super::avx512_packed`].
const AHEAD: usize = 12 << 10;

/// # Safety
///
/// The processor must have AVX2, F16C and what `D` needs.
#[inline(always)]
pub(super) unsafe fn multiply<D: Dot>(
    layout: Layout,
    tile: &[u8],
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    check_packed(layout, tile, panel, totals);
    // SAFETY: by the contract above, which is that of all that is called from here on.
    unsafe {
        match panel.rows {
            1 => by_layout::<D, 1>(layout, tile, panel, totals),
            2 => by_layout::<D, 2>(layout, tile, panel, totals),
            3 => by_layout::<D, 3>(layout, tile, panel, totals),
            4 => by_layout::<D, 4>(layout, tile, panel, totals),
            rows => {
                unreachable!("at most four rows are multiplied with packed weights, not {rows}")
            }
        }
    }
}

#[inline(always)]
unsafe fn by_layout<D: Dot, const ROWS: usize>(
    layout: Layout,
    tile: &[u8],
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    // SAFETY: as for `multiply`.
    unsafe {
        match (layout.scales, layout.bits) {
            (Scales::Block, 4) => {
                whole_tile::<D, BlockScale, ROWS, 4, 1>(layout, tile, panel, totals)
            }
            (Scales::Block, 5) => {
                whole_tile::<D, BlockScale, ROWS, 5, 1>(layout, tile, panel, totals)
            }
            (Scales::Block, _) => {
                whole_tile::<D, BlockScale, ROWS, 8, 1>(layout, tile, panel, totals)
            }
            (Scales::BlockAndMinimum, 4) => {
                whole_tile::<D, BlockMinimum, ROWS, 4, 1>(layout, tile, panel, totals);
            }
            (Scales::BlockAndMinimum, _) => {
                whole_tile::<D, BlockMinimum, ROWS, 5, 1>(layout, tile, panel, totals);
            }
            (Scales::Nested, 4) => whole_tile::<D, Nested, ROWS, 4, 1>(layout, tile, panel, totals),
            (Scales::Nested, _) => whole_tile::<D, Nested, ROWS, 5, 1>(layout, tile, panel, totals),
            (Scales::NestedHalves, _) => {
                whole_tile::<D, NestedHalves, ROWS, 6, 2>(layout, tile, panel, totals);
            }
        }
    }
}

/// `PARTS` of a block have scales of their own, which `S` finds.
#[inline(always)]
unsafe fn whole_tile<
    D: Dot,
    S: ScalesOf<PARTS>,
    const ROWS: usize,
    const BITS: usize,
    const PARTS: usize,
>(
    layout: Layout,
    tile: &[u8],
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    let blocks = panel.blocks();
    // SAFETY: vectors are loaded from and stored to slices that hold them, and as for `multiply`.
    unsafe {
        let mut running = [[_mm256_setzero_ps(); 2]; ROWS];
        for (running, total) in running.iter_mut().zip(&*totals) {
            *running = [0, 8].map(|at| _mm256_loadu_ps(total[at..][..8].as_ptr()));
        }
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
                let activation_scales = &panel.scales[block * ROWS..][..ROWS];
                for half in 0..2 {
                    let (scales, minimums) = S::of(scales, nth, half);
                    let mut sums = [[D::begin(0); ROWS]; PARTS];
                    if minimums.is_none() && (BITS != 8 || D::OFFSET_BYTES) {
                        for (part, sums) in sums.iter_mut().enumerate() {
                            for (row, sums) in sums.iter_mut().enumerate() {
                                *sums = D::begin(corrections[part * ROWS + row]);
                            }
                        }
                    }
                    two_groups::<D, ROWS, BITS, PARTS, 0>(codes, half, activations, &mut sums);
                    two_groups::<D, ROWS, BITS, PARTS, 1>(codes, half, activations, &mut sums);
                    two_groups::<D, ROWS, BITS, PARTS, 2>(codes, half, activations, &mut sums);
                    two_groups::<D, ROWS, BITS, PARTS, 3>(codes, half, activations, &mut sums);
                    for (sums, scales) in sums.into_iter().zip(scales) {
                        for row in 0..ROWS {
                            let sums = _mm256_cvtepi32_ps(D::end(sums[row]));
                            let mut product = _mm256_mul_ps(sums, scales);
                            if let Some(minimums) = minimums {
                                let sum = _mm256_set1_ps(corrections[row] as f32);
                                product = _mm256_add_ps(product, _mm256_mul_ps(sum, minimums));
                            }
                            let scale = _mm256_set1_ps(activation_scales[row]);
                            let running = &mut running[row][half];
                            *running = _mm256_add_ps(*running, _mm256_mul_ps(product, scale));
                        }
                    }
                }
            }
        }
        for (total, running) in totals.iter_mut().zip(running) {
            for (total, running) in total.chunks_exact_mut(8).zip(running) {
                _mm256_storeu_ps(total.as_mut_ptr(), running);
            }
        }
    }
}

/// Adds the products of groups `2 * PAIR` and `2 * PAIR + 1` of half the rows of a block to the sums of their part.
#[inline(always)]
unsafe fn two_groups<
    D: Dot,
    const ROWS: usize,
    const BITS: usize,
    const PARTS: usize,
    const PAIR: usize,
>(
    codes: &[u8],
    half: usize,
    activations: &[i8],
    sums: &mut [[D::Sums; ROWS]; PARTS],
) {
    // SAFETY: vectors are loaded from slices that hold them, and as for `multiply`.
    unsafe {
        let line = |nth: usize| {
            let line = &codes[nth * GROUP_CODES + half * 32..][..32];
            _mm256_loadu_si256(line.as_ptr().cast())
        };
        let groups = if BITS == 8 {
            [line(2 * PAIR), line(2 * PAIR + 1)]
        } else {
            let low = line(PAIR);
            let fifteen = _mm256_set1_epi8(15);
            let low = [
                _mm256_and_si256(low, fifteen),
                _mm256_and_si256(_mm256_srli_epi16::<4>(low), fifteen),
            ];
            if BITS == 4 {
                low
            } else {
                let upper =
                    upper_bits::<BITS, PAIR>(line(if BITS == 5 { 4 } else { 4 + PAIR / 2 }));
                let mask = _mm256_set1_epi8((1 << BITS) - 16);
                // No closure: those of a function that is only inlined into one with AVX2 are compiled without it.
                [
                    _mm256_or_si256(low[0], _mm256_and_si256(upper[0], mask)),
                    _mm256_or_si256(low[1], _mm256_and_si256(upper[1], mask)),
                ]
            }
        };
        let sums = &mut sums[PAIR * 2 / (GROUPS / PARTS)];
        let fours = activations.as_chunks::<4>().0;
        for (nth, codes) in groups.into_iter().enumerate() {
            let group = 2 * PAIR + nth;
            for (row, sums) in sums.iter_mut().enumerate() {
                let four = i32::from_ne_bytes(fours[row * GROUPS + group].map(|x| x as u8));
                let added = D::add::<BITS>(*sums, codes, _mm256_set1_epi32(four));
                *sums = D::settle::<BITS>(added, group);
            }
        }
    }
}

/// As in [`super::avx512_packed`].
#[inline(always)]
unsafe fn upper_bits<const BITS: usize, const PAIR: usize>(high: __m256i) -> [__m256i; 2] {
    // SAFETY: as for `multiply`.
    unsafe {
        match (BITS, PAIR) {
            (5, 0) => [_mm256_slli_epi16::<4>(high), _mm256_slli_epi16::<3>(high)],
            (5, 1) => [_mm256_slli_epi16::<2>(high), _mm256_slli_epi16::<1>(high)],
            (5, 2) => [high, _mm256_srli_epi16::<1>(high)],
            (5, _) => [_mm256_srli_epi16::<2>(high), _mm256_srli_epi16::<3>(high)],
            (_, 0 | 2) => [_mm256_slli_epi16::<4>(high), _mm256_slli_epi16::<2>(high)],
            _ => [high, _mm256_srli_epi16::<2>(high)],
        }
    }
}

/// Takes the scales of eight rows of a block out of those of its chunk.
trait ScalesOf<const PARTS: usize> {
    /// Scales of the parts of the block, then its minimums if it has any. Needs AVX2 and F16C.
    unsafe fn of(scales: &[u8], block: usize, half: usize) -> ([__m256; PARTS], Option<__m256>);
}

/// [`Scales::Block`].
struct BlockScale;

impl ScalesOf<1> for BlockScale {
    #[inline(always)]
    unsafe fn of(scales: &[u8], block: usize, half: usize) -> ([__m256; 1], Option<__m256>) {
        // SAFETY: as for `multiply`; so below.
        unsafe { ([singles(scales, block, half)], None) }
    }
}

/// [`Scales::BlockAndMinimum`].
struct BlockMinimum;

impl ScalesOf<1> for BlockMinimum {
    #[inline(always)]
    unsafe fn of(scales: &[u8], block: usize, half: usize) -> ([__m256; 1], Option<__m256>) {
        // SAFETY: see above.
        unsafe {
            let minimums = singles(scales, 2 * block + 1, half);
            ([singles(scales, 2 * block, half)], Some(minimums))
        }
    }
}

/// [`Scales::Nested`].
struct Nested;

impl ScalesOf<1> for Nested {
    #[inline(always)]
    unsafe fn of(scales: &[u8], block: usize, half: usize) -> ([__m256; 1], Option<__m256>) {
        let (outer, block) = (block / NESTED_BLOCKS, block % NESTED_BLOCKS);
        let scales = &scales[outer * 16 * TILE_ROWS..][..16 * TILE_ROWS];
        let (low, high) = scales[4 * TILE_ROWS..].split_at(NESTED_BLOCKS * TILE_ROWS);
        // SAFETY: see above.
        unsafe {
            let low = eight(low, block, half);
            let high = eight(high, block / 2, half);
            let high = if block % 2 == 1 {
                _mm_srli_epi16::<4>(high)
            } else {
                high
            };
            let (fifteen, above) = (_mm_set1_epi8(15), _mm_set1_epi8(0x30));
            let factor = _mm_or_si128(
                _mm_and_si128(low, fifteen),
                _mm_and_si128(_mm_slli_epi16::<4>(high), above),
            );
            let minimum = _mm_or_si128(
                _mm_and_si128(_mm_srli_epi16::<4>(low), fifteen),
                _mm_and_si128(_mm_slli_epi16::<2>(high), above),
            );
            let single = |bytes| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
            let minimums = _mm256_mul_ps(singles(scales, 1, half), single(minimum));
            (
                [_mm256_mul_ps(singles(scales, 0, half), single(factor))],
                Some(_mm256_xor_ps(minimums, _mm256_set1_ps(-0.0))),
            )
        }
    }
}

/// [`Scales::NestedHalves`].
struct NestedHalves;

impl ScalesOf<2> for NestedHalves {
    #[inline(always)]
    unsafe fn of(scales: &[u8], block: usize, half: usize) -> ([__m256; 2], Option<__m256>) {
        let (outer, block) = (block / NESTED_BLOCKS, block % NESTED_BLOCKS);
        let scales = &scales[outer * 18 * TILE_ROWS..][..18 * TILE_ROWS];
        // SAFETY: see above.
        unsafe {
            let scale = singles(scales, 0, half);
            let parts = [0, 1].map(|part| {
                let factors = _mm256_cvtepi8_epi32(eight(scales, 2 + 2 * block + part, half));
                _mm256_mul_ps(scale, _mm256_cvtepi32_ps(factors))
            });
            (parts, None)
        }
    }
}

/// Half of the `nth` sixteen little-endian f16 as F32.
#[inline(always)]
unsafe fn singles(halves: &[u8], nth: usize, half: usize) -> __m256 {
    let halves = &halves[(2 * nth + half) * TILE_ROWS..][..TILE_ROWS];
    // SAFETY: 16 bytes, and as for `multiply`.
    unsafe { _mm256_cvtph_ps(_mm_loadu_si128(halves.as_ptr().cast())) }
}

/// Half of the `nth` sixteen bytes.
#[inline(always)]
unsafe fn eight(bytes: &[u8], nth: usize, half: usize) -> __m128i {
    let bytes = &bytes[nth * TILE_ROWS + half * 8..][..8];
    // SAFETY: 8 bytes.
    unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) }
}
