//! Plain loops that the compiler vectorises for whatever it targets; also the reading aid for the other sets.

use super::{Kernels, KeyTurn, Running, check_best_key, check_codes, coded_values, power_of_two};
use crate::kv::format::{Grid, RUN, VALUE_GROUP};
use crate::kv::{BLOCK_TOKENS, Codes};
use half::f16;
use half::slice::HalfFloatSliceExt;
use lectern_models::Level;

pub(super) static KERNELS: Kernels = Kernels {
    level: Level::Portable,
    widen,
    widen_transposed,
    turn_keys,
    keys_of_codes,
    values_of_codes,
    spread_values: coded_values::spread,
    weigh_values: coded_values::weigh,
    turn_back,
    multiply,
    weigh_scores,
    exponentials,
    best_key,
    whole: None,
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

fn turn_keys(keys: &[f32], turn: &KeyTurn<'_>, turned: &mut [f32]) {
    turn.check(keys.len());
    turn.check(turned.len());
    let row = |channel: usize| {
        let keys = &keys[channel * BLOCK_TOKENS..][..BLOCK_TOKENS];
        std::array::from_fn(|place| keys[place] + turn.bias[channel])
    };
    turn_rows(turn, turned, row);
}

fn keys_of_codes(codes: &Codes<'_>, turn: &KeyTurn<'_>, turned: &mut [f32]) {
    turn.check(turned.len());
    check_codes(codes, turn.bias.len(), BLOCK_TOKENS);
    let row = |channel: usize| {
        let Grid { step, least } = codes.grids.at(channel);
        let least = least + turn.bias[channel];
        let mut row = [0.0; BLOCK_TOKENS];
        for (nth, numbers) in row.chunks_exact_mut(RUN).enumerate() {
            spread_run(codes, channel * 2 + nth, step, least, numbers);
        }
        row
    };
    turn_rows(turn, turned, row);
}

/// Turns rows of channels, each 64 keys with their bias, to their places.
fn turn_rows(turn: &KeyTurn<'_>, turned: &mut [f32], row: impl Fn(usize) -> [f32; BLOCK_TOKENS]) {
    let pairs = turn.pairs();
    let (turned, alone) = turned.split_at_mut(2 * pairs * BLOCK_TOKENS);
    let (firsts, seconds) = turned.split_at_mut(pairs * BLOCK_TOKENS);
    for pair in 0..pairs {
        let (first, second) = turn.channels(pair);
        let (x, y) = (row(first), row(second));
        for place in 0..BLOCK_TOKENS {
            let at = pair * BLOCK_TOKENS + place;
            let (cos, sin) = (turn.place_cos[at], turn.place_sin[at]);
            firsts[at] = x[place] * cos - y[place] * sin;
            seconds[at] = x[place] * sin + y[place] * cos;
        }
    }
    for (nth, alone) in alone.chunks_exact_mut(BLOCK_TOKENS).enumerate() {
        alone.copy_from_slice(&row(2 * pairs + nth));
    }
}

fn values_of_codes(codes: &Codes<'_>, channels: usize, values: &mut [f32]) {
    assert_eq!(values.len(), BLOCK_TOKENS * channels);
    let groups = channels.div_ceil(VALUE_GROUP);
    check_codes(codes, BLOCK_TOKENS * groups, VALUE_GROUP);
    for (token, row) in values.chunks_exact_mut(channels).enumerate() {
        for (group, values) in row.chunks_mut(VALUE_GROUP).enumerate() {
            let nth = token * groups + group;
            let Grid { step, least } = codes.grids.at(nth);
            for (run, values) in values.chunks_mut(RUN).enumerate() {
                spread_run(codes, nth * (VALUE_GROUP / RUN) + run, step, least, values);
            }
        }
    }
}

/// The first numbers of a run of codes, at most 32.
pub(super) fn spread_run(
    codes: &Codes<'_>,
    run: usize,
    step: f32,
    least: f32,
    numbers: &mut [f32],
) {
    let bytes = RUN * codes.bits / 8;
    let packed = &codes.packed[run * bytes..][..bytes];
    for (nth, number) in numbers.iter_mut().enumerate() {
        let code = match codes.bits {
            4 => packed[nth % 16] >> (4 * (nth / 16)) & 15,
            _ => packed[nth],
        };
        *number = f32::from(code) * step + least;
    }
}

pub(super) fn turn_back(
    rows: &[f32],
    channels: usize,
    cos: &[f32],
    sin: &[f32],
    turned: &mut [f32],
) {
    let pairs = cos.len();
    for (row, turned) in rows
        .chunks_exact(channels)
        .zip(turned.chunks_exact_mut(channels))
    {
        let (firsts, rest) = row.split_at(pairs);
        let (seconds, alone) = rest.split_at(pairs);
        let (turned_firsts, rest) = turned.split_at_mut(pairs);
        let (turned_seconds, turned_alone) = rest.split_at_mut(pairs);
        for pair in 0..pairs {
            turned_firsts[pair] = firsts[pair] * cos[pair] + seconds[pair] * sin[pair];
            turned_seconds[pair] = seconds[pair] * cos[pair] - firsts[pair] * sin[pair];
        }
        turned_alone.copy_from_slice(alone);
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

fn weigh_scores(scores: &mut [[f32; BLOCK_TOKENS]], mut running: Running<'_>) {
    running.check(scores.len());
    for (row, scores) in scores.iter_mut().enumerate() {
        let new = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let largest = running.raise(row, new);
        let sum = exponentials(scores, largest);
        running.sums[row] = running.sums[row] * running.keeps[row] + sum;
    }
}

fn exponentials(scores: &mut [f32; BLOCK_TOKENS], maximum: f32) -> f32 {
    for score in scores.iter_mut() {
        *score = power_of_two(*score - maximum);
    }
    scores.iter().sum()
}

fn best_key(rows: &[i8], codes: &[u8], largest: &mut [i32]) {
    let channels = check_best_key(rows, codes, largest);
    for (row, largest) in rows.chunks_exact(channels).zip(largest) {
        let mut products = [0i32; BLOCK_TOKENS];
        for (row, codes) in row
            .chunks_exact(4)
            .zip(codes.chunks_exact(4 * BLOCK_TOKENS))
        {
            for (product, codes) in products.iter_mut().zip(codes.chunks_exact(4)) {
                let pairs = row.iter().zip(codes);
                *product += pairs
                    .map(|(a, b)| i32::from(*a) * i32::from(*b))
                    .sum::<i32>();
            }
        }
        *largest = products.iter().copied().fold(i32::MIN, i32::max);
    }
}

fn scale(numbers: &mut [f32], factor: f32) {
    for number in numbers {
        *number *= factor;
    }
}
