//! Every set of kernels through the same shapes, against F64.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::kv::format::{Grids, RUN, VALUE_GROUP, grid_bytes};

/// Numbers in [-1, 1) that look random and are always the same.
pub(in crate::attention) fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

pub(super) fn sixty_four(numbers: &[f32]) -> [f32; BLOCK_TOKENS] {
    numbers.try_into().unwrap()
}

#[test]
fn products_match_f64_for_odd_shapes_and_do_not_depend_on_the_number_of_rows() {
    for kernels in Kernels::available() {
        for rows in [1, 2, 3, 5, 6, 7, 12, 13, 24, 25] {
            for (depth, columns) in [
                (64, 64),
                (128, 64),
                (64, 128),
                (64, 80),
                (64, 2),
                (6, 64),
                (64, 17),
                (1, 1),
            ] {
                for add in [false, true] {
                    let a = noise(rows as u64, rows * depth);
                    let b = noise(7, depth * columns);
                    let start = noise(9, rows * columns);
                    let mut c = start.clone();
                    (kernels.multiply)(&a, &b, &mut c, depth, add);
                    for row in 0..rows {
                        for column in 0..columns {
                            let mut sum = if add {
                                f64::from(start[row * columns + column])
                            } else {
                                0.0
                            };
                            for step in 0..depth {
                                sum += f64::from(a[row * depth + step])
                                    * f64::from(b[step * columns + column]);
                            }
                            let found = f64::from(c[row * columns + column]);
                            assert!(
                                (found - sum).abs() < 1e-5,
                                "{} {rows}x{depth}x{columns}: {found} for {sum}",
                                kernels.level
                            );
                        }
                        let mut alone = start[row * columns..][..columns].to_vec();
                        (kernels.multiply)(&a[row * depth..][..depth], &b, &mut alone, depth, add);
                        assert_eq!(alone, c[row * columns..][..columns]);
                    }
                }
            }
        }
    }
}

#[test]
fn widening_is_exact_for_all_halves() {
    let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    for kernels in Kernels::available() {
        let mut singles = vec![0.0; halves.len()];
        (kernels.widen)(&halves, &mut singles);
        for (half, single) in halves.iter().zip(&singles) {
            assert!(half.is_nan() && single.is_nan() || half.to_f32() == *single);
        }
        for channels in [1, 2, 8, 30, 64, 80, 128] {
            let halves = &halves[..BLOCK_TOKENS * channels];
            let mut transposed = vec![0.0; halves.len()];
            (kernels.widen_transposed)(halves, &mut transposed);
            for place in 0..BLOCK_TOKENS {
                for channel in 0..channels {
                    assert_eq!(
                        transposed[channel * BLOCK_TOKENS + place],
                        halves[place * channels + channel].to_f32()
                    );
                }
            }
        }
    }
}

/// A table of turns by place in the block, and its angles, `[pairs][64]`.
pub(super) fn places(pairs: usize) -> (Vec<f32>, Vec<f32>, Vec<f64>) {
    let angles: Vec<f64> = (0..pairs * BLOCK_TOKENS)
        .map(|at| {
            let pair = (at / BLOCK_TOKENS) as f64;
            (at % BLOCK_TOKENS) as f64 * 10_000f64.powf(-pair / pairs as f64)
        })
        .collect();
    let single = |f: fn(f64) -> f64| angles.iter().map(|angle| f(*angle) as f32).collect();
    (single(f64::cos), single(f64::sin), angles)
}

/// With 3 pairs, two of the eight channels are not turned.
pub(super) const TURNED: [(usize, usize); 5] = [(8, 3), (64, 32), (128, 64), (2, 1), (80, 40)];

