//! A panel of activations with unpacked weights, in vectors of 256 bits, for any [`Dot`].

use std::arch::x86_64::*;

use super::dot::Dot;
use super::{Panel, Weights};
use crate::packed::layout::{BLOCK, GROUP_CODES, GROUPS, Scales, TILE_ROWS};

/// Most rows of a panel: sums of eight registers leave room for codes and activations in sixteen.
pub(super) const ROWS: usize = 4;

/// # Safety
///
/// The processor must have AVX2 and what `D` needs.
#[inline(always)]
pub(super) unsafe fn multiply<D: Dot>(
    weights: &Weights<'_>,
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    weights.check(panel, totals);
    // SAFETY: by the contract above, which is that of all that is called from here on.
    unsafe {
        match panel.rows {
            1 => by_layout::<D, 1>(weights, panel, totals),
            2 => by_layout::<D, 2>(weights, panel, totals),
            3 => by_layout::<D, 3>(weights, panel, totals),
            4 => by_layout::<D, 4>(weights, panel, totals),
            rows => unreachable!("panels have at most four rows, not {rows}"),
        }
    }
}

#[inline(always)]
unsafe fn by_layout<D: Dot, const ROWS: usize>(
    weights: &Weights<'_>,
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    // SAFETY: as for `multiply`.
    unsafe {
        match (weights.layout.scales, weights.layout.bits) {
            (Scales::Block, 4) => tile::<D, ROWS, 4, 1, false>(weights, panel, totals),
            (Scales::Block, 5) => tile::<D, ROWS, 5, 1, false>(weights, panel, totals),
            (Scales::Block, _) => tile::<D, ROWS, 8, 1, false>(weights, panel, totals),
            (Scales::NestedHalves, _) => tile::<D, ROWS, 6, 2, false>(weights, panel, totals),
            (_, 4) => tile::<D, ROWS, 4, 1, true>(weights, panel, totals),
            (_, _) => tile::<D, ROWS, 5, 1, true>(weights, panel, totals),
        }
    }
}

/// `PARTS` of a block have scales of their own.
#[inline(always)]
unsafe fn tile<
    D: Dot,
    const ROWS: usize,
    const BITS: usize,
    const PARTS: usize,
    const MINIMUMS: bool,
>(
    weights: &Weights<'_>,
    panel: &Panel<'_>,
    totals: &mut [[f32; TILE_ROWS]],
) {
    for (block, codes) in weights.codes.iter().enumerate() {
        let activations = &panel.codes[block * ROWS * BLOCK..][..ROWS * BLOCK];
        let fours = activations.as_chunks::<4>().0;
        for part in 0..PARTS {
            let at = block * PARTS + part;
            let corrections = &panel.corrections[at * ROWS..][..ROWS];
            let groups = GROUPS / PARTS;
            // SAFETY: vectors are loaded from and stored to slices that hold them, and as for `multiply`.
            unsafe {
                let mut sums = [[D::begin(0); 2]; ROWS];
                if !MINIMUMS && (BITS != 8 || D::OFFSET_BYTES) {
                    for row in 0..ROWS {
                        sums[row] = [D::begin(corrections[row]); 2];
                    }
                }
                for group in part * groups..(part + 1) * groups {
                    let codes = halves(&codes[group * GROUP_CODES..][..GROUP_CODES]);
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let four = fours[row * GROUPS + group].map(|x| x as u8);
                        let four = _mm256_set1_epi32(i32::from_ne_bytes(four));
                        for half in 0..2 {
                            let added = D::add::<BITS>(sums[half], codes[half], four);
                            sums[half] = D::settle::<BITS>(added, group);
                        }
                    }
                }
                for row in 0..ROWS {
                    let activation_scale = _mm256_set1_ps(panel.scales[block * ROWS + row]);
                    for (half, &sums) in sums[row].iter().enumerate() {
                        let scales = eight(&weights.scales[at], half);
                        let sums = _mm256_cvtepi32_ps(D::end(sums));
                        let mut product = _mm256_mul_ps(sums, scales);
                        if MINIMUMS {
                            let sum = _mm256_set1_ps(corrections[row] as f32);
                            let minimums = eight(&weights.minimums[block], half);
                            product = _mm256_add_ps(product, _mm256_mul_ps(sum, minimums));
                        }
                        let product = _mm256_mul_ps(product, activation_scale);
                        let total = _mm256_add_ps(eight(&totals[row], half), product);
                        _mm256_storeu_ps(totals[row][half * 8..][..8].as_mut_ptr(), total);
                    }
                }
            }
        }
    }
}

/// Codes of rows 0 to 7 and 8 to 15.
#[inline(always)]
unsafe fn halves(codes: &[u8]) -> [__m256i; 2] {
    assert_eq!(codes.len(), GROUP_CODES);
    let codes = codes.as_ptr().cast::<__m256i>();
    // SAFETY: 64 bytes, and as for `multiply`.
    unsafe { [_mm256_loadu_si256(codes), _mm256_loadu_si256(codes.add(1))] }
}

#[inline(always)]
unsafe fn eight(numbers: &[f32; TILE_ROWS], half: usize) -> __m256 {
    // SAFETY: eight of sixteen, and as for `multiply`.
    unsafe { _mm256_loadu_ps(numbers[half * 8..][..8].as_ptr()) }
}
