//! AVX2, FMA and F16C: every x86-64 processor since 2013 (Haswell, Excavator).

use super::{
    EXP2, Kernels, KeyTurn, Running, best_key, check_codes, coded_values_avx2, even_tile, portable,
    whole_keys_avx2,
};
use crate::kv::format::{DROPPED_BITS, Grids, OFFSETS, RUN, VALUE_GROUP};
use crate::kv::{BLOCK_TOKENS, Codes};
use half::f16;
use lectern_models::Level;
use std::arch::x86_64::*;

/// Rows of a tile of `multiply`: 6 rows by 16 columns take 12 of the 16 registers.
const TILE_ROWS: usize = 6;

/// Only for processors of this level.
pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Avx2,
    widen: detected!(widen, halves, singles),
    widen_transposed: detected!(widen_transposed, halves, singles),
    turn_keys: detected!(turn_keys, keys, turn, turned),
    keys_of_codes: detected!(keys_of_codes, codes, turn, turned),
    values_of_codes: detected!(values_of_codes, codes, channels, values),
    spread_values: detected!(coded_values_avx2::spread, codes, channels, values),
    weigh_values: detected!(coded_values_avx2::weigh, weights, values, sums),
    turn_back: detected!(turn_back, rows, channels, cos, sin, turned),
    multiply: detected!(multiply, a, b, c, depth, add),
    weigh_scores: detected!(weigh_scores, scores, running),
    exponentials: detected!(exponentials, scores, maximum),
    best_key: detected!(best_key::with_avx2, rows, codes, largest),
    whole: Some(whole_keys_avx2::KERNELS),
    scale: detected!(scale, numbers, factor),
};

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn widen(halves: &[f16], singles: &mut [f32]) {
    let mut halves = halves.chunks_exact(8);
    let mut singles = singles.chunks_exact_mut(8);
    for (halves, singles) in (&mut halves).zip(&mut singles) {
        // SAFETY: both chunks hold 8 numbers.
        unsafe {
            let eight = _mm_loadu_si128(halves.as_ptr().cast());
            _mm256_storeu_ps(singles.as_mut_ptr(), _mm256_cvtph_ps(eight));
        }
    }
    for (half, single) in halves.remainder().iter().zip(singles.into_remainder()) {
        *single = half.to_f32();
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn widen_transposed(halves: &[f16], singles: &mut [f32]) {
    let channels = singles.len() / BLOCK_TOKENS;
    assert_eq!(halves.len(), channels * BLOCK_TOKENS);
    if !channels.is_multiple_of(8) {
        return portable::widen_transposed(halves, singles);
    }
    for place in (0..BLOCK_TOKENS).step_by(8) {
        for channel in (0..channels).step_by(8) {
            // SAFETY: rows `place..place + 8` and channels `channel..channel + 8` exist in both, whose lengths were
            // compared above.
            unsafe {
                let from = halves.as_ptr().add(place * channels + channel);
                let row = |n: usize| _mm_loadu_si128(from.add(n * channels).cast());
                let rows = [
                    row(0),
                    row(1),
                    row(2),
                    row(3),
                    row(4),
                    row(5),
                    row(6),
                    row(7),
                ];
                let to = singles.as_mut_ptr().add(channel * BLOCK_TOKENS + place);
                for (n, column) in transpose_8x8(rows).into_iter().enumerate() {
                    _mm256_storeu_ps(to.add(n * BLOCK_TOKENS), _mm256_cvtph_ps(column));
                }
            }
        }
    }
}

/// Transposes 8 by 8 numbers of 16 bits.
#[target_feature(enable = "avx2")]
fn transpose_8x8(r: [__m128i; 8]) -> [__m128i; 8] {
    let pairs = |a: usize| {
        (
            _mm_unpacklo_epi16(r[a], r[a + 1]),
            _mm_unpackhi_epi16(r[a], r[a + 1]),
        )
    };
    let ((low01, high01), (low23, high23)) = (pairs(0), pairs(2));
    let ((low45, high45), (low67, high67)) = (pairs(4), pairs(6));
    let quads = |a, b, c, d| {
        let (top, bottom) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
        let (top2, bottom2) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
        [
            _mm_unpacklo_epi64(top, bottom),
            _mm_unpackhi_epi64(top, bottom),
            _mm_unpacklo_epi64(top2, bottom2),
            _mm_unpackhi_epi64(top2, bottom2),
        ]
    };
    let [c0, c1, c2, c3] = quads(low01, low23, low45, low67);
    let [c4, c5, c6, c7] = quads(high01, high23, high45, high67);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

#[target_feature(enable = "avx2,fma")]
fn turn_keys(keys: &[f32], turn: &KeyTurn<'_>, turned: &mut [f32]) {
    turn.check(keys.len());
    let row = |channel: usize, half: usize| {
        let bias = _mm256_set1_ps(turn.bias[channel]);
        let from = &keys[channel * BLOCK_TOKENS + 32 * half..][..32];
        let mut row = [bias; 4];
        for (nth, eight) in row.iter_mut().enumerate() {
            // SAFETY: the 32 numbers of `from` hold four times eight.
            *eight = _mm256_add_ps(bias, unsafe { _mm256_loadu_ps(from.as_ptr().add(8 * nth)) });
        }
        row
    };
    turn_rows(turn, turned, row);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn keys_of_codes(codes: &Codes<'_>, turn: &KeyTurn<'_>, turned: &mut [f32]) {
    check_codes(codes, turn.bias.len(), BLOCK_TOKENS);
    let row = |channel: usize, half: usize| {
        let [step, least] = grid(codes, channel);
        let least = _mm256_add_ps(least, _mm256_set1_ps(turn.bias[channel]));
        run(codes, 2 * channel + half, step, least)
    };
    turn_rows(turn, turned, row);
}

/// Turns rows of channels, 32 keys with their bias at a time, to their places.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn turn_rows(turn: &KeyTurn<'_>, turned: &mut [f32], row: impl Fn(usize, usize) -> [__m256; 4]) {
    turn.check(turned.len());
    let pairs = turn.pairs();
    for pair in 0..pairs {
        let (first, second) = turn.channels(pair);
        for half in 0..2 {
            let (x, y) = (row(first, half), row(second, half));
            for nth in 0..4 {
                let at = pair * BLOCK_TOKENS + 32 * half + 8 * nth;
                // SAFETY: `at + 8` is at most `pairs * 64`, which is the length of the tables and at most half of
                // that of `turned`, as was compared above.
                unsafe {
                    let cos = _mm256_loadu_ps(turn.place_cos.as_ptr().add(at));
                    let sin = _mm256_loadu_ps(turn.place_sin.as_ptr().add(at));
                    let a = _mm256_fmsub_ps(x[nth], cos, _mm256_mul_ps(y[nth], sin));
                    let b = _mm256_fmadd_ps(x[nth], sin, _mm256_mul_ps(y[nth], cos));
                    let to = turned.as_mut_ptr().add(at);
                    _mm256_storeu_ps(to, a);
                    _mm256_storeu_ps(to.add(pairs * BLOCK_TOKENS), b);
                }
            }
        }
    }
    let alone = turned.chunks_exact_mut(BLOCK_TOKENS).enumerate();
    for (channel, turned) in alone.skip(2 * pairs) {
        for half in 0..2 {
            for (nth, eight) in row(channel, half).into_iter().enumerate() {
                // SAFETY: the chunk holds 64 numbers.
                unsafe { _mm256_storeu_ps(turned.as_mut_ptr().add(32 * half + 8 * nth), eight) };
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn values_of_codes(codes: &Codes<'_>, channels: usize, values: &mut [f32]) {
    assert_eq!(values.len(), BLOCK_TOKENS * channels);
    let groups = channels.div_ceil(VALUE_GROUP);
    check_codes(codes, BLOCK_TOKENS * groups, VALUE_GROUP);
    for (token, row) in values.chunks_exact_mut(channels).enumerate() {
        for (nth, values) in row.chunks_mut(RUN).enumerate() {
            let nth = token * groups * (VALUE_GROUP / RUN) + nth;
            let [step, least] = grid(codes, nth / (VALUE_GROUP / RUN));
            let numbers = run(codes, nth, step, least);
            let mut last = [0.0; RUN];
            let whole = values.len() == RUN;
            let to = if whole { &mut *values } else { &mut last };
            for (nth, eight) in numbers.into_iter().enumerate() {
                // SAFETY: `to` holds 32 numbers.
                unsafe { _mm256_storeu_ps(to.as_mut_ptr().add(8 * nth), eight) };
            }
            if !whole {
                values.copy_from_slice(&last[..values.len()]);
            }
        }
    }
}

/// Step and least number of a grid, in all lanes.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn grid(codes: &Codes<'_>, nth: usize) -> [__m256; 2] {
    let [step, least] = step_and_least(codes, nth);
    [_mm256_broadcastss_ps(step), _mm256_broadcastss_ps(least)]
}

/// The same, each in the first lane.
#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(super) fn step_and_least(codes: &Codes<'_>, nth: usize) -> [__m128; 2] {
    match codes.grids {
        Grids::Halves(grids) => {
            let both = _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from_le_bytes(grids[nth])));
            [both, _mm_movehdup_ps(both)]
        }
        Grids::Bytes(grids) => {
            let [offset, step] = grids[nth];
            let step = _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(step) << DROPPED_BITS));
            let offset = _mm_cvtsi32_ss(_mm_setzero_ps(), i32::from(offset as i8));
            let offset_step = _mm_mul_ss(step, _mm_set_ss(1.0 / OFFSETS));
            [step, _mm_mul_ss(offset, offset_step)]
        }
    }
}

/// Steps and least numbers of eight grids of two bytes, which lie as in [`Grids::Bytes`]: offsets below, steps above.
#[inline]
#[target_feature(enable = "avx2,f16c")]
pub(super) fn grids(eight: __m128i) -> [__m256; 2] {
    let halves = _mm_slli_epi16::<{ DROPPED_BITS as i32 }>(_mm_srli_epi16::<8>(eight));
    let steps = _mm256_cvtph_ps(halves);
    let offsets = _mm_srai_epi16::<8>(_mm_slli_epi16::<8>(eight));
    let offsets = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(offsets));
    let least = _mm256_mul_ps(_mm256_mul_ps(steps, _mm256_set1_ps(1.0 / OFFSETS)), offsets);
    [steps, least]
}

