//! AVX-512 F and BW on top of [`super::avx2`]: wider tiles of the product, wider exponentials and turns.

use super::{
    EXP2, Kernels, KeyTurn, Running, avx2, best_key, check_codes, coded_values_avx2,
    coded_values_avx512, even_tile, whole_keys_avx512,
};
use crate::kv::format::{RUN, VALUE_GROUP};
use crate::kv::{BLOCK_TOKENS, Codes};
use lectern_models::Level;
use std::arch::x86_64::*;

/// Rows of a tile of `multiply`: 6 rows by 64 columns take 24 of the 32 registers.
const TILE_ROWS: usize = 6;

/// Only for processors of this level.
pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Avx512,
    widen: detected!(avx2::widen, halves, singles),
    widen_transposed: detected!(avx2::widen_transposed, halves, singles),
    turn_keys: detected!(turn_keys, keys, turn, turned),
    keys_of_codes: detected!(keys_of_codes, codes, turn, turned),
    values_of_codes: detected!(values_of_codes, codes, channels, values),
    spread_values: detected!(coded_values_avx2::spread, codes, channels, values),
    weigh_values: detected!(coded_values_avx512::weigh, weights, values, sums),
    turn_back: detected!(avx2::turn_back, rows, channels, cos, sin, turned),
    multiply: detected!(multiply, a, b, c, depth, add),
    weigh_scores: detected!(weigh_scores, scores, running),
    exponentials: detected!(exponentials, scores, maximum),
    best_key: detected!(best_key::with_vnni, rows, codes, largest),
    whole: Some(whole_keys_avx512::KERNELS),
    scale: detected!(scale, numbers, factor),
};

#[target_feature(enable = "avx512f")]
fn turn_keys(keys: &[f32], turn: &KeyTurn<'_>, turned: &mut [f32]) {
    turn.check(keys.len());
    let row = |channel: usize| {
        let bias = _mm512_set1_ps(turn.bias[channel]);
        let from = &keys[channel * BLOCK_TOKENS..][..BLOCK_TOKENS];
        [0, 16, 32, 48].map(|at| {
            // SAFETY: `from` holds 64 numbers.
            _mm512_add_ps(bias, unsafe { _mm512_loadu_ps(from.as_ptr().add(at)) })
        })
    };
    turn_rows(turn, turned, row);
}

#[target_feature(enable = "avx512f,avx2,f16c")]
fn keys_of_codes(codes: &Codes<'_>, turn: &KeyTurn<'_>, turned: &mut [f32]) {
    check_codes(codes, turn.bias.len(), BLOCK_TOKENS);
    let row = |channel: usize| {
        let [step, least] = grid(codes, channel);
        let least = _mm512_add_ps(least, _mm512_set1_ps(turn.bias[channel]));
        let [a, b] = run(codes, 2 * channel, step, least);
        let [c, d] = run(codes, 2 * channel + 1, step, least);
        [a, b, c, d]
    };
    turn_rows(turn, turned, row);
}

/// Turns rows of channels, each 64 keys with their bias, to their places.
#[inline]
#[target_feature(enable = "avx512f")]
fn turn_rows(turn: &KeyTurn<'_>, turned: &mut [f32], row: impl Fn(usize) -> [__m512; 4]) {
    turn.check(turned.len());
    let pairs = turn.pairs();
    for pair in 0..pairs {
        let (first, second) = turn.channels(pair);
        let (x, y) = (row(first), row(second));
        for nth in 0..4 {
            let at = pair * BLOCK_TOKENS + 16 * nth;
            // SAFETY: `at + 16` is at most `pairs * 64`, which is the length of the tables and at most half of that
            // of `turned`, as was compared above.
            unsafe {
                let cos = _mm512_loadu_ps(turn.place_cos.as_ptr().add(at));
                let sin = _mm512_loadu_ps(turn.place_sin.as_ptr().add(at));
                let a = _mm512_fmsub_ps(x[nth], cos, _mm512_mul_ps(y[nth], sin));
                let b = _mm512_fmadd_ps(x[nth], sin, _mm512_mul_ps(y[nth], cos));
                let to = turned.as_mut_ptr().add(at);
                _mm512_storeu_ps(to, a);
                _mm512_storeu_ps(to.add(pairs * BLOCK_TOKENS), b);
            }
        }
    }
    let alone = turned.chunks_exact_mut(BLOCK_TOKENS).enumerate();
    for (channel, turned) in alone.skip(2 * pairs) {
        for (nth, sixteen) in row(channel).into_iter().enumerate() {
            // SAFETY: the chunk holds 64 numbers.
            unsafe { _mm512_storeu_ps(turned.as_mut_ptr().add(16 * nth), sixteen) };
        }
    }
}

