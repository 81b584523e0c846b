//! Weighted sums of values in codes of 4 bits, in integers.
//!
//! A value is `middle + step * (code - 8)`, with step and middle of its token and 32 channels. So the weighted sum over
//! a block's 64 tokens is that of the middles, which is in F32, and that of `weight * step` times small integers. The
//! factors `weight * step` of a row and 32 channels are rounded to 255ths of the largest among the 64, and multiplied
//! with the codes by the processor's 8-bit dot products: a quarter of the time that F32 takes.
//!
//! **Error.** Each factor is off by at most a 510th of the largest, times at most 8: at most `64 * 8 / 510`, for
//! rounding that goes either way about 0.04, of the step of the token that weighs most. The codes themselves are off by
//! half a step each, 0.3 in the mean, so this adds a hundredth to the variance that the format has. Taking codes from
//! their middle makes the error fall either way: weights too small for the grid then leave out no part of the value
//! that all tokens share.

use super::check_codes;
use crate::kv::format::{Grid, VALUE_GROUP};
use crate::kv::{BLOCK_TOKENS, Codes};

/// Tokens whose codes lie together: what a dot-product instruction adds up.
pub(super) const QUAD: usize = 4;

/// Quads of a block.
pub(super) const QUADS: usize = BLOCK_TOKENS / QUAD;

/// Largest `weight * step` that counts as nothing, far above what would overflow the reciprocal.
pub(super) const NOTHING: f32 = 1e-30;

/// One head's values of a block, ready to be weighted.
#[derive(Debug, Default)]
pub struct SpreadValues {
    pub(super) channels: usize,
    /// Codes less 8: `[16 quads][channels][4 tokens]`.
    pub(super) codes: Vec<i8>,
    /// `[groups of 32 channels][64]`.
    pub(super) steps: Vec<f32>,
    /// What a code of 8 stands for: `[groups of 32 channels][64]`.
    pub(super) middles: Vec<f32>,
}

impl SpreadValues {
    /// Whether values of so many bits and channels can be taken this way.
    pub fn serves(bits: usize, channels: usize) -> bool {
        bits == 4 && channels.is_multiple_of(2 * VALUE_GROUP)
    }

    /// Groups of channels that share a step.
    pub(super) fn groups(&self) -> usize {
        self.channels / VALUE_GROUP
    }

    /// Makes room for the values of a head of `channels`.
    pub(super) fn prepare(&mut self, codes: &Codes<'_>, channels: usize) {
        assert!(SpreadValues::serves(codes.bits, channels));
        let groups = channels / VALUE_GROUP;
        check_codes(codes, BLOCK_TOKENS * groups, VALUE_GROUP);
        self.channels = channels;
        self.codes.resize(channels * BLOCK_TOKENS, 0);
        self.steps.resize(groups * BLOCK_TOKENS, 0.0);
        self.middles.resize(groups * BLOCK_TOKENS, 0.0);
    }

    /// That rows of weights go with rows of sums; how many there are.
    pub(super) fn check(&self, weights: &[f32], sums: &[f32]) -> usize {
        let rows = weights.len() / BLOCK_TOKENS;
        assert_eq!(weights.len(), rows * BLOCK_TOKENS);
        assert_eq!(sums.len(), rows * self.channels);
        assert_eq!(self.codes.len(), self.channels * BLOCK_TOKENS);
        assert_eq!(self.steps.len(), self.groups() * BLOCK_TOKENS);
        assert_eq!(self.middles.len(), self.steps.len());
        rows
    }
}

/// See [`Kernels::spread_values`](super::Kernels::spread_values).
pub(super) fn spread(codes: &Codes<'_>, channels: usize, values: &mut SpreadValues) {
    values.prepare(codes, channels);
    let groups = values.groups();
    spread_grids(codes, values);
    for (run, packed) in codes.packed.as_chunks::<16>().0.iter().enumerate() {
        let (token, group) = (run / groups, run % groups);
        for channel in 0..VALUE_GROUP {
            let code = packed[channel % 16] >> (4 * (channel / 16)) & 15;
            let channel = group * VALUE_GROUP + channel;
            let at = (token / QUAD * channels + channel) * QUAD + token % QUAD;
            values.codes[at] = code as i8 - 8;
        }
    }
}

/// Steps and middles of the grids, groups as rows.
fn spread_grids(codes: &Codes<'_>, values: &mut SpreadValues) {
    let groups = values.groups();
    for nth in 0..codes.grids.count() {
        let at = nth % groups * BLOCK_TOKENS + nth / groups;
        let Grid { step, least } = codes.grids.at(nth);
        values.steps[at] = step;
        values.middles[at] = step * 8.0 + least;
    }
}

/// See [`Kernels::weigh_values`](super::Kernels::weigh_values).
pub(super) fn weigh(weights: &[f32], values: &SpreadValues, sums: &mut [f32]) {
    values.check(weights, sums);
    let rows = weights.as_chunks::<BLOCK_TOKENS>().0.iter();
    for (weights, sums) in rows.zip(sums.chunks_exact_mut(values.channels)) {
        for (group, sums) in sums.chunks_exact_mut(VALUE_GROUP).enumerate() {
            let grids = group * BLOCK_TOKENS..(group + 1) * BLOCK_TOKENS;
            let (steps, middles) = (&values.steps[grids.clone()], &values.middles[grids]);
            let factors = weights
                .iter()
                .zip(steps)
                .map(|(weight, step)| weight * step);
            let largest = factors.clone().fold(0.0, f32::max);
            let (scale, reciprocal) = if largest < NOTHING {
                (0.0, 0.0)
            } else {
                (largest * (1.0 / 255.0), 255.0 / largest)
            };
            let mut rounded = [0u8; BLOCK_TOKENS];
            for (rounded, factor) in rounded.iter_mut().zip(factors) {
                *rounded = (factor * reciprocal).round_ties_even() as u8;
            }
            let middle: f32 = weights.iter().zip(middles).map(|(w, m)| w * m).sum();
            for (channel, sum) in sums.iter_mut().enumerate() {
                let channel = group * VALUE_GROUP + channel;
                let mut total = 0;
                for (quad, rounded) in rounded.as_chunks::<QUAD>().0.iter().enumerate() {
                    let codes = &values.codes[(quad * values.channels + channel) * QUAD..][..QUAD];
                    for (factor, code) in rounded.iter().zip(codes) {
                        total += i32::from(*factor) * i32::from(*code);
                    }
                }
                *sum += total as f32 * scale + middle;
            }
        }
    }
}