/// That `found` are `keys` (`[channels][64]`, with their bias) turned to their places.
fn assert_turned(
    found: &[f32],
    keys: &[f64],
    turn: &KeyTurn<'_>,
    angles: &[f64],
    bound: f64,
    name: &str,
) {
    let pairs = turn.pairs();
    let at = |channel: usize, place: usize| channel * BLOCK_TOKENS + place;
    for place in 0..BLOCK_TOKENS {
        for pair in 0..pairs {
            let (first, second) = turn.channels(pair);
            let (a, b) = (keys[at(first, place)], keys[at(second, place)]);
            let (sin, cos) = angles[at(pair, place)].sin_cos();
            for (row, expected) in [(pair, a * cos - b * sin), (pairs + pair, a * sin + b * cos)] {
                let found = f64::from(found[at(row, place)]);
                assert!(
                    (found - expected).abs() < bound,
                    "{name}: {found} for {expected}"
                );
            }
        }
        for channel in 2 * pairs..turn.bias.len() {
            let found = f64::from(found[at(channel, place)]);
            assert!((found - keys[at(channel, place)]).abs() < bound, "{name}");
        }
    }
}

#[test]
fn keys_turn_as_in_f64() {
    for kernels in Kernels::available() {
        for pairing in [RotaryPairing::Halves, RotaryPairing::Neighbours] {
            for (channels, pairs) in TURNED {
                let keys = noise(3, channels * BLOCK_TOKENS);
                let bias: Vec<f32> = noise(4, channels).iter().map(|b| b * 300.0).collect();
                let (cos, sin, angles) = places(pairs);
                let turn = KeyTurn {
                    pairing,
                    bias: &bias,
                    place_cos: &cos,
                    place_sin: &sin,
                };
                let mut turned = vec![f32::NAN; keys.len()];
                (kernels.turn_keys)(&keys, &turn, &mut turned);
                let biased: Vec<f64> = keys
                    .iter()
                    .enumerate()
                    .map(|(at, key)| f64::from(*key) + f64::from(bias[at / BLOCK_TOKENS]))
                    .collect();
                assert_turned(&turned, &biased, &turn, &angles, 2e-4, kernels.level.name());
            }
        }
    }
}

/// Bytes of grids and codes that look random, for so many grids of `per_grid` numbers; and the numbers, in F64.
pub(super) fn random_codes(
    bits: usize,
    grids: usize,
    per_grid: usize,
) -> (Vec<u8>, Vec<u8>, Vec<f64>) {
    let sizes = [1.0, 0.0, 6e-8, 3000.0, 0.01];
    let steps = noise(21, grids);
    let mut bytes = Vec::new();
    for nth in 0..grids {
        let step = f16::from_f32((steps[nth] + 1.0) * sizes[nth % sizes.len()]);
        let least = noise(nth as u64, 1)[0] * 4.0;
        if grid_bytes(bits) == 2 {
            bytes.extend([(least * 31.0) as i8 as u8, (step.to_bits() >> 7) as u8]);
        } else {
            bytes.extend(step.to_le_bytes());
            bytes.extend(f16::from_f32(least * sizes[nth % sizes.len()]).to_le_bytes());
        }
    }
    let packed: Vec<u8> = noise(23, grids * per_grid * bits / 8)
        .iter()
        .map(|number| ((number + 1.0) * 128.0) as u8)
        .collect();
    let mut numbers = Vec::new();
    for nth in 0..grids * per_grid {
        let (run, at) = (nth / RUN, nth % RUN);
        let code = match bits {
            4 => packed[run * 16 + at % 16] >> (4 * (at / 16)) & 15,
            _ => packed[nth],
        };
        let grid = Grids::of(bits, &bytes).at(nth / per_grid);
        numbers.push(f64::from(grid.step) * f64::from(code) + f64::from(grid.least));
    }
    (bytes, packed, numbers)
}

