//! Scores in whole numbers by every set of kernels, against F64.

#![allow(clippy::unwrap_used)]

use super::tests::{TURNED, noise, places, random_codes};
use super::whole_keys::WHOLE;
use super::*;
use crate::kv::format::{Grid, Grids};

/// Those that this processor can run.
fn available() -> impl Iterator<Item = (Level, &'static WholeScores)> {
    let whole = |kernels: &'static Kernels| Some((kernels.level, kernels.whole.as_ref()?));
    Kernels::available().into_iter().filter_map(whole)
}

/// Scores of `rows` queries, turned back by `angles`, with a block's keys.
fn scores(
    whole: &WholeScores,
    rows: &[f32],
    angles: &[f64],
    codes: &Codes<'_>,
    turn: &KeyTurn<'_>,
) -> Vec<f32> {
    let channels = turn.bias.len();
    let single =
        |f: fn(f64) -> f64| -> Vec<f32> { angles.iter().map(|angle| f(*angle) as f32).collect() };
    let lengths: Vec<f32> = rows.chunks_exact(channels).map(length).collect();
    let mut queries = vec![[7; 2]; lengths.len() * twos(channels)];
    let (cos, sin) = (single(f64::cos), single(f64::sin));
    (whole.queries)(rows, &lengths, &cos, &sin, &mut queries);
    let mut keys = WholeKeys::default();
    (whole.keys)(codes, turn, &mut keys);
    let mut scores = vec![f32::NAN; lengths.len() * BLOCK_TOKENS];
    (whole.scores)(&queries, &lengths, &keys, &mut scores);
    scores
}

