//! [`super::whole_keys`] with AVX2: products of two channels and eight keys in one instruction, added by the next.

use super::avx2::{grids, run, sum_of_eight};
use super::whole_keys::{self, TOP, Two, WHOLE, WholeKeys, WholeScores, multiplier};
use super::{KeyTurn, even_tile};
use crate::kv::{BLOCK_TOKENS, Codes};
use std::arch::x86_64::*;

/// Only for processors of this level.
pub(super) const KERNELS: WholeScores = WholeScores {
    keys: detected!(keys, codes, turn, whole),
    queries: detected!(queries, rows, lengths, cos, sin, whole),
    scores: detected!(scores, rows, lengths, whole, sums),
};

/// Rows taken together: by 16 keys 12 of the 16 registers.
const TILE_ROWS: usize = 6;

/// Spreads the grids of the keys. No key of them is longer than what is returned.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn spread_grids(codes: &Codes<'_>, bias: &[f32], keys: &mut WholeKeys) -> f32 {
    let top = _mm256_set1_ps(TOP);
    let mut squares = _mm256_setzero_ps();
    let filled = bias.len().next_multiple_of(8);
    keys.steps.resize(filled, 0.0);
    keys.least.resize(filled, 0.0);
    let to = keys
        .steps
        .chunks_exact_mut(8)
        .zip(keys.least.chunks_exact_mut(8));
    let from = codes.grids.of_two_bytes().chunks(8).zip(bias.chunks(8));
    for ((some, bias), (steps_to, least_to)) in from.zip(to) {
        let (mut eight, mut bias_of) = ([[0; 2]; 8], [0.0; 8]);
        eight[..some.len()].copy_from_slice(some);
        bias_of[..bias.len()].copy_from_slice(bias);
        // SAFETY: eight times two bytes.
        let [steps, least] = grids(unsafe { _mm_loadu_si128(eight.as_ptr().cast()) });
        // SAFETY: eight numbers.
        let least = _mm256_add_ps(least, unsafe { _mm256_loadu_ps(bias_of.as_ptr()) });
        // SAFETY: eight numbers each.
        unsafe {
            _mm256_storeu_ps(steps_to.as_mut_ptr(), steps);
            _mm256_storeu_ps(least_to.as_mut_ptr(), least);
        }
        let most = _mm256_fmadd_ps(steps, top, least);
        // In this order NaN stays NaN: what is NaN in `least` is NaN in `most`.
        let square = _mm256_max_ps(_mm256_mul_ps(least, least), _mm256_mul_ps(most, most));
        squares = _mm256_add_ps(squares, square);
    }
    sum_of_eight(squares).sqrt()
}

#[target_feature(enable = "avx2,fma,f16c")]
fn keys(codes: &Codes<'_>, turn: &KeyTurn<'_>, keys: &mut WholeKeys) {
    let channels = turn.bias.len();
    whole_keys::check(codes, turn);
    let length = spread_grids(codes, turn.bias, keys);
    let multiplier = _mm256_set1_ps(keys.prepare(channels, length));
    let times = |number: f32| _mm256_mul_ps(_mm256_set1_ps(number), multiplier);
    let pairs = turn.pairs();
    for (nth, twos) in keys.twos.chunks_exact_mut(BLOCK_TOKENS).enumerate() {
        for half in 0..2 {
            let mut rows = [[_mm256_setzero_ps(); 4]; 2];
            // In a loop, since what is called in one place is compiled into it.
            for (row, channel) in rows.iter_mut().zip(whole_keys::two(turn, nth)) {
                let (step, least) = (times(keys.steps[channel]), times(keys.least[channel]));
                *row = run(codes, 2 * channel + half, step, least);
            }
            for (at, (x, y)) in rows[0].into_iter().zip(rows[1]).enumerate() {
                let (mut x, mut y) = (x, y);
                let at = 32 * half + 8 * at;
                if nth < pairs {
                    // SAFETY: at most `pairs * 64` numbers, the length of the tables, end here.
                    let (cos, sin) = unsafe {
                        let at = nth * BLOCK_TOKENS + at;
                        (
                            _mm256_loadu_ps(turn.place_cos.as_ptr().add(at)),
                            _mm256_loadu_ps(turn.place_sin.as_ptr().add(at)),
                        )
                    };
                    (x, y) = (
                        _mm256_fmsub_ps(x, cos, _mm256_mul_ps(y, sin)),
                        _mm256_fmadd_ps(x, sin, _mm256_mul_ps(y, cos)),
                    );
                }
                let to = &mut twos[at..][..8];
                // SAFETY: eight twos.
                unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), round_twos(x, y)) };
            }
        }
    }
}

/// Eight twos, from their first and their second channels.
#[inline]
#[target_feature(enable = "avx2")]
fn round_twos(first: __m256, second: __m256) -> __m256i {
    let high = _mm256_slli_epi32::<16>(_mm256_cvtps_epi32(second));
    _mm256_blend_epi16::<0xaa>(_mm256_cvtps_epi32(first), high)
}

