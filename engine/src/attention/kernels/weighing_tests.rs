//! Softmax and weighted sums of values by every set of kernels, against F64.

#![allow(clippy::unwrap_used)]

use super::tests::{noise, random_codes, sixty_four};
use super::*;
use crate::kv::format::{Grids, VALUE_GROUP};

/// Block after block, the weights and their sums are those of one softmax over all; rows do not mind each other.
#[test]
fn running_softmax_is_that_over_all_scores() {
    for kernels in Kernels::available() {
        for rows in [1, 2, 7, 24] {
            let mut largest = vec![f32::NEG_INFINITY; rows];
            let (mut sums, mut keeps) = (vec![0.0; rows], vec![f32::NAN; rows]);
            let mut seen: Vec<Vec<f32>> = vec![Vec::new(); rows];
            for block in 0..4 {
                let mut scores: Vec<[f32; 64]> = (0..rows)
                    .map(|row| {
                        let noise = noise((block * 100 + row) as u64, 64);
                        sixty_four(&noise.iter().map(|x| x * 20.0).collect::<Vec<_>>())
                    })
                    .collect();
                if block == 3 {
                    scores[0][9..].fill(f32::NEG_INFINITY);
                }
                let before = sums.clone();
                let given = scores.clone();
                let running = Running {
                    largest: &mut largest,
                    sums: &mut sums,
                    keeps: &mut keeps,
                };
                (kernels.weigh_scores)(&mut scores, running);
                for row in 0..rows {
                    seen[row].extend(given[row]);
                    let most = seen[row].iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    assert_eq!(largest[row], most);
                    let weight = |score: f32| f64::from(score - most).exp2();
                    for (weight_found, score) in scores[row].iter().zip(given[row]) {
                        assert!((f64::from(*weight_found) - weight(score)).abs() <= 3e-7);
                    }
                    let expected: f64 = seen[row].iter().map(|score| weight(*score)).sum();
                    assert!((f64::from(sums[row]) / expected - 1.0).abs() < 3e-6);
                    let new: f32 = scores[row].iter().sum();
                    let kept = before[row] * keeps[row];
                    assert!((kept + new - sums[row]).abs() <= 1e-5 * sums[row]);
                }
            }
        }
    }
}

#[test]
fn nan_among_scores_reaches_the_sum() {
    for kernels in Kernels::available() {
        let mut one = sixty_four(&noise(3, 64));
        one[17] = f32::NAN;
        let mut scores = [one, [f32::NAN; 64], [f32::INFINITY; 64], [0.0; 64]];
        let (mut largest, mut sums) = ([f32::NEG_INFINITY; 4], [0.0; 4]);
        let running = Running {
            largest: &mut largest,
            sums: &mut sums,
            keeps: &mut [0.0; 4],
        };
        (kernels.weigh_scores)(&mut scores, running);
        assert!(
            sums[..3].iter().all(|sum| sum.is_nan()),
            "{}",
            kernels.level
        );
        assert_eq!(sums[3], 64.0);
    }
}

/// Against F64, within the bound that `coded_values` states; the same for any number of rows.
#[test]
fn coded_values_are_weighed_as_in_f64() {
    for kernels in Kernels::available() {
        for channels in [64usize, 128, 192, 256] {
            let groups = channels / VALUE_GROUP;
            let (grids, packed, numbers) = random_codes(4, BLOCK_TOKENS * groups, VALUE_GROUP);
            let codes = Codes {
                bits: 4,
                grids: Grids::of(4, &grids),
                packed: &packed,
            };
            let mut values = SpreadValues::default();
            (kernels.spread_values)(&codes, channels, &mut values);
            for rows in [1, 2, 3, 4, 5, 6, 7, 12, 24] {
                for size in [0.0, 1e-33, 1e-6, 1.0] {
                    let weights: Vec<f32> = noise(rows as u64, rows * BLOCK_TOKENS)
                        .iter()
                        .map(|x| (x + 1.0) * size)
                        .collect();
                    let start = noise(9, rows * channels);
                    let mut sums = start.clone();
                    (kernels.weigh_values)(&weights, &values, &mut sums);
                    for row in 0..rows {
                        let weights = &weights[row * BLOCK_TOKENS..][..BLOCK_TOKENS];
                        let one = &start[row * channels..][..channels];
                        let mut alone = one.to_vec();
                        (kernels.weigh_values)(weights, &values, &mut alone);
                        let found = &sums[row * channels..][..channels];
                        assert_eq!(alone, found);
                        for channel in 0..channels {
                            let grid = |token: usize| token * groups + channel / VALUE_GROUP;
                            let (mut sum, mut magnitude, mut largest) =
                                (f64::from(one[channel]), 1.0, 0.0f64);
                            for (token, weight) in weights.iter().enumerate() {
                                let weight = f64::from(*weight);
                                let step = f64::from(codes.grids.at(grid(token)).step);
                                let number = numbers[token * channels + channel];
                                sum += weight * number;
                                magnitude += weight * (number.abs() + 8.0 * step);
                                largest = largest.max(weight * step);
                            }
                            let bound = 64.0 * 8.0 * (largest / 510.0 + 1e-30);
                            let error = (f64::from(found[channel]) - sum).abs();
                            assert!(
                                error <= bound + 2e-6 * magnitude,
                                "{} {channels}, {rows} rows of {size}: {error}, {bound}",
                                kernels.level
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn nan_among_weights_or_grids_reaches_the_sums() {
    for kernels in Kernels::available() {
        let (mut grids, packed, _) = random_codes(4, 2 * BLOCK_TOKENS, VALUE_GROUP);
        let mut values = SpreadValues::default();
        let mut weigh = |grids: &[u8], weights: &[f32]| {
            let codes = Codes {
                bits: 4,
                grids: Grids::of(4, grids),
                packed: &packed,
            };
            (kernels.spread_values)(&codes, 64, &mut values);
            let mut sums = vec![0.0; weights.len()];
            (kernels.weigh_values)(weights, &values, &mut sums);
            sums
        };
        let mut weights = vec![1.0; 3 * BLOCK_TOKENS];
        weights[BLOCK_TOKENS + 5] = f32::NAN;
        let sums = weigh(&grids, &weights);
        assert!(sums[64..128].iter().all(|sum| sum.is_nan()));
        assert!(
            sums[..64]
                .iter()
                .chain(&sums[128..])
                .all(|sum| !sum.is_nan())
        );
        for wrong in [0xff, 0xf8] {
            grids[2 * 7 + 1] = wrong; // the step of token 3, channels 32 to 63: NaN, infinite
            let sums = weigh(&grids, &[0.5; BLOCK_TOKENS]);
            assert!(sums[32..].iter().all(|sum| !sum.is_finite()));
            assert!(sums[..32].iter().all(|sum| sum.is_finite()));
        }
    }
}