#[target_feature(enable = "avx512f,avx2,f16c")]
fn values_of_codes(codes: &Codes<'_>, channels: usize, values: &mut [f32]) {
    assert_eq!(values.len(), BLOCK_TOKENS * channels);
    let groups = channels.div_ceil(VALUE_GROUP);
    check_codes(codes, BLOCK_TOKENS * groups, VALUE_GROUP);
    for (token, row) in values.chunks_exact_mut(channels).enumerate() {
        for (nth, values) in row.chunks_mut(RUN).enumerate() {
            let nth = token * groups * (VALUE_GROUP / RUN) + nth;
            let [step, least] = grid(codes, nth / (VALUE_GROUP / RUN));
            let [low, high] = run(codes, nth, step, least);
            let present = (1u64 << values.len()) - 1;
            // SAFETY: the masks name the numbers that `values` holds, at most 32.
            unsafe {
                _mm512_mask_storeu_ps(values.as_mut_ptr(), present as u16, low);
                let to = values.as_mut_ptr().wrapping_add(16);
                _mm512_mask_storeu_ps(to, (present >> 16) as u16, high);
            }
        }
    }
}

/// Step and least number of a grid, in all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx2,f16c")]
fn grid(codes: &Codes<'_>, nth: usize) -> [__m512; 2] {
    let [step, least] = avx2::step_and_least(codes, nth);
    [_mm512_broadcastss_ps(step), _mm512_broadcastss_ps(least)]
}

/// The 32 numbers of a run of codes. Those of 4 bits are looked up among the 16 levels of their grid.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn run(codes: &Codes<'_>, run: usize, step: __m512, least: __m512) -> [__m512; 2] {
    // SAFETY: the slicing compares the end of the 16 bytes with the length.
    let sixteen = |packed: &[u8]| unsafe {
        _mm512_cvtepu8_epi32(_mm_loadu_si128(packed[..16].as_ptr().cast()))
    };
    if codes.bits == 4 {
        let codes = sixteen(&codes.packed[16 * run..]);
        let nth = _mm512_setr_ps(
            0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0,
        );
        let levels = _mm512_fmadd_ps(nth, step, least);
        // Only the lowest four bits of an index count.
        [
            _mm512_permutexvar_ps(codes, levels),
            _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(codes), levels),
        ]
    } else {
        let packed = &codes.packed[32 * run..][..32];
        [0, 16].map(|at| _mm512_fmadd_ps(_mm512_cvtepi32_ps(sixteen(&packed[at..])), step, least))
    }
}

#[target_feature(enable = "avx512f")]
fn multiply(a: &[f32], b: &[f32], c: &mut [f32], depth: usize, add: bool) {
    let columns = b.len() / depth;
    let rows = a.len() / depth;
    assert!(a.len() == rows * depth && b.len() == depth * columns && c.len() == rows * columns);
    let tile = even_tile(rows, TILE_ROWS);
    let mut row = 0;
    while row < rows {
        let a = &a[row * depth..];
        let c = &mut c[row * columns..];
        match tile.min(rows - row) {
            1 => row_tile::<1>(a, b, c, depth, columns, add),
            2 => row_tile::<2>(a, b, c, depth, columns, add),
            3 => row_tile::<3>(a, b, c, depth, columns, add),
            4 => row_tile::<4>(a, b, c, depth, columns, add),
            5 => row_tile::<5>(a, b, c, depth, columns, add),
            _ => row_tile::<6>(a, b, c, depth, columns, add),
        }
        row += tile;
    }
}

/// `ROWS` rows of a product: 64 columns at a time, then 16, the last ones masked.
#[target_feature(enable = "avx512f")]
fn row_tile<const ROWS: usize>(
    a: &[f32],
    b: &[f32],
    c: &mut [f32],
    depth: usize,
    columns: usize,
    add: bool,
) {
    assert!(a.len() >= ROWS * depth && b.len() >= depth * columns && c.len() >= ROWS * columns);
    let mut column = 0;
    while column < columns {
        let left = columns - column;
        // SAFETY: `panel` touches at most `left` columns from `column` on, `ROWS` rows and `depth` steps: within the
        // lengths compared above.
        unsafe {
            let (a, b, c) = (
                a.as_ptr(),
                b.as_ptr().add(column),
                c.as_mut_ptr().add(column),
            );
            if left >= 64 {
                panel::<ROWS, 4>(a, b, c, depth, columns, u16::MAX, add);
                column += 64;
            } else {
                let mask = if left >= 16 {
                    u16::MAX
                } else {
                    (1 << left) - 1
                };
                panel::<ROWS, 1>(a, b, c, depth, columns, mask, add);
                column += 16;
            }
        }
    }
}

