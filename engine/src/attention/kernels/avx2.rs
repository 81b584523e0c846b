//! AVX2, FMA and F16C: every x86-64 processor since 2013 (Haswell, Excavator).

use super::{EXP2, Kernels, KeyTurn, even_tile, portable};
use crate::kv::BLOCK_TOKENS;
use half::f16;
use std::arch::x86_64::*;

/// Rows of a tile of `multiply`: 6 rows by 16 columns take 12 of the 16 registers.
const TILE_ROWS: usize = 6;

/// The set, if this processor has the instructions.
pub(super) fn kernels() -> Option<&'static Kernels> {
    static KERNELS: Kernels = Kernels {
        name: "avx2",
        widen: detected!(widen, halves, singles),
        widen_transposed: detected!(widen_transposed, halves, singles),
        turn_keys: detected!(turn_keys, keys, turn),
        multiply: detected!(multiply, a, b, c, depth, add),
        maximum: detected!(maximum, scores),
        exponentials: detected!(exponentials, scores, maximum),
        scale: detected!(scale, numbers, factor),
    };
    let able = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    able.then_some(&KERNELS)
}

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
fn turn_keys(keys: &mut [f32], turn: &KeyTurn<'_>) {
    let pairs = turn.base_cos.len();
    let channels = turn.bias.len();
    assert_eq!(keys.len(), channels * BLOCK_TOKENS);
    assert!(2 * pairs <= channels && turn.base_sin.len() == pairs);
    assert!(turn.place_cos.len() == pairs * BLOCK_TOKENS);
    assert!(turn.place_sin.len() == pairs * BLOCK_TOKENS);
    for (channel, bias) in keys
        .chunks_exact_mut(BLOCK_TOKENS)
        .zip(turn.bias)
        .skip(2 * pairs)
    {
        for key in channel {
            *key += bias;
        }
    }
    for pair in 0..pairs {
        let (first, second) = turn.channels(pair);
        let base_cos = _mm256_set1_ps(turn.base_cos[pair]);
        let base_sin = _mm256_set1_ps(turn.base_sin[pair]);
        let first_bias = _mm256_set1_ps(turn.bias[first]);
        let second_bias = _mm256_set1_ps(turn.bias[second]);
        for place in (0..BLOCK_TOKENS).step_by(8) {
            // SAFETY: `first` and `second` are below `channels`, `pair` below `pairs`, and `place + 8` at most 64:
            // all within the lengths compared above.
            unsafe {
                let first = keys.as_mut_ptr().add(first * BLOCK_TOKENS + place);
                let second = keys.as_mut_ptr().add(second * BLOCK_TOKENS + place);
                let at = pair * BLOCK_TOKENS + place;
                let cos = _mm256_loadu_ps(turn.place_cos.as_ptr().add(at));
                let sin = _mm256_loadu_ps(turn.place_sin.as_ptr().add(at));
                let x = _mm256_add_ps(_mm256_loadu_ps(first), first_bias);
                let y = _mm256_add_ps(_mm256_loadu_ps(second), second_bias);
                let a = _mm256_fmsub_ps(x, cos, _mm256_mul_ps(y, sin));
                let b = _mm256_fmadd_ps(x, sin, _mm256_mul_ps(y, cos));
                let x = _mm256_fmsub_ps(a, base_cos, _mm256_mul_ps(b, base_sin));
                let y = _mm256_fmadd_ps(a, base_sin, _mm256_mul_ps(b, base_cos));
                _mm256_storeu_ps(first, x);
                _mm256_storeu_ps(second, y);
            }
        }
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

#[target_feature(enable = "avx2")]
pub(super) fn maximum(scores: &[f32; BLOCK_TOKENS]) -> f32 {
    let mut largest = _mm256_set1_ps(f32::NEG_INFINITY);
    for eight in scores.chunks_exact(8) {
        // SAFETY: the chunk holds 8 numbers.
        largest = _mm256_max_ps(largest, unsafe { _mm256_loadu_ps(eight.as_ptr()) });
    }
    lanes(largest).into_iter().fold(f32::NEG_INFINITY, f32::max)
}

#[target_feature(enable = "avx2,fma")]
fn exponentials(scores: &mut [f32; BLOCK_TOKENS], maximum: f32) -> f32 {
    let maximum = _mm256_set1_ps(maximum);
    let least = _mm256_set1_ps(-126.0);
    let mut sum = _mm256_setzero_ps();
    for eight in scores.chunks_exact_mut(8) {
        // SAFETY: the chunk holds 8 numbers.
        let exponent = unsafe { _mm256_sub_ps(_mm256_loadu_ps(eight.as_ptr()), maximum) };
        let kept = _mm256_cmp_ps::<_CMP_NLT_UQ>(exponent, least);
        let exponent = _mm256_max_ps(exponent, least);
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
    lanes(sum).into_iter().sum()
}

#[target_feature(enable = "avx2")]
fn lanes(vector: __m256) -> [f32; 8] {
    let mut lanes = [0.0; 8];
    // SAFETY: the array holds 8 numbers.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), vector) };
    lanes
}

#[target_feature(enable = "avx2")]
pub(super) fn scale(numbers: &mut [f32], factor: f32) {
    for number in numbers {
        *number *= factor;
    }
}
