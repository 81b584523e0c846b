//! [`Kernels::best_key`](super::Kernels::best_key) with vector instructions: products of bytes, four channels a lane.

use super::check_best_key;
use crate::kv::BLOCK_TOKENS;
use std::arch::x86_64::*;

/// Rows of a pass over the codes with AVX-512: 7 rows by 64 keys take 28 of the 32 registers.
const ROWS: usize = 7;

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn with_vnni(rows: &[i8], codes: &[u8], largest: &mut [i32]) {
    let channels = check_best_key(rows, codes, largest);
    let rows = rows.chunks(ROWS * channels);
    for (rows, largest) in rows.zip(largest.chunks_mut(ROWS)) {
        match largest.len() {
            1 => vnni_rows::<1>(rows, codes, largest),
            2 => vnni_rows::<2>(rows, codes, largest),
            3 => vnni_rows::<3>(rows, codes, largest),
            4 => vnni_rows::<4>(rows, codes, largest),
            5 => vnni_rows::<5>(rows, codes, largest),
            6 => vnni_rows::<6>(rows, codes, largest),
            _ => vnni_rows::<ROWS>(rows, codes, largest),
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn vnni_rows<const N: usize>(rows: &[i8], codes: &[u8], largest: &mut [i32]) {
    let channels = check_best_key(rows, codes, largest);
    assert_eq!(largest.len(), N);
    let mut sums = [[_mm512_setzero_si512(); 4]; N];
    for (nth, quad) in codes.chunks_exact(4 * BLOCK_TOKENS).enumerate() {
        // SAFETY: a quad holds 256 codes.
        let keys =
            [0, 1, 2, 3].map(|at| unsafe { _mm512_loadu_si512(quad.as_ptr().add(64 * at).cast()) });
        for (row, sums) in sums.iter_mut().enumerate() {
            let four = four_of(rows, row * channels + 4 * nth);
            let four = _mm512_set1_epi32(four);
            for (sum, keys) in sums.iter_mut().zip(keys) {
                *sum = _mm512_dpbusd_epi32(*sum, keys, four);
            }
        }
    }
    for (largest, [a, b, c, d]) in largest.iter_mut().zip(sums) {
        let best = _mm512_max_epi32(_mm512_max_epi32(a, b), _mm512_max_epi32(c, d));
        *largest = _mm512_reduce_max_epi32(best);
    }
}

#[target_feature(enable = "avx2")]
pub(super) fn with_avx2(rows: &[i8], codes: &[u8], largest: &mut [i32]) {
    let channels = check_best_key(rows, codes, largest);
    for (row, largest) in largest.iter_mut().enumerate() {
        let mut sums = [_mm256_setzero_si256(); 8];
        for (nth, quad) in codes.chunks_exact(4 * BLOCK_TOKENS).enumerate() {
            let four = _mm256_set1_epi32(four_of(rows, row * channels + 4 * nth));
            for (at, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a quad holds 256 codes.
                let keys = unsafe { _mm256_loadu_si256(quad.as_ptr().add(32 * at).cast()) };
                // Codes of at most 127 keep the sums of two below 2^15.
                let twos = _mm256_maddubs_epi16(keys, four);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(twos, _mm256_set1_epi16(1)));
            }
        }
        let best = sums.into_iter().reduce(|a, b| _mm256_max_epi32(a, b));
        let mut lanes = [i32::MIN; 8];
        if let Some(best) = best {
            // SAFETY: there are 8 lanes.
            unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), best) };
        }
        *largest = lanes.into_iter().fold(i32::MIN, i32::max);
    }
}

/// Four channels of a row as one lane.
fn four_of(rows: &[i8], at: usize) -> i32 {
    i32::from_le_bytes([0, 1, 2, 3].map(|nth| rows[at + nth] as u8))
}
