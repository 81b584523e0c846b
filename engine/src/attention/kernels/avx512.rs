//! AVX-512 F and BW on top of [`super::avx2`]: wider tiles of the product, wider exponentials and turns.

use super::{EXP2, Kernels, KeyTurn, avx2, even_tile};
use crate::kv::BLOCK_TOKENS;
use std::arch::x86_64::*;

/// Rows of a tile of `multiply`: 6 rows by 64 columns take 24 of the 32 registers.
const TILE_ROWS: usize = 6;

/// The set, if this processor has the instructions.
pub(super) fn kernels() -> Option<&'static Kernels> {
    static KERNELS: Kernels = Kernels {
        name: "avx512",
        widen: detected!(avx2::widen, halves, singles),
        widen_transposed: detected!(avx2::widen_transposed, halves, singles),
        turn_keys: detected!(turn_keys, keys, turn),
        multiply: detected!(multiply, a, b, c, depth, add),
        maximum: detected!(avx2::maximum, scores),
        exponentials: detected!(exponentials, scores, maximum),
        scale: detected!(scale, numbers, factor),
    };
    (is_x86_feature_detected!("avx512f") && avx2::kernels().is_some()).then_some(&KERNELS)
}

#[target_feature(enable = "avx512f")]
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
        let base_cos = _mm512_set1_ps(turn.base_cos[pair]);
        let base_sin = _mm512_set1_ps(turn.base_sin[pair]);
        let first_bias = _mm512_set1_ps(turn.bias[first]);
        let second_bias = _mm512_set1_ps(turn.bias[second]);
        for place in (0..BLOCK_TOKENS).step_by(16) {
            // SAFETY: `first` and `second` are below `channels`, `pair` below `pairs`, and `place + 16` at most 64:
            // all within the lengths compared above.
            unsafe {
                let first = keys.as_mut_ptr().add(first * BLOCK_TOKENS + place);
                let second = keys.as_mut_ptr().add(second * BLOCK_TOKENS + place);
                let at = pair * BLOCK_TOKENS + place;
                let cos = _mm512_loadu_ps(turn.place_cos.as_ptr().add(at));
                let sin = _mm512_loadu_ps(turn.place_sin.as_ptr().add(at));
                let x = _mm512_add_ps(_mm512_loadu_ps(first), first_bias);
                let y = _mm512_add_ps(_mm512_loadu_ps(second), second_bias);
                let a = _mm512_fmsub_ps(x, cos, _mm512_mul_ps(y, sin));
                let b = _mm512_fmadd_ps(x, sin, _mm512_mul_ps(y, cos));
                let x = _mm512_fmsub_ps(a, base_cos, _mm512_mul_ps(b, base_sin));
                let y = _mm512_fmadd_ps(a, base_sin, _mm512_mul_ps(b, base_cos));
                _mm512_storeu_ps(first, x);
                _mm512_storeu_ps(second, y);
            }
        }
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
fn exponentials(scores: &mut [f32; BLOCK_TOKENS], maximum: f32) -> f32 {
    let maximum = _mm512_set1_ps(maximum);
    let least = _mm512_set1_ps(-126.0);
    let mut sum = _mm512_setzero_ps();
    for sixteen in scores.chunks_exact_mut(16) {
        // SAFETY: the chunk holds 16 numbers.
        let exponent = unsafe { _mm512_sub_ps(_mm512_loadu_ps(sixteen.as_ptr()), maximum) };
        let kept = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(exponent, least);
        let exponent = _mm512_max_ps(exponent, least);
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
    let mut lanes = [0.0; 16];
    // SAFETY: the array holds 16 numbers.
    unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sum) };
    lanes.into_iter().sum()
}

#[target_feature(enable = "avx512f")]
fn scale(numbers: &mut [f32], factor: f32) {
    for number in numbers {
        *number *= factor;
    }
}
