//! Evenly spaced levels between the least and the largest of some numbers, and the few bytes that they are kept in.
//!
//! | codes of | bytes | a grid |
//! |---|---|---|
//! | 8 bits | 4 | step and least number, half precision |
//! | fewer | 2 | offset, -127 to 127; then the step: a half without its sign and the last 7 of its bits |
//!
//! In two bytes the least number is `offset / OFFSETS` steps. Both are halves all the same, to the last bit: 7 bits of
//! an offset times 4 of a step are the 11 that a half has. Levels that are spread by up to 6% more or less than the
//! numbers are, and begin up to a quarter of a step beside them, hardly cost anything when there are so few of them
//! anyway (`docs/long-context.md` has what was measured); two bytes more a grid cost a twelfth of the cache.

use half::f16;

/// Offsets a step.
pub const OFFSETS: f32 = 2.0;

const GREATEST_OFFSET: f32 = 127.0;

/// The bits of a half that a step in one byte does not have: the sign above them is never set.
pub const DROPPED_BITS: u16 = 7;

/// Evenly spaced levels: code `c` stands for `least + c * step`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Between two levels; not negative.
    pub step: f32,
    /// Level of code 0.
    pub least: f32,
}

/// Grids as they stand in a part.
#[derive(Debug, Clone, Copy)]
pub enum Grids<'a> {
    /// Of codes of 8 bits: step and least number, both half precision, little-endian.
    Halves(&'a [[u8; 4]]),
    /// Of codes of fewer: offset, a signed byte, and step.
    Bytes(&'a [[u8; 2]]),
}

impl<'a> Grids<'a> {
    /// Those of codes of so many bits.
    pub fn of(bits: usize, bytes: &'a [u8]) -> Grids<'a> {
        match grid_bytes(bits) {
            2 => Grids::Bytes(bytes.as_chunks().0),
            _ => Grids::Halves(bytes.as_chunks().0),
        }
    }

    /// How many.
    pub fn count(&self) -> usize {
        match self {
            Grids::Halves(grids) => grids.len(),
            Grids::Bytes(grids) => grids.len(),
        }
    }

    /// One of them.
    pub fn at(&self, nth: usize) -> Grid {
        match self {
            Grids::Halves(grids) => {
                let [a, b, c, d] = grids[nth];
                Grid {
                    step: f16::from_le_bytes([a, b]).to_f32(),
                    least: f16::from_le_bytes([c, d]).to_f32(),
                }
            }
            Grids::Bytes(grids) => {
                let [offset, step] = grids[nth];
                let step = step_of(step);
                Grid {
                    step,
                    least: f32::from(offset as i8) * (step / OFFSETS),
                }
            }
        }
    }

    /// As they stand in the part.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Grids::Halves(grids) => grids.as_flattened(),
            Grids::Bytes(grids) => grids.as_flattened(),
        }
    }

    /// Those of codes of fewer bits than 8.
    ///
    /// # Panics
    ///
    /// If they are others.
    pub fn of_two_bytes(&self) -> &'a [[u8; 2]] {
        match self {
            Grids::Bytes(grids) => grids,
            Grids::Halves(_) => panic!("these grids belong to codes of 8 bits"),
        }
    }
}

/// Bytes of a grid.
pub const fn grid_bytes(bits: usize) -> usize {
    if bits == 8 { 4 } else { 2 }
}

fn step_of(byte: u8) -> f32 {
    f16::from_bits(u16::from(byte) << DROPPED_BITS).to_f32()
}

impl Grid {
    /// Of codes of so many bits over `numbers`, which are not empty, with its bytes. One NaN among them makes all of
    /// them NaN: it must not pass for a number.
    pub(super) fn over(bits: usize, numbers: impl Iterator<Item = f32> + Clone) -> (Grid, [u8; 4]) {
        let mut least = numbers.clone().fold(f32::INFINITY, f32::min);
        let largest = numbers.clone().fold(f32::NEG_INFINITY, f32::max);
        if numbers.into_iter().any(f32::is_nan) {
            least = f32::NAN;
        }
        // A zero's sign is dropped: `min` and `max` do not say which of two zeros they give, and every processor that
        // makes codes is to write the same bytes.
        least += 0.0;
        let range = largest - least + 0.0;
        let bytes = if grid_bytes(bits) == 2 {
            let [offset, step] = offset_and_step(least, range, largest_code(bits));
            [offset, step, 0, 0]
        } else {
            let (step, least) = (range / largest_code(bits), least);
            let [a, b] = f16::from_f32(step).to_le_bytes();
            let [c, d] = f16::from_f32(least).to_le_bytes();
            [a, b, c, d]
        };
        let grid = Grids::of(bits, &bytes[..grid_bytes(bits)]).at(0);
        (grid, bytes)
    }