#[target_feature(enable = "avx2,fma")]
fn queries(rows: &[f32], lengths: &[f32], cos: &[f32], sin: &[f32], queries: &mut [Two]) {
    let (channels, pairs) = whole_keys::check_queries(rows, lengths, cos, sin, queries);
    let rows = rows.chunks_exact(channels).zip(lengths);
    for ((row, length), twos) in rows.zip(queries.chunks_exact_mut(whole_keys::twos(channels))) {
        let factor = multiplier(*length);
        let multiplier = _mm256_set1_ps(factor);
        let turned = |cos, sin, x, y| {
            let (cos, sin) = (
                _mm256_mul_ps(cos, multiplier),
                _mm256_mul_ps(sin, multiplier),
            );
            let a = _mm256_fmadd_ps(x, cos, _mm256_mul_ps(y, sin));
            let b = _mm256_fmsub_ps(y, cos, _mm256_mul_ps(x, sin));
            round_twos(a, b)
        };
        let whole = pairs / 8 * 8;
        for pair in (0..whole).step_by(8) {
            // SAFETY: `pair + 8` is at most `pairs`: as many as the tables have numbers, at most half as many as a row, and
            // at most as many as there are twos.
            unsafe {
                let load = |from: *const f32| _mm256_loadu_ps(from.add(pair));
                let (cos, sin) = (load(cos.as_ptr()), load(sin.as_ptr()));
                let (x, y) = (load(row.as_ptr()), load(row.as_ptr().add(pairs)));
                let to = twos.as_mut_ptr().add(pair).cast();
                _mm256_storeu_si256(to, turned(cos, sin, x, y));
            }
        }
        // Apart, since storing under a mask takes some processors as long as all of the row.
        if whole < pairs {
            let present = _mm256_cmpgt_epi32(
                _mm256_set1_epi32((pairs - whole) as i32),
                _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
            );
            // SAFETY: as above, of the pairs that the mask names.
            unsafe {
                let load = |from: *const f32| _mm256_maskload_ps(from.add(whole), present);
                let (cos, sin) = (load(cos.as_ptr()), load(sin.as_ptr()));
                let (x, y) = (load(row.as_ptr()), load(row.as_ptr().add(pairs)));
                let to = twos.as_mut_ptr().add(whole).cast();
                _mm256_maskstore_epi32(to, present, turned(cos, sin, x, y));
            }
        }
        whole_keys::queries_alone(&row[2 * pairs..], factor, &mut twos[pairs..]);
    }
}

#[target_feature(enable = "avx2")]
fn scores(queries: &[Two], lengths: &[f32], keys: &WholeKeys, scores: &mut [f32]) {
    let twos = keys.check(queries, lengths.len(), scores);
    let tile = even_tile(lengths.len(), TILE_ROWS).max(1);
    let rows = queries.chunks(tile * twos).zip(lengths.chunks(tile));
    for ((queries, lengths), scores) in rows.zip(scores.chunks_mut(tile * BLOCK_TOKENS)) {
        match lengths.len() {
            1 => row_tile::<1>(queries, lengths, keys, scores),
            2 => row_tile::<2>(queries, lengths, keys, scores),
            3 => row_tile::<3>(queries, lengths, keys, scores),
            4 => row_tile::<4>(queries, lengths, keys, scores),
            5 => row_tile::<5>(queries, lengths, keys, scores),
            _ => row_tile::<6>(queries, lengths, keys, scores),
        }
    }
}

#[target_feature(enable = "avx2")]
fn row_tile<const ROWS: usize>(
    queries: &[Two],
    lengths: &[f32],
    keys: &WholeKeys,
    scores: &mut [f32],
) {
    assert_eq!(lengths.len(), ROWS);
    let twos = keys.check(queries, ROWS, scores);
    for first in (0..BLOCK_TOKENS).step_by(16) {
        let mut totals = [[_mm256_setzero_si256(); 2]; ROWS];
        for two in 0..twos {
            // SAFETY: key `first + 16` is at most the 64th of a row of twos, of which there are as many as were
            // compared above, as there are of each of the rows.
            unsafe {
                let from = keys.twos.as_ptr().add(two * BLOCK_TOKENS + first);
                let (left, right) = (
                    _mm256_loadu_si256(from.cast()),
                    _mm256_loadu_si256(from.add(8).cast()),
                );
                for (row, totals) in totals.iter_mut().enumerate() {
                    let query = queries.as_ptr().add(row * twos + two).cast::<i32>();
                    let query = _mm256_set1_epi32(query.read_unaligned());
                    totals[0] = _mm256_add_epi32(totals[0], _mm256_madd_epi16(query, left));
                    totals[1] = _mm256_add_epi32(totals[1], _mm256_madd_epi16(query, right));
                }
            }
        }
        for (row, totals) in totals.into_iter().enumerate() {
            let step = _mm256_set1_ps(lengths[row] / WHOLE * keys.step);
            let to = &mut scores[row * BLOCK_TOKENS + first..][..16];
            for (total, to) in totals.into_iter().zip(to.chunks_exact_mut(8)) {
                let score = _mm256_mul_ps(_mm256_cvtepi32_ps(total), step);
                // SAFETY: the chunk holds 8 numbers.
                unsafe { _mm256_storeu_ps(to.as_mut_ptr(), score) };
            }
        }
    }
}
