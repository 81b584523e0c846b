//! [`super::whole_keys`] with AVX-512 VNNI: products of two channels and sixteen keys, added, in one instruction.

use super::avx512::run;
use super::whole_keys::{self, Two, WHOLE, WholeKeys, WholeScores, multiplier};
use super::whole_keys_avx2::spread_grids;
use super::{KeyTurn, even_tile};
use crate::kv::{BLOCK_TOKENS, Codes};
use std::arch::x86_64::*;

/// Only for processors of this level.
pub(super) const KERNELS: WholeScores = WholeScores {
    keys: detected!(keys, codes, turn, whole),
    queries: detected!(queries, rows, lengths, cos, sin, whole),
    scores: detected!(scores, rows, lengths, whole, sums),
};

/// Rows taken together: by 64 keys 24 of the 32 registers.
const TILE_ROWS: usize = 6;

#[target_feature(enable = "avx512f,avx512bw,avx2,fma,f16c")]
fn keys(codes: &Codes<'_>, turn: &KeyTurn<'_>, keys: &mut WholeKeys) {
    let channels = turn.bias.len();
    whole_keys::check(codes, turn);
    let length = spread_grids(codes, turn.bias, keys);
    let multiplier = _mm512_set1_ps(keys.prepare(channels, length));
    let times = |number: f32| _mm512_mul_ps(_mm512_set1_ps(number), multiplier);
    let pairs = turn.pairs();
    for (nth, twos) in keys.twos.chunks_exact_mut(BLOCK_TOKENS).enumerate() {
        let mut rows = [[_mm512_setzero_ps(); 4]; 2];
        // In a loop, since what is called in one place is compiled into it.
        for (row, channel) in rows.iter_mut().zip(whole_keys::two(turn, nth)) {
            let (step, least) = (times(keys.steps[channel]), times(keys.least[channel]));
            let [a, b] = run(codes, 2 * channel, step, least);
            let [c, d] = run(codes, 2 * channel + 1, step, least);
            *row = [a, b, c, d];
        }
        for (at, (x, y)) in rows[0].into_iter().zip(rows[1]).enumerate() {
            let (mut x, mut y) = (x, y);
            if nth < pairs {
                // SAFETY: at most `pairs * 64` numbers, the length of the tables, end here.
                let (cos, sin) = unsafe {
                    let at = nth * BLOCK_TOKENS + 16 * at;
                    (
                        _mm512_loadu_ps(turn.place_cos.as_ptr().add(at)),
                        _mm512_loadu_ps(turn.place_sin.as_ptr().add(at)),
                    )
                };
                (x, y) = (
                    _mm512_fmsub_ps(x, cos, _mm512_mul_ps(y, sin)),
                    _mm512_fmadd_ps(x, sin, _mm512_mul_ps(y, cos)),
                );
            }
            let to = &mut twos[16 * at..][..16];
            // SAFETY: sixteen twos.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), round_twos(x, y)) };
        }
    }
}

/// Sixteen twos, from their first and their second channels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn round_twos(first: __m512, second: __m512) -> __m512i {
    let high = _mm512_slli_epi32::<16>(_mm512_cvtps_epi32(second));
    _mm512_mask_blend_epi16(0xaaaa_aaaa, _mm512_cvtps_epi32(first), high)
}

#[target_feature(enable = "avx512f,avx512bw")]
fn queries(rows: &[f32], lengths: &[f32], cos: &[f32], sin: &[f32], queries: &mut [Two]) {
    let (channels, pairs) = whole_keys::check_queries(rows, lengths, cos, sin, queries);
    let rows = rows.chunks_exact(channels).zip(lengths);
    for ((row, length), twos) in rows.zip(queries.chunks_exact_mut(whole_keys::twos(channels))) {
        let factor = multiplier(*length);
        let multiplier = _mm512_set1_ps(factor);
        for pair in (0..pairs).step_by(16) {
            let present = (u32::MAX >> (32 - (pairs - pair).min(16))) as u16;
            // SAFETY: the masks name the pairs that there are: as many as the tables have numbers, at most half as
            // many as a row, and at most as many as there are twos.
            unsafe {
                let load = |from: *const f32| _mm512_maskz_loadu_ps(present, from.add(pair));
                let cos = _mm512_mul_ps(load(cos.as_ptr()), multiplier);
                let sin = _mm512_mul_ps(load(sin.as_ptr()), multiplier);
                let (x, y) = (load(row.as_ptr()), load(row.as_ptr().add(pairs)));
                let a = _mm512_fmadd_ps(x, cos, _mm512_mul_ps(y, sin));
                let b = _mm512_fmsub_ps(y, cos, _mm512_mul_ps(x, sin));
                let to = twos.as_mut_ptr().add(pair).cast();
                _mm512_mask_storeu_epi32(to, present, round_twos(a, b));
            }
        }
        whole_keys::queries_alone(&row[2 * pairs..], factor, &mut twos[pairs..]);
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
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

#[target_feature(enable = "avx512f,avx512vnni")]
fn row_tile<const ROWS: usize>(
    queries: &[Two],
    lengths: &[f32],
    keys: &WholeKeys,
    scores: &mut [f32],
) {
    assert_eq!(lengths.len(), ROWS);
    let twos = keys.check(queries, ROWS, scores);
    let mut totals = [[_mm512_setzero_si512(); 4]; ROWS];
    for two in 0..twos {
        // SAFETY: a row of twos is 64 keys, of which there are as many as were compared above, as there are of each
        // of the rows.
        unsafe {
            let from = keys.twos.as_ptr().add(two * BLOCK_TOKENS);
            let keys = [0, 16, 32, 48].map(|at| _mm512_loadu_si512(from.add(at).cast()));
            for (row, totals) in totals.iter_mut().enumerate() {
                let query = queries.as_ptr().add(row * twos + two).cast::<i32>();
                let query = _mm512_set1_epi32(query.read_unaligned());
                for (total, keys) in totals.iter_mut().zip(keys) {
                    *total = _mm512_dpwssd_epi32(*total, query, keys);
                }
            }
        }
    }
    for (row, totals) in totals.into_iter().enumerate() {
        let step = _mm512_set1_ps(lengths[row] / WHOLE * keys.step);
        let to = &mut scores[row * BLOCK_TOKENS..][..BLOCK_TOKENS];
        for (total, to) in totals.into_iter().zip(to.chunks_exact_mut(16)) {
            let score = _mm512_mul_ps(_mm512_cvtepi32_ps(total), step);
            // SAFETY: the chunk holds 16 numbers.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), score) };
        }
    }
}