/// `ROWS` rows by `16 * WIDTH` columns; `mask` says which of each 16 exist.
///
/// # Safety
/// `a` points to `ROWS * depth` numbers; `b` and `c` to rows `columns` apart, `depth` and `ROWS` of them, in which the
/// columns of the panel that the mask allows exist.
#[target_feature(enable = "avx512f")]
unsafe fn panel<const ROWS: usize, const WIDTH: usize>(
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    depth: usize,
    columns: usize,
    mask: u16,
    add: bool,
) {
    // SAFETY: by the contract above; masked lanes are not touched.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); WIDTH]; ROWS];
        if add {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (nth, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_maskz_loadu_ps(mask, c.add(row * columns + 16 * nth));
                }
            }
        }
        for step in 0..depth {
            let mut right = [_mm512_setzero_ps(); WIDTH];
            for (nth, right) in right.iter_mut().enumerate() {
                *right = _mm512_maskz_loadu_ps(mask, b.add(step * columns + 16 * nth));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = _mm512_set1_ps(*a.add(row * depth + step));
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = _mm512_fmadd_ps(factor, right, *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (nth, sum) in sums.iter().enumerate() {
                _mm512_mask_storeu_ps(c.add(row * columns + 16 * nth), mask, *sum);
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
fn weigh_scores(scores: &mut [[f32; BLOCK_TOKENS]], mut running: Running<'_>) {
    running.check(scores.len());
    for (nth, scores) in scores.chunks_mut(4).enumerate() {
        let mut new = [_mm512_set1_ps(f32::NEG_INFINITY); 4];
        for (new, scores) in new.iter_mut().zip(&*scores) {
            for sixteen in scores.chunks_exact(16) {
                // SAFETY: the chunk holds 16 numbers.
                *new = _mm512_max_ps(unsafe { _mm512_loadu_ps(sixteen.as_ptr()) }, *new);
            }
        }
        let new = in_quarters(new, |a, b| _mm512_max_ps(a, b));
        let mut sums = [_mm512_setzero_ps(); 4];
        for (at, (scores, sum)) in scores.iter_mut().zip(&mut sums).enumerate() {
            let largest = running.raise(4 * nth + at, new[4 * at]);
            *sum = weigh_row(scores, largest);
        }
        let sums = in_quarters(sums, |a, b| _mm512_add_ps(a, b));
        for at in 0..scores.len() {
            let row = 4 * nth + at;
            running.sums[row] = running.sums[row] * running.keeps[row] + sums[4 * at];
        }
    }
}

/// All of each register taken together, the first's in each of the first four, and so on.
#[inline]
#[target_feature(enable = "avx512f")]
fn in_quarters([a, b, c, d]: [__m512; 4], both: impl Fn(__m512, __m512) -> __m512) -> [f32; 16] {
    let (ab, cd) = (eights([a, b], &both), eights([c, d], &both));
    let fours = both(
        _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd),
        _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd),
    );
    let mut all = [0.0; 16];
    // SAFETY: sixteen numbers.
    unsafe { _mm512_storeu_ps(all.as_mut_ptr(), within_fours(fours, &both)) };
    all
}

/// All of the first register taken together in each of the first eight, all of the second in each of the others.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn in_halves(registers: [__m512; 2], both: impl Fn(__m512, __m512) -> __m512) -> __m512 {
    let eights = eights(registers, &both);
    let other = _mm512_shuffle_f32x4::<0b10_11_00_01>(eights, eights);
    within_fours(both(eights, other), &both)
}

/// The first register's halves taken together, then the second's.
#[inline]
#[target_feature(enable = "avx512f")]
fn eights([a, b]: [__m512; 2], both: &impl Fn(__m512, __m512) -> __m512) -> __m512 {
    both(
        _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b),
        _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b),
    )
}

/// Each four taken together, in each of them.
#[inline]
#[target_feature(enable = "avx512f")]
fn within_fours(fours: __m512, both: &impl Fn(__m512, __m512) -> __m512) -> __m512 {
    let twos = both(fours, _mm512_permute_ps::<0b01_00_11_10>(fours));
    both(twos, _mm512_permute_ps::<0b10_11_00_01>(twos))
}

#[target_feature(enable = "avx512f")]
fn exponentials(scores: &mut [f32; BLOCK_TOKENS], maximum: f32) -> f32 {
    _mm512_reduce_add_ps(weigh_row(scores, maximum))
}

/// Replaces each score by `2^(score - maximum)`; their sum is that of what is returned.
#[inline]
#[target_feature(enable = "avx512f")]
fn weigh_row(scores: &mut [f32; BLOCK_TOKENS], maximum: f32) -> __m512 {
    let maximum = _mm512_set1_ps(maximum);
    let least = _mm512_set1_ps(-126.0);
    let mut sum = _mm512_setzero_ps();
    for sixteen in scores.chunks_exact_mut(16) {
        // SAFETY: the chunk holds 16 numbers.
        let exponent = unsafe { _mm512_sub_ps(_mm512_loadu_ps(sixteen.as_ptr()), maximum) };
        let kept = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(exponent, least);
        // In this order NaN stays NaN.
        let exponent = _mm512_max_ps(least, exponent);
        let whole =
            _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(exponent);
        let rest = _mm512_sub_ps(exponent, whole);
        let mut power = _mm512_set1_ps(EXP2[0]);
        for factor in &EXP2[1..] {
            power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(*factor));
        }
        let result = _mm512_maskz_scalef_ps(kept, power, whole);
        sum = _mm512_add_ps(sum, result);
        // SAFETY: the chunk holds 16 numbers.
        unsafe { _mm512_storeu_ps(sixteen.as_mut_ptr(), result) };
    }
    sum
}

#[target_feature(enable = "avx512f")]
fn scale(numbers: &mut [f32], factor: f32) {
    for number in numbers {
        *number *= factor;
    }
}
