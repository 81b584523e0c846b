//! Evenly spaced levels between the least and the largest of some numbers.

use half::f16;

/// Code `c` stands for `least + c * step`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    step: f16,
    least: f16,
}

impl Grid {
    /// Of codes up to `largest_code` over `numbers`, which are not empty. One NaN among them makes all of them NaN:
    /// it must not pass for a number.
    pub(super) fn over(numbers: impl Iterator<Item = f32> + Clone, largest_code: f32) -> Grid {
        let mut least = numbers.clone().fold(f32::INFINITY, f32::min);
        let largest = numbers.clone().fold(f32::NEG_INFINITY, f32::max);
        if numbers.into_iter().any(f32::is_nan) {
            least = f32::NAN;
        }
        // A zero's sign is dropped: `min` and `max` do not say which of two zeros they give, and every processor that
        // makes codes is to write the same bytes.
        least += 0.0;
        let range = largest - least + 0.0;
        Grid {
            step: f16::from_f32(range / largest_code),
            least: f16::from_f32(least),
        }
    }

    /// Code of the level nearest to `number`.
    pub(super) fn code(&self, number: f32, largest_code: f32) -> u8 {
        let steps = (number - self.least.to_f32()) / self.step.to_f32();
        // A step of 0 (all numbers equal) makes this NaN, which is cast to 0.
        steps.round_ties_even().clamp(0.0, largest_code) as u8
    }

    pub(super) fn to_bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.step.to_le_bytes(), self.least.to_le_bytes());
        [a, b, c, d]
    }
}