#[test]
fn keys_of_codes_turn_as_in_f64() {
    for kernels in Kernels::available() {
        for bits in [4, 8] {
            for pairing in [RotaryPairing::Halves, RotaryPairing::Neighbours] {
                for (channels, pairs) in TURNED {
                    let (grids, packed, mut keys) = random_codes(bits, channels, BLOCK_TOKENS);
                    let bias: Vec<f32> = noise(4, channels).iter().map(|b| b * 300.0).collect();
                    for (at, key) in keys.iter_mut().enumerate() {
                        *key += f64::from(bias[at / BLOCK_TOKENS]);
                    }
                    let (cos, sin, angles) = places(pairs);
                    let turn = KeyTurn {
                        pairing,
                        bias: &bias,
                        place_cos: &cos,
                        place_sin: &sin,
                    };
                    let codes = Codes {
                        bits,
                        grids: Grids::of(bits, &grids),
                        packed: &packed,
                    };
                    let mut turned = vec![f32::NAN; keys.len()];
                    (kernels.keys_of_codes)(&codes, &turn, &mut turned);
                    // Keys of up to 1.5 million here, so this is a few roundings of an F32.
                    assert_turned(&turned, &keys, &turn, &angles, 0.5, kernels.level.name());
                    let small = keys.iter().all(|key| key.abs() < 1e3);
                    if small {
                        assert_turned(&turned, &keys, &turn, &angles, 3e-4, kernels.level.name());
                    }
                }
            }
        }
    }
}

#[test]
fn values_of_codes_are_as_in_f64() {
    for kernels in Kernels::available() {
        for bits in [4, 8] {
            for channels in [1usize, 2, 16, 30, 32, 33, 64, 80, 96, 128] {
                let groups = channels.div_ceil(VALUE_GROUP);
                let (grids, packed, numbers) =
                    random_codes(bits, BLOCK_TOKENS * groups, VALUE_GROUP);
                let codes = Codes {
                    bits,
                    grids: Grids::of(bits, &grids),
                    packed: &packed,
                };
                let mut values = vec![f32::NAN; BLOCK_TOKENS * channels];
                (kernels.values_of_codes)(&codes, channels, &mut values);
                for (token, row) in values.chunks_exact(channels).enumerate() {
                    for (channel, found) in row.iter().enumerate() {
                        let expected = numbers[token * groups * VALUE_GROUP + channel];
                        let error = (f64::from(*found) - expected).abs();
                        assert!(error <= expected.abs() * 3e-7 + 1e-3, "{}", kernels.level);
                    }
                }
            }
        }
    }
}

/// A grid whose least number or step is NaN gives NaN for each of its numbers, in every set.
#[test]
fn nan_stays_nan() {
    for kernels in Kernels::available() {
        for bits in [4, 8] {
            let (mut grids, packed, _) = random_codes(bits, 64, BLOCK_TOKENS);
            let [a, b] = f16::NAN.to_le_bytes();
            match grid_bytes(bits) {
                2 => grids[2 * 5..][..2].copy_from_slice(&[0, 0xff]),
                _ => grids[4 * 5..][..4].copy_from_slice(&[0, 0, a, b]),
            }
            let codes = Codes {
                bits,
                grids: Grids::of(bits, &grids),
                packed: &packed,
            };
            let (cos, sin, _) = places(32);
            let turn = KeyTurn {
                pairing: RotaryPairing::Halves,
                bias: &[0.0; 64],
                place_cos: &cos,
                place_sin: &sin,
            };
            let mut keys = vec![0.0; 64 * BLOCK_TOKENS];
            (kernels.keys_of_codes)(&codes, &turn, &mut keys);
            assert!(keys[5 * 64..6 * 64].iter().all(|key| key.is_nan()));
            assert!(keys[..5 * 64].iter().all(|key| !key.is_nan()));
        }
    }
}

#[test]
fn queries_turn_back() {
    for kernels in Kernels::available() {
        for (channels, pairs) in TURNED {
            let rows = noise(31, 5 * channels);
            let angles: Vec<f64> = noise(32, pairs)
                .iter()
                .map(|x| f64::from(*x) * 3.0)
                .collect();
            let single = |f: fn(f64) -> f64| -> Vec<f32> {
                angles.iter().map(|angle| f(*angle) as f32).collect()
            };
            let mut turned = vec![f32::NAN; rows.len()];
            let (cos, sin) = (single(f64::cos), single(f64::sin));
            (kernels.turn_back)(&rows, channels, &cos, &sin, &mut turned);
            for (row, turned) in rows
                .chunks_exact(channels)
                .zip(turned.chunks_exact(channels))
            {
                for (pair, angle) in angles.iter().enumerate() {
                    let (a, b) = (f64::from(row[pair]), f64::from(row[pairs + pair]));
                    let (sin, cos) = (-angle).sin_cos();
                    let expected = [a * cos - b * sin, a * sin + b * cos];
                    let found = [turned[pair], turned[pairs + pair]].map(f64::from);
                    assert!((found[0] - expected[0]).abs() < 3e-7);
                    assert!((found[1] - expected[1]).abs() < 3e-7);
                }
                assert_eq!(row[2 * pairs..], turned[2 * pairs..]);
            }
        }
    }
}

