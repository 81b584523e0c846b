//! The inner loops of attention, each in a portable form and with the vector instructions where they pay.
//!
//! All work on one block of 64 keys of one head. Which set runs is a matter of the process's [`Level`]. Within a set
//! every element of a result is computed by the same operations in the same order whatever the number of rows.

/// A kernel that needs processor features as an ordinary function, for a table that is handed out only where the
/// processor was seen to have them.
#[cfg(target_arch = "x86_64")]
macro_rules! detected {
    ($kernel:path, $($argument:ident),+) => {
        |$($argument),+| {
            // SAFETY: whoever holds the table got it from `Kernels::of`, and levels exist only where they were detected.
            unsafe { $kernel($($argument),+) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod best_key;
mod coded_values;
#[cfg(target_arch = "x86_64")]
mod coded_values_avx2;
#[cfg(target_arch = "x86_64")]
mod coded_values_avx512;
mod portable;
#[cfg(test)]
pub(in crate::attention) mod tests;
#[cfg(test)]
mod weighing_tests;
mod whole_keys;
#[cfg(target_arch = "x86_64")]
mod whole_keys_avx2;
#[cfg(target_arch = "x86_64")]
mod whole_keys_avx512;
#[cfg(test)]
mod whole_keys_tests;

use crate::kv::{BLOCK_TOKENS, Codes};
pub use coded_values::SpreadValues;
use half::f16;
use lectern_models::Level;
use lectern_models::attention::RotaryPairing;
pub use whole_keys::{Two, WholeKeys, WholeScores, length, twos};

/// How the keys of a block are turned to their places in it.
///
/// Turned keys stand in the order of pairs: the first channels of all pairs, the second ones, then those that are not
/// turned. A product of queries and keys does not mind, as long as both stand alike.
#[derive(Debug, Clone, Copy)]
pub struct KeyTurn<'a> {
    /// Which channels form a pair.
    pub pairing: RotaryPairing,
    /// Added before turning, `[head_dim]`.
    pub bias: &'a [f32],
    /// Cosine by pair and place in the block, `[pairs][64]`.
    pub place_cos: &'a [f32],
    /// Sine likewise.
    pub place_sin: &'a [f32],
}

impl KeyTurn<'_> {
    fn pairs(&self) -> usize {
        self.place_cos.len() / BLOCK_TOKENS
    }

    /// The two channels of a pair.
    fn channels(&self, pair: usize) -> (usize, usize) {
        pair_channels(self.pairing, self.pairs(), pair)
    }

    /// That keys of `[channels][64]` numbers go with the tables.
    fn check(&self, keys: usize) {
        assert_eq!(keys, self.bias.len() * BLOCK_TOKENS);
        assert_eq!(self.place_cos.len(), self.pairs() * BLOCK_TOKENS);
        assert_eq!(self.place_sin.len(), self.place_cos.len());
        assert!(2 * self.pairs() <= self.bias.len());
    }
}

/// The two channels of a pair out of so many pairs.
pub(in crate::attention) fn pair_channels(
    pairing: RotaryPairing,
    pairs: usize,
    pair: usize,
) -> (usize, usize) {
    match pairing {
        RotaryPairing::Halves => (pair, pair + pairs),
        RotaryPairing::Neighbours => (2 * pair, 2 * pair + 1),
    }
}

/// Has these bytes fetched to the caches before they are needed; a hint, without effect where there is none.
#[inline]
pub(super) fn ask_for(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 processor has this instruction, and it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// That codes of 4 or 8 bits with so many grids of `per_grid` numbers are whole.
fn check_codes(codes: &Codes<'_>, grids: usize, per_grid: usize) {
    assert!(matches!(codes.bits, 4 | 8));
    assert_eq!(codes.grids.count(), grids);
    assert_eq!(codes.packed.len(), grids * per_grid * codes.bits / 8);
}

/// What is kept of the softmax of some rows; all of one length.
#[derive(Debug)]
pub struct Running<'a> {
    /// Largest score so far, `-infinity` before the first.
    pub largest: &'a mut [f32],
    /// Sum of the weights relative to it.
    pub sums: &'a mut [f32],
    /// Out: what everything summed before must be multiplied by, because the largest score has grown.
    pub keeps: &'a mut [f32],
}

impl Running<'_> {
    fn check(&self, rows: usize) {
        assert!(self.largest.len() == rows && self.sums.len() == rows && self.keeps.len() == rows);
    }

    /// Takes in a row's largest new score; returns the largest of all.
    #[inline(always)]
    fn raise(&mut self, row: usize, new: f32) -> f32 {
        let old = self.largest[row];
        let largest = old.max(new);
        // Mostly nothing changes, and the power is not cheap. Before the first score there is nothing to keep.
        self.keeps[row] = if largest == old || old == f32::NEG_INFINITY {
            1.0
        } else {
            power_of_two(old - largest)
        };
        self.largest[row] = largest;
        largest
    }
}

/// The channels of rows and codes for [`Kernels::best_key`].
fn check_best_key(rows: &[i8], codes: &[u8], largest: &[i32]) -> usize {
    let channels = codes.len() / BLOCK_TOKENS;
    assert!(channels.is_multiple_of(4) && codes.len() == channels * BLOCK_TOKENS);
    assert_eq!(rows.len(), channels * largest.len());
    channels
}

/// See [`Kernels::turn_back`].
pub type TurnBack = fn(rows: &[f32], channels: usize, cos: &[f32], sin: &[f32], turned: &mut [f32]);

/// One set of inner loops.
#[derive(Debug)]
pub struct Kernels {
    /// What processors it is for.
    pub level: Level,
    /// Half to single precision; equal lengths.
    pub widen: fn(halves: &[f16], singles: &mut [f32]),
    /// Half to single precision, `[64][channels]` to `[channels][64]`.
    pub widen_transposed: fn(halves: &[f16], singles: &mut [f32]),
    /// Adds the bias to keys `[channels][64]` and turns them to their places in the block; out in the order of pairs.
    pub turn_keys: fn(keys: &[f32], turn: &KeyTurn<'_>, turned: &mut [f32]),
    /// The same from the codes of keys, of 4 or 8 bits.
    pub keys_of_codes: fn(codes: &Codes<'_>, turn: &KeyTurn<'_>, turned: &mut [f32]),
    /// Values `[64][channels]` from their codes, of 4 or 8 bits.
    pub values_of_codes: fn(codes: &Codes<'_>, channels: usize, values: &mut [f32]),
    /// Values from codes of 4 bits for `weigh_values`, where [`SpreadValues::serves`].
    pub spread_values: fn(codes: &Codes<'_>, channels: usize, values: &mut SpreadValues),
    /// Adds a block's values, weighted, to `sums`, `[rows][channels]`; `weights` are `[rows][64]`.
    pub weigh_values: fn(weights: &[f32], values: &SpreadValues, sums: &mut [f32]),
    /// Turns query rows, in the order of pairs, back by the block's first position: `cos` and `sin` are of that
    /// position by pair.
    pub turn_back: TurnBack,
    /// `c (+)= a b` with `a` `[rows][depth]`, `b` `[depth][columns]`, `c` `[rows][columns]`; adds to what `c` holds if
    /// `add`, else overwrites it. Every element is summed over `depth` in order.
    pub multiply: fn(a: &[f32], b: &[f32], c: &mut [f32], depth: usize, add: bool),
    /// Takes rows of 64 scores into their running softmax, of whose sums the old part is already what `largest` was
    /// then: replaces each score by its weight, `2^(score - largest)`.
    pub weigh_scores: fn(scores: &mut [[f32; BLOCK_TOKENS]], running: Running<'_>),
    /// Replaces each score by `2^(score - maximum)` and returns their sum; exactly 0 below `2^-126`.
    pub exponentials: fn(scores: &mut [f32; BLOCK_TOKENS], maximum: f32) -> f32,
    /// For each row the largest product with any of 64 keys, in whole numbers: `rows` `[rows][channels]`, `codes`
    /// `[channels / 4][64][4]`, codes of at most 127.
    pub best_key: fn(rows: &[i8], codes: &[u8], largest: &mut [i32]),
    /// Scores of keys in codes of 4 bits, in whole numbers; `None` where that is no faster.
    pub whole: Option<WholeScores>,
    /// Multiplies all by `factor`.
    pub scale: fn(numbers: &mut [f32], factor: f32),
}

impl Kernels {
    /// The set this process uses.
    pub fn chosen() -> &'static Kernels {
        Kernels::of(Level::chosen())
    }

    /// The set of a level; AVX-VNNI, which has nothing for attention, shares that of AVX2.
    ///
    /// # Panics
    /// If this processor is not of that level.
    pub fn of(level: Level) -> &'static Kernels {
        assert!(level.detected(), "this processor cannot run {level}");
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::AvxVnni => &avx2::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => &avx512::KERNELS,
            _ => &portable::KERNELS,
        }
    }

    /// The sets this processor can run, slowest first.
    pub fn available() -> Vec<&'static Kernels> {
        let mut available: Vec<_> = Level::available().into_iter().map(Kernels::of).collect();
        available.dedup_by_key(|kernels| kernels.level);
        available
    }
}

/// Coefficients of 2^f on [-1/2, 1/2], highest power first; largest relative error 1.6e-8 as F32 coefficients.
///
/// Minimax polynomial of degree 6, found by Remez exchange on the relative error.
const EXP2: [f32; 7] = [
    0.000_153_458_12,
    0.001_339_993_1,
    0.009_618_489,
    0.055_503_286,
    0.240_226_46,
    std::f32::consts::LN_2,
    1.0,
];

/// `2^exponent` of an exponent that is not positive; exactly 0 below `2^-126`. NaN stays NaN.
#[inline(always)]
fn power_of_two(exponent: f32) -> f32 {
    // Not `max`, which makes a number of NaN.
    let within = if exponent < -126.0 { -126.0 } else { exponent };
    // Adding and taking away 1.5 * 2^23 rounds to the nearest whole number.
    let whole = (within + 12_582_912.0) - 12_582_912.0;
    let rest = within - whole;
    let power = EXP2.iter().fold(0.0, |sum, factor| sum * rest + factor);
    let scaled = power * f32::from_bits(((whole as i32 + 127) << 23) as u32);
    if exponent < -126.0 { 0.0 } else { scaled }
}

/// Rows taken together by a tile of at most `limit` rows, so that tiles are as even as can be.
fn even_tile(rows: usize, limit: usize) -> usize {
    rows.div_ceil(rows.div_ceil(limit).max(1))
}