/// Within the bound that `whole_keys` states, and the same for any number of rows.
#[test]
fn whole_scores_are_those_of_f64() {
    for (level, whole) in available() {
        for size in [300.0, 0.0] {
            for pairing in [RotaryPairing::Halves, RotaryPairing::Neighbours] {
                for (channels, pairs) in TURNED.into_iter().chain([(9, 3), (96, 48)]) {
                    let (grids, packed, mut keys) = random_codes(4, channels, BLOCK_TOKENS);
                    let bias: Vec<f32> = noise(4, channels).iter().map(|b| b * size).collect();
                    for (at, key) in keys.iter_mut().enumerate() {
                        *key += f64::from(bias[at / BLOCK_TOKENS]);
                    }
                    let (cos, sin, place_angles) = places(pairs);
                    let turn = KeyTurn {
                        pairing,
                        bias: &bias,
                        place_cos: &cos,
                        place_sin: &sin,
                    };
                    let codes = Codes {
                        bits: 4,
                        grids: Grids::of(4, &grids),
                        packed: &packed,
                    };
                    // No length of a key of this block is above that of its channels' greatest numbers.
                    let greatest: f64 = keys
                        .chunks_exact(BLOCK_TOKENS)
                        .enumerate()
                        .map(|(channel, _)| {
                            let grid = codes.grids.at(channel);
                            let step = f64::from(grid.step);
                            let least = f64::from(grid.least) + f64::from(bias[channel]);
                            let top = f64::from(15u8);
                            least.abs().max((least + top * step).abs()).powi(2)
                        })
                        .sum::<f64>()
                        .sqrt();
                    let angles: Vec<f64> = noise(32, pairs)
                        .iter()
                        .map(|x| f64::from(*x) * 3.0)
                        .collect();
                    for count in [1, 2, 3, 5, 6, 7, 24] {
                        let rows = noise(31 + count as u64, count * channels);
                        let found = scores(whole, &rows, &angles, &codes, &turn);
                        for (nth, row) in rows.chunks_exact(channels).enumerate() {
                            let alone = scores(whole, row, &angles, &codes, &turn);
                            assert_eq!(alone, found[nth * BLOCK_TOKENS..][..BLOCK_TOKENS]);
                            let length = f64::from(length(row));
                            for (place, found) in alone.iter().enumerate() {
                                let mut expected = 0.0;
                                for pair in 0..pairs {
                                    let (first, second) = turn.channels(pair);
                                    let key = |channel| keys[channel * BLOCK_TOKENS + place];
                                    let angle =
                                        place_angles[pair * BLOCK_TOKENS + place] + angles[pair];
                                    let (sin, cos) = angle.sin_cos();
                                    let (a, b) = (key(first), key(second));
                                    expected += f64::from(row[pair]) * (a * cos - b * sin);
                                    expected += f64::from(row[pairs + pair]) * (a * sin + b * cos);
                                }
                                for channel in 2 * pairs..channels {
                                    expected += f64::from(row[channel])
                                        * keys[channel * BLOCK_TOKENS + place];
                                }
                                let bound = (channels as f64).sqrt() / f64::from(WHOLE) * 1.01;
                                let error = (f64::from(*found) - expected).abs();
                                assert!(
                                    error <= bound * length * greatest,
                                    "{} {channels} channels, {count} rows: {error}",
                                    level
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The greatest sums that there can be, of both signs.
#[test]
fn parallel_rows_and_keys_do_not_overflow() {
    for (_, whole) in available() {
        for channels in [2usize, 64, 128, 256] {
            for sign in [1.0, -1.0] {
                // The greatest code of an offset above zero, the least of one below: no key is longer.
                let (offset, code) = if sign > 0.0 { (127i8, 0xff) } else { (-127, 0) };
                let grids =
                    [offset as u8, (f16::from_f32(15.0).to_bits() >> 7) as u8].repeat(channels);
                let packed = vec![code; channels * BLOCK_TOKENS / 2];
                let codes = Codes {
                    bits: 4,
                    grids: Grids::of(4, &grids),
                    packed: &packed,
                };
                let turn = KeyTurn {
                    pairing: RotaryPairing::Halves,
                    bias: &vec![0.0; channels],
                    place_cos: &[],
                    place_sin: &[],
                };
                let mut row = vec![3.0; channels];
                for row in [row.clone(), {
                    row.fill(0.0);
                    row[0] = 3.0;
                    row
                }] {
                    let Grid { step, least } = codes.grids.at(0);
                    let key = least + f32::from(code & 15) * step;
                    let expected: f32 = row.iter().map(|x| x * key).sum();
                    for found in scores(whole, &row, &[], &codes, &turn) {
                        let error = (found - expected).abs();
                        assert!(error <= 1e-3 * expected.abs(), "{found} for {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn nan_among_grids_or_queries_reaches_the_scores() {
    for (_, whole) in available() {
        {
            let (grids, packed, _) = random_codes(4, 64, BLOCK_TOKENS);
            let (cos, sin, _) = places(32);
            let turn = KeyTurn {
                pairing: RotaryPairing::Halves,
                bias: &[0.0; 64],
                place_cos: &cos,
                place_sin: &sin,
            };
            let of = |grids: &[u8], rows: &[f32]| {
                let codes = Codes {
                    bits: 4,
                    grids: Grids::of(4, grids),
                    packed: &packed,
                };
                scores(whole, rows, &[0.5; 32], &codes, &turn)
            };
            let mut rows = noise(8, 3 * 64);
            assert!(of(&grids, &rows).iter().all(|score| score.is_finite()));
            rows[64 + 9] = f32::NAN;
            let found = of(&grids, &rows);
            assert!(found[64..128].iter().all(|score| score.is_nan()));
            assert!(
                [&found[..64], &found[128..]]
                    .concat()
                    .iter()
                    .all(|s| s.is_finite())
            );
            for wrong in [0xff, 0xf8] {
                for offset in [0, 9] {
                    let mut grids = grids.clone();
                    grids[2 * 5..][..2].copy_from_slice(&[offset, wrong]); // NaN, infinite
                    let found = of(&grids, &rows[..64]);
                    assert!(found.iter().all(|score| !score.is_finite()), "{wrong}");
                }
            }
        }
    }
}