/// The 32 numbers of a run of codes.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn run(codes: &Codes<'_>, run: usize, step: __m256, least: __m256) -> [__m256; 4] {
    let number = |code: __m256i| _mm256_fmadd_ps(_mm256_cvtepi32_ps(code), step, least);
    // SAFETY: eight bytes are read at `at + 8 * nth`, whose end the slicing compared with the length.
    let eight = |packed: &[u8]| unsafe { _mm_loadl_epi64(packed[..8].as_ptr().cast()) };
    if codes.bits == 4 {
        let packed = &codes.packed[16 * run..][..16];
        let low = _mm256_cvtepu8_epi32(eight(packed));
        let high = _mm256_cvtepu8_epi32(eight(&packed[8..]));
        let mask = _mm256_set1_epi32(15);
        [
            number(_mm256_and_si256(low, mask)),
            number(_mm256_and_si256(high, mask)),
            number(_mm256_srli_epi32::<4>(low)),
            number(_mm256_srli_epi32::<4>(high)),
        ]
    } else {
        let packed = &codes.packed[32 * run..][..32];
        [0, 8, 16, 24].map(|at| number(_mm256_cvtepu8_epi32(eight(&packed[at..]))))
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn turn_back(
    rows: &[f32],
    channels: usize,
    cos: &[f32],
    sin: &[f32],
    turned: &mut [f32],
) {
    let pairs = cos.len();
    assert!(sin.len() == pairs && 2 * pairs <= channels && rows.len() == turned.len());
    if !pairs.is_multiple_of(8) {
        return portable::turn_back(rows, channels, cos, sin, turned);
    }
    for (row, turned) in rows
        .chunks_exact(channels)
        .zip(turned.chunks_exact_mut(channels))
    {
        for pair in (0..pairs).step_by(8) {
            // SAFETY: `pair + 8` is at most `pairs`, the length of the tables, and rows hold twice as many at least.
            unsafe {
                let cos = _mm256_loadu_ps(cos.as_ptr().add(pair));
                let sin = _mm256_loadu_ps(sin.as_ptr().add(pair));
                let x = _mm256_loadu_ps(row.as_ptr().add(pair));
                let y = _mm256_loadu_ps(row.as_ptr().add(pairs + pair));
                let a = _mm256_fmadd_ps(x, cos, _mm256_mul_ps(y, sin));
                let b = _mm256_fmsub_ps(y, cos, _mm256_mul_ps(x, sin));
                _mm256_storeu_ps(turned.as_mut_ptr().add(pair), a);
                _mm256_storeu_ps(turned.as_mut_ptr().add(pairs + pair), b);
            }
        }
        turned[2 * pairs..].copy_from_slice(&row[2 * pairs..]);
    }
}

#[target_feature(enable = "avx2,fma")]
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

/// `ROWS` rows of a product, 16 columns at a time.
#[target_feature(enable = "avx2,fma")]
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
    while column + 16 <= columns {
        // SAFETY: `column + 16 <= columns`, rows below `ROWS`, steps below `depth`: within the lengths compared above.
        unsafe {
            let to = c.as_mut_ptr().add(column);
            let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
            if add {
                for (row, sums) in sums.iter_mut().enumerate() {
                    sums[0] = _mm256_loadu_ps(to.add(row * columns));
                    sums[1] = _mm256_loadu_ps(to.add(row * columns + 8));
                }
            }
            for step in 0..depth {
                let from = b.as_ptr().add(step * columns + column);
                let (left, right) = (_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8)));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let factor = _mm256_broadcast_ss(&*a.as_ptr().add(row * depth + step));
                    sums[0] = _mm256_fmadd_ps(factor, left, sums[0]);
                    sums[1] = _mm256_fmadd_ps(factor, right, sums[1]);
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                _mm256_storeu_ps(to.add(row * columns), sums[0]);
                _mm256_storeu_ps(to.add(row * columns + 8), sums[1]);
            }
        }
        column += 16;
    }
    // Head sizes that are no multiple of 16 are rare; the same operations one column at a time.
    for column in column..columns {
        for row in 0..ROWS {
            let mut sum = if add { c[row * columns + column] } else { 0.0 };
            for step in 0..depth {
                sum = a[row * depth + step].mul_add(b[step * columns + column], sum);
            }
            c[row * columns + column] = sum;
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn weigh_scores(scores: &mut [[f32; BLOCK_TOKENS]], mut running: Running<'_>) {
    running.check(scores.len());
    for (row, scores) in scores.iter_mut().enumerate() {
        let mut new = _mm256_set1_ps(f32::NEG_INFINITY);
        for eight in scores.chunks_exact(8) {
            // SAFETY: the chunk holds 8 numbers.
            new = _mm256_max_ps(unsafe { _mm256_loadu_ps(eight.as_ptr()) }, new);
        }
        let largest = running.raise(row, largest_of_eight(new));
        let sum = exponentials(scores, largest);
        running.sums[row] = running.sums[row] * running.keeps[row] + sum;
    }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn largest_of_eight(numbers: __m256) -> f32 {
    let half = _mm_max_ps(
        _mm256_castps256_ps128(numbers),
        _mm256_extractf128_ps::<1>(numbers),
    );
    let quarter = _mm_max_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_max_ss(quarter, _mm_movehdup_ps(quarter)))
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn sum_of_eight(numbers: __m256) -> f32 {
    let half = _mm_add_ps(
        _mm256_castps256_ps128(numbers),
        _mm256_extractf128_ps::<1>(numbers),
    );
    let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn exponentials(scores: &mut [f32; BLOCK_TOKENS], maximum: f32) -> f32 {
    let maximum = _mm256_set1_ps(maximum);
    let least = _mm256_set1_ps(-126.0);
    let mut sum = _mm256_setzero_ps();
    for eight in scores.chunks_exact_mut(8) {
        // SAFETY: the chunk holds 8 numbers.
        let exponent = unsafe { _mm256_sub_ps(_mm256_loadu_ps(eight.as_ptr()), maximum) };
        let kept = _mm256_cmp_ps::<_CMP_NLT_UQ>(exponent, least);
        // In this order NaN stays NaN.
        let exponent = _mm256_max_ps(least, exponent);
        let whole = _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(exponent);
        let rest = _mm256_sub_ps(exponent, whole);
        let mut power = _mm256_set1_ps(EXP2[0]);
        for factor in &EXP2[1..] {
            power = _mm256_fmadd_ps(power, rest, _mm256_set1_ps(*factor));
        }
        let biased = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
        let scale = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased));
        let result = _mm256_and_ps(_mm256_mul_ps(power, scale), kept);
        sum = _mm256_add_ps(sum, result);
        // SAFETY: the chunk holds 8 numbers.
        unsafe { _mm256_storeu_ps(eight.as_mut_ptr(), result) };
    }
    sum_of_eight(sum)
}

#[target_feature(enable = "avx2")]
pub(super) fn scale(numbers: &mut [f32], factor: f32) {
    for number in numbers {
        *number *= factor;
    }
}
