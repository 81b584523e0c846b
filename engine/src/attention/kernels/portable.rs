//! Plain loops that the compiler vectorises for whatever it targets; also the reading aid for the other sets.

use super::{EXP2, Kernels, KeyTurn};
use crate::kv::BLOCK_TOKENS;
use half::f16;
use half::slice::HalfFloatSliceExt;

pub(super) static KERNELS: Kernels = Kernels {
    name: "portable",
    widen,
    widen_transposed,
    turn_keys,
    multiply,
    maximum,
    exponentials,
    scale,
};

fn widen(halves: &[f16], singles: &mut [f32]) {
    halves.convert_to_f32_slice(singles);
}

pub(super) fn widen_transposed(halves: &[f16], singles: &mut [f32]) {
    let channels = singles.len() / BLOCK_TOKENS;
    for (place, row) in halves.chunks_exact(channels).enumerate() {
        for (channel, half) in row.iter().enumerate() {
            singles[channel * BLOCK_TOKENS + place] = half.to_f32();
        }
    }
}

pub(super) fn turn_keys(keys: &mut [f32], turn: &KeyTurn<'_>) {
    for (channel, bias) in keys.chunks_exact_mut(BLOCK_TOKENS).zip(turn.bias) {
        for key in channel {
            *key += bias;
        }
    }
    for pair in 0..turn.base_cos.len() {
        let (first, second) = turn.channels(pair);
        let (low, high) = keys.split_at_mut(second * BLOCK_TOKENS);
        let first = &mut low[first * BLOCK_TOKENS..][..BLOCK_TOKENS];
        let second = &mut high[..BLOCK_TOKENS];
        let places = pair * BLOCK_TOKENS..(pair + 1) * BLOCK_TOKENS;
        let cos = &turn.place_cos[places.clone()];
        let sin = &turn.place_sin[places];
        let (base_cos, base_sin) = (turn.base_cos[pair], turn.base_sin[pair]);
        for place in 0..BLOCK_TOKENS {
            let a = first[place] * cos[place] - second[place] * sin[place];
            let b = first[place] * sin[place] + second[place] * cos[place];
            first[place] = a * base_cos - b * base_sin;
            second[place] = a * base_sin + b * base_cos;
        }
    }
}

fn multiply(a: &[f32], b: &[f32], c: &mut [f32], depth: usize, add: bool) {
    let columns = b.len() / depth;
    for (a, c) in a.chunks_exact(depth).zip(c.chunks_exact_mut(columns)) {
        if !add {
            c.fill(0.0);
        }
        for (a, b) in a.iter().zip(b.chunks_exact(columns)) {
            for (c, b) in c.iter_mut().zip(b) {
                *c += a * b;
            }
        }
    }
}

fn maximum(scores: &[f32; BLOCK_TOKENS]) -> f32 {
    scores.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

fn exponentials(scores: &mut [f32; BLOCK_TOKENS], maximum: f32) -> f32 {
    for score in scores.iter_mut() {
        let exponent = *score - maximum;
        // Adding and taking away 1.5 * 2^23 rounds to the nearest whole number.
        let whole = (exponent.max(-126.0) + 12_582_912.0) - 12_582_912.0;
        let rest = exponent.max(-126.0) - whole;
        let power = EXP2.iter().fold(0.0, |sum, factor| sum * rest + factor);
        let scaled = power * f32::from_bits(((whole as i32 + 127) << 23) as u32);
        *score = if exponent < -126.0 { 0.0 } else { scaled };
    }
    scores.iter().sum()
}

fn scale(numbers: &mut [f32], factor: f32) {
    for number in numbers {
        *number *= factor;
    }
}