    /// Code of the level nearest to `number`.
    pub(super) fn code(&self, number: f32, largest_code: f32) -> u8 {
        let steps = (number - self.least) / self.step;
        // A step of 0 (all numbers equal) makes this NaN, which is cast to 0.
        steps.round_ties_even().clamp(0.0, largest_code) as u8
    }
}

/// The largest code of so many bits.
pub(super) fn largest_code(bits: usize) -> f32 {
    ((1 << bits) - 1) as f32
}

/// The two bytes of a grid whose middle is that of the numbers, as nearly as they can say it. Only operations that every
/// processor rounds alike.
fn offset_and_step(least: f32, range: f32, largest_code: f32) -> [u8; 2] {
    let middle = range * 0.5 + least;
    // Numbers that lie far from zero, for how close together they are, are as far as offsets reach at wider steps: then
    // their middle is a level, so that nothing is lost where they are all equal but what the offset rounds.
    let reach = (GREATEST_OFFSET - 1.0) / OFFSETS - largest_code * 0.5;
    let (close, far) = (range / largest_code, middle.abs() / reach);
    let below = if far > close {
        (largest_code * 0.5).floor()
    } else {
        largest_code * 0.5
    };
    // NaN, which the comparison takes for close, stays NaN.
    let step = f16::from_f32(if far > close { far } else { close }).to_bits();
    let step = ((step + (1 << (DROPPED_BITS - 1))) >> DROPPED_BITS) as u8;
    let offset = ((middle / step_of(step) - below) * OFFSETS).round_ties_even();
    // Numbers that are all zero have a step of zero and make this NaN, which is cast to 0.
    let offset = offset.clamp(-GREATEST_OFFSET, GREATEST_OFFSET) as i8;
    [offset as u8, step]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every offset and step is two halves, so that what takes halves takes these grids as well.
    #[test]
    fn two_bytes_are_two_halves() {
        for step in 0..=0x77 {
            for offset in -127i8..=127 {
                let grid = Grids::of(4, &[offset as u8, step]).at(0);
                let expected = f64::from(offset) * f64::from(grid.step) / f64::from(OFFSETS);
                assert_eq!(f64::from(grid.least), expected);
                let half = f16::from_f32(grid.least);
                assert!(half.is_infinite() || half.to_f32() == grid.least);
            }
        }
        for not_finite in [0xf8, 0xff] {
            let grid = Grids::of(4, &[1, not_finite]).at(0);
            assert!(!grid.step.is_finite() && !grid.least.is_finite());
        }
    }

    /// No number is further from its level than the steps' rounding allows, wherever the numbers lie.
    #[test]
    fn levels_are_near_wherever_numbers_lie() {
        for bits in [2, 3, 4] {
            let top = largest_code(bits);
            for middle in [0.0, 0.3, -0.5, 1.0, 4.0, -7.0, 40.0, -900.0] {
                for size in [1e-3, 1.0, 60.0] {
                    let numbers: Vec<f32> = (0..64)
                        .map(|nth| middle + size * ((nth * 29 % 64) as f32 / 31.5 - 1.0))
                        .collect();
                    let (grid, bytes) = Grid::over(bits, numbers.iter().copied());
                    assert_eq!(grid, Grids::of(bits, &bytes[..2]).at(0));
                    let far = middle.abs() / (63.0 - top / 2.0);
                    let step = (2.0 * size / top).max(far) * 17.0 / 16.0;
                    // Half a step, half of a sixteenth of all steps, half an offset.
                    let bound = step * (0.5 + top / 32.0 + 0.25) + 1e-6;
                    for number in numbers {
                        let code = f32::from(grid.code(number, top));
                        let error = (grid.least + code * grid.step - number).abs();
                        assert!(error <= bound, "{bits} bits, {number}: {error} > {bound}");
                    }
                }
            }
        }
    }
}
