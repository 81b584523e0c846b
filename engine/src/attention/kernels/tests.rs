//! Every set of kernels through the same shapes, against F64.

#![allow(clippy::unwrap_used)]

use super::*;

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

fn sixty_four(numbers: &[f32]) -> [f32; BLOCK_TOKENS] {
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
                                kernels.name
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

#[test]
fn keys_turn_as_in_f64() {
    for kernels in Kernels::available() {
        for pairing in [RotaryPairing::Halves, RotaryPairing::Neighbours] {
            // With 3 pairs, two of the eight channels are not turned.
            for (channels, pairs) in [(8, 3), (64, 32), (128, 64), (2, 1)] {
                let keys = noise(3, channels * BLOCK_TOKENS);
                let bias: Vec<f32> = noise(4, channels).iter().map(|b| b * 300.0).collect();
                let angle = |position: usize, pair: usize| {
                    position as f64 * 10_000f64.powf(-(pair as f64) / pairs as f64)
                };
                let base = 64 * 511;
                let places: Vec<f64> = (0..pairs * BLOCK_TOKENS)
                    .map(|at| angle(at % BLOCK_TOKENS, at / BLOCK_TOKENS))
                    .collect();
                let bases: Vec<f64> = (0..pairs).map(|pair| angle(base, pair)).collect();
                let single = |angles: &[f64], f: fn(f64) -> f64| -> Vec<f32> {
                    angles.iter().map(|angle| f(*angle) as f32).collect()
                };
                let turn = KeyTurn {
                    pairing,
                    bias: &bias,
                    place_cos: &single(&places, f64::cos),
                    place_sin: &single(&places, f64::sin),
                    base_cos: &single(&bases, f64::cos),
                    base_sin: &single(&bases, f64::sin),
                };
                let mut turned = keys.clone();
                (kernels.turn_keys)(&mut turned, &turn);
                let at = |channel: usize, place: usize| channel * BLOCK_TOKENS + place;
                let biased = |channel: usize, place: usize| {
                    f64::from(keys[at(channel, place)]) + f64::from(bias[channel])
                };
                for place in 0..BLOCK_TOKENS {
                    for pair in 0..pairs {
                        let (first, second) = turn.channels(pair);
                        let (a, b) = (biased(first, place), biased(second, place));
                        let (sin, cos) = angle(base + place, pair).sin_cos();
                        let expected = (a * cos - b * sin, a * sin + b * cos);
                        let found = (turned[at(first, place)], turned[at(second, place)]);
                        assert!((f64::from(found.0) - expected.0).abs() < 3e-4);
                        assert!((f64::from(found.1) - expected.1).abs() < 3e-4);
                    }
                    for channel in 2 * pairs..channels {
                        let found = f64::from(turned[at(channel, place)]);
                        assert!((found - biased(channel, place)).abs() < 1e-4);
                    }
                }
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
            let mut scores = sixty_four(input);
            let largest = (kernels.maximum)(&scores);
            assert_eq!(
                largest,
                input.iter().copied().fold(f32::NEG_INFINITY, f32::max)
            );
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
