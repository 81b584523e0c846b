//! Scores of keys in codes of 4 bits, in whole numbers of 16.
//!
//! Turned keys and queries are rounded to whole multiples of a step of the block and one of the row, and multiplied by
//! the processor's 16-bit dot products, two channels at a time: half of the time that F32 takes. Turning changes no
//! length, so both steps come from lengths that are known before: a row's own, and for a block the greatest that its
//! keys' grids allow. By the inequality of Cauchy and Schwarz no sum of products, nor a part of one, is then above
//! `WHOLE^2`, which 32 bits hold.
//!
//! **Error.** Each channel is off by at most half a step, a 65,400th of the length, so a score by at most
//! `sqrt(channels) / 32,700` of the product of both lengths, and by about 1 / 80,000 of it where rounding goes either
//! way. Codes of 4 bits are off by half of their own steps: some thousand times as much where channels are alike, and
//! some forty times where a bias of several hundred makes nearly all of the length. Of 8 bits that would be a
//! seventeenth, so finer keys are multiplied in F32.

use super::{KeyTurn, check_codes};
use crate::kv::{BLOCK_TOKENS, Codes};

/// Steps of a row's or key's greatest length: a little below `2^15`, for what rounding adds.
pub(super) const WHOLE: f32 = 32_700.0;

/// Length that counts as nothing, far above what would overflow its reciprocal.
const NOTHING: f32 = 1e-30;

/// Two channels, side by side as the dot product takes them.
pub type Two = [i16; 2];

/// The inner loops that work on such numbers, where a processor has dot products that are worth it.
#[derive(Debug)]
pub struct WholeScores {
    /// Keys as [`Kernels::keys_of_codes`](super::Kernels::keys_of_codes) has them, where [`WholeKeys::serves`].
    pub keys: fn(codes: &Codes<'_>, turn: &KeyTurn<'_>, keys: &mut WholeKeys),
    /// Query rows of these [`length`]s, turned back as [`Kernels::turn_back`](super::Kernels::turn_back) does:
    /// `queries` are `[rows][twos]`.
    pub queries: WholeQueries,
    /// Scores `[rows][64]` of such rows and keys.
    pub scores: fn(queries: &[Two], lengths: &[f32], keys: &WholeKeys, scores: &mut [f32]),
}

/// See [`WholeScores::queries`].
pub type WholeQueries =
    fn(rows: &[f32], lengths: &[f32], cos: &[f32], sin: &[f32], queries: &mut [Two]);

/// One head's keys of a block: turned to their places, in whole numbers.
#[derive(Debug, Default)]
pub struct WholeKeys {
    /// `[channels / 2][64]`: the two channels of each pair, then those that are not turned, by twos, an odd last one
    /// with nothing.
    pub(super) twos: Vec<Two>,
    /// What one stands for.
    pub(super) step: f32,
    /// Steps of the channels' grids, filled up to whole eights.
    pub(super) steps: Vec<f32>,
    /// Their least keys, with the bias.
    pub(super) least: Vec<f32>,
}

/// Twos that so many channels make.
pub fn twos(channels: usize) -> usize {
    channels.div_ceil(2)
}

impl WholeKeys {
    /// Whether keys of so many bits can be taken this way.
    pub fn serves(bits: usize) -> bool {
        bits == 4
    }

    /// Makes room for keys of which none is longer than `length`. Returns what they are to be multiplied by.
    pub(super) fn prepare(&mut self, channels: usize, length: f32) -> f32 {
        self.twos.resize(twos(channels) * BLOCK_TOKENS, [0; 2]);
        self.step = length / WHOLE;
        multiplier(length)
    }

    /// That `queries` and as many scores go with the keys and with so many rows; the twos of a row.
    pub(super) fn check(&self, queries: &[Two], rows: usize, scores: &[f32]) -> usize {
        let twos = self.twos.len() / BLOCK_TOKENS;
        assert_eq!(self.twos.len(), twos * BLOCK_TOKENS);
        assert_eq!(queries.len(), rows * twos);
        assert_eq!(scores.len(), rows * BLOCK_TOKENS);
        twos
    }
}

/// What a row of that length is multiplied by to be rounded. NaN stays NaN, in the step if not in the numbers.
#[inline]
pub(super) fn multiplier(length: f32) -> f32 {
    if length < NOTHING {
        0.0
    } else {
        WHOLE / length
    }
}

/// Length of a row; the same operations in every set.
pub fn length(row: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    for sixteen in row.chunks(16) {
        for (lane, number) in lanes.iter_mut().zip(sixteen) {
            *lane += number * number;
        }
    }
    lanes.iter().sum::<f32>().sqrt()
}

/// The greatest code.
pub(super) const TOP: f32 = 15.0;

/// That codes of 4 bits go with the tables.
pub(super) fn check(codes: &Codes<'_>, turn: &KeyTurn<'_>) {
    assert!(WholeKeys::serves(codes.bits));
    turn.check(turn.bias.len() * BLOCK_TOKENS);
    check_codes(codes, turn.bias.len(), BLOCK_TOKENS);
}

/// The channels of a row of twos.
pub(super) fn two(turn: &KeyTurn<'_>, nth: usize) -> impl Iterator<Item = usize> {
    let (first, second) = match nth < turn.pairs() {
        true => turn.channels(nth),
        false => (2 * nth, 2 * nth + 1),
    };
    let channels = turn.bias.len();
    [first, second]
        .into_iter()
        .filter(move |channel| *channel < channels)
}

#[inline]
fn round(number: f32) -> i16 {
    number.round_ties_even() as i16
}

/// The channels of a query row that are not turned.
pub(super) fn queries_alone(row: &[f32], multiplier: f32, twos: &mut [Two]) {
    for (two, channels) in twos.iter_mut().zip(row.chunks(2)) {
        let second = channels.get(1).copied().unwrap_or(0.0);
        *two = [round(channels[0] * multiplier), round(second * multiplier)];
    }
}

/// Channels of a row and pairs among them, where everything goes together.
pub(super) fn check_queries(
    rows: &[f32],
    lengths: &[f32],
    cos: &[f32],
    sin: &[f32],
    queries: &[Two],
) -> (usize, usize) {
    let (channels, pairs) = (rows.len() / lengths.len().max(1), cos.len());
    assert_eq!(rows.len(), lengths.len() * channels);
    assert_eq!(queries.len(), lengths.len() * twos(channels));
    assert!(sin.len() == pairs && 2 * pairs <= channels);
    (channels, pairs)
}