#[test]
fn exponentials_match_f64_and_vanish_where_they_should() {
    let mut inputs = vec![vec![0.0; 64], vec![-1e30; 64]];
    for spread in [1.0, 30.0, 125.0, 1000.0] {
        inputs.push(
            noise(11, 64)
                .iter()
                .map(|x| (x - 1.0) * spread / 2.0)
                .collect(),
        );
    }
    inputs.push(
        (0..64)
            .map(|i| if i % 3 == 0 { f32::NEG_INFINITY } else { -0.5 })
            .collect(),
    );
    for kernels in Kernels::available() {
        for input in &inputs {
            let mut scores;
            let largest = input.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for offset in [0.0, 2.0] {
                scores = sixty_four(input);
                let sum = (kernels.exponentials)(&mut scores, largest + offset);
                let mut expected_sum = 0.0;
                for (score, x) in scores.iter().zip(input) {
                    let exponent = x - (largest + offset);
                    let expected = f64::from(exponent).exp2();
                    if exponent < -126.0 {
                        assert_eq!(*score, 0.0);
                    } else {
                        assert!((f64::from(*score) / expected - 1.0).abs() < 3e-7);
                    }
                    expected_sum += expected;
                }
                assert!((f64::from(sum) / expected_sum - 1.0).abs() < 2e-6);
            }
        }
    }
}

#[test]
fn scaling_multiplies_each() {
    for kernels in Kernels::available() {
        for count in [0, 1, 7, 64, 129] {
            let numbers = noise(5, count);
            let mut scaled = numbers.clone();
            (kernels.scale)(&mut scaled, 0.37);
            assert!(
                numbers
                    .iter()
                    .zip(&scaled)
                    .all(|(n, scaled)| n * 0.37 == *scaled)
            );
        }
    }
}

#[test]
fn tiles_are_even() {
    assert_eq!(even_tile(7, 6), 4);
    assert_eq!(even_tile(12, 6), 6);
    assert_eq!(even_tile(0, 6), 0);
    assert_eq!(even_tile(13, 6), 5);
}

#[test]
fn the_best_key_is_found_in_whole_numbers() {
    for channels in [4, 64, 80, 128] {
        for rows in [1, 2, 3, 6, 7, 8, 15] {
            let queries: Vec<i8> = noise(rows as u64, rows * channels)
                .iter()
                .map(|number| (number * 128.0) as i8)
                .collect();
            let codes: Vec<u8> = noise(5, channels * BLOCK_TOKENS)
                .iter()
                .map(|number| ((number + 1.0) * 64.0) as u8)
                .collect();
            let product = |row: usize, key: usize| -> i32 {
                (0..channels)
                    .map(|channel| {
                        let code = codes[(channel / 4 * BLOCK_TOKENS + key) * 4 + channel % 4];
                        i32::from(queries[row * channels + channel]) * i32::from(code)
                    })
                    .sum()
            };
            let best = |row| {
                (0..BLOCK_TOKENS)
                    .map(|key| product(row, key))
                    .max()
                    .unwrap()
            };
            let expected: Vec<i32> = (0..rows).map(best).collect();
            for kernels in Kernels::available() {
                let mut found = vec![0; rows];
                (kernels.best_key)(&queries, &codes, &mut found);
                assert_eq!(
                    found,
                    expected,
                    "{} {rows}x{channels}",
                    kernels.level.name()
                );
            }
        }
    }
}
