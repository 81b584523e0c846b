//! What a sentence transformer computes between its products: the norm, the activation, weights of attention.
//!
//! Plain loops over arrays, compiled once for each [`Level`] and vectorised by the compiler. Nothing is fused and the order of
//! every sum is written down, so that all levels give the same bits.

use crate::level::Level;
use crate::packed::exponential;

/// Numbers that are added up beside each other.
const LANES: usize = 16;

/// One set of loops.
pub(super) struct Loops {
    /// Layer norm of one row in place.
    pub layer_norm: fn(row: &mut [f32], scale: &[f32], shift: &[f32]),
    /// The activation of rows in place.
    pub gelu: fn(numbers: &mut [f32]),
    /// Makes weights, which add up to one, of the scores of a query, times `scale`.
    pub softmax: fn(scores: &mut [f32], scale: f32),
}

impl Loops {
    /// Those of a level.
    ///
    /// # Panics
    /// If this processor is not of that level.
    pub fn of(level: Level) -> &'static Loops {
        assert!(level.detected(), "this processor cannot run {level}");
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => &avx512::LOOPS,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::AvxVnni => &avx2::LOOPS,
            _ => &Loops {
                layer_norm,
                gelu,
                softmax,
            },
        }
    }
}

/// The loops for processors with these features.
#[cfg(target_arch = "x86_64")]
macro_rules! compiled {
    ($name:ident, $features:literal) => {
        mod $name {
            use super::Loops;

            pub(super) static LOOPS: Loops = Loops {
                // SAFETY: `Loops::of` gives these only where the level was detected.
                layer_norm: |row, scale, shift| unsafe { layer_norm(row, scale, shift) },
                // SAFETY: as above.
                gelu: |numbers| unsafe { gelu(numbers) },
                // SAFETY: as above.
                softmax: |scores, scale| unsafe { softmax(scores, scale) },
            };

            #[target_feature(enable = $features)]
            fn layer_norm(row: &mut [f32], scale: &[f32], shift: &[f32]) {
                super::layer_norm(row, scale, shift);
            }

            #[target_feature(enable = $features)]
            fn gelu(numbers: &mut [f32]) {
                super::gelu(numbers);
            }

            #[target_feature(enable = $features)]
            fn softmax(scores: &mut [f32], scale: f32) {
                super::softmax(scores, scale);
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
compiled!(avx2, "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
compiled!(avx512, "avx512f,avx512bw,avx512vl");

/// `(x - mean) / sqrt(variance + epsilon) * scale + shift` (Ba et al. 2016, arXiv 1607.06450).
#[inline(always)]
fn layer_norm(row: &mut [f32], scale: &[f32], shift: &[f32]) {
    const EPSILON: f32 = 1e-12;
    let each = 1.0 / row.len() as f32;
    let mean = sum(row, |x| x) * each;
    let variance = sum(row, |x| (x - mean) * (x - mean)) * each;
    let factor = 1.0 / (variance + EPSILON).sqrt();
    for ((x, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
        *x = (*x - mean) * factor * scale + shift;
    }
}

#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (sixteens, rest) = row.as_chunks::<LANES>();
    for numbers in sixteens {
        for (sum, x) in sums.iter_mut().zip(numbers) {
            *sum += of(*x);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += of(*x);
    }
    total(sums)
}

#[inline(always)]
fn total(mut sums: [f32; LANES]) -> f32 {
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        let (low, high) = sums.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
    }
    sums[0]
}

/// `x * Phi(x)` (Hendrycks and Gimpel 2016, arXiv 1606.08415), the error function by 7.1.26 of Abramowitz and Stegun, which
/// is 1.5e-7 off at most.
#[inline(always)]
fn gelu(numbers: &mut [f32]) {
    for x in numbers {
        let root = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
        let t = 1.0 / (1.0 + 0.327_591_1 * root);
        let mut series = 1.061_405_4;
        for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
            series = series * t + coefficient;
        }
        let erf = 1.0 - series * t * exponential(-root * root);
        *x *= 0.5 * (1.0 + erf.copysign(*x));
    }
}

#[inline(always)]
fn softmax(scores: &mut [f32], scale: f32) {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut largest = [f32::NEG_INFINITY; LANES];
    let (sixteens, rest) = scores.as_chunks::<LANES>();
    for scores in sixteens {
        for (largest, score) in largest.iter_mut().zip(scores) {
            *largest = larger(*largest, *score);
        }
    }
    let largest = largest
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, larger);
    for score in scores.iter_mut() {
        *score = exponential((*score - largest) * scale);
    }
    let factor = 1.0 / sum(scores, |weight| weight);
    for weight in scores {
        *weight *= factor;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn weights_are_those_of_their_definition_on_every_level(
            scores in prop::collection::vec(-40f32..40.0, 1..300),
            scale in 0.05f32..1.0,
        ) {
            let mut first = scores.clone();
            (Loops::of(Level::Portable).softmax)(&mut first, scale);
            let exponentials: Vec<f64> = scores.iter().map(|score| (f64::from(*score) * f64::from(scale)).exp()).collect();
            let sum: f64 = exponentials.iter().sum();
            for (found, exponential) in first.iter().zip(&exponentials) {
                prop_assert!((f64::from(*found) - exponential / sum).abs() < 1e-5);
            }
            for level in Level::available() {
                let mut again = scores.clone();
                (Loops::of(level).softmax)(&mut again, scale);
                prop_assert_eq!(&first, &again, "{}", level);
            }
        }

        #[test]
        fn the_norm_is_that_of_its_definition_on_every_level(
            row in prop::collection::vec((-50f32..50.0, 0.5f32..2.0, -1f32..1.0), 1..400),
        ) {
            let numbers: Vec<f32> = row.iter().map(|row| row.0).collect();
            let scale: Vec<f32> = row.iter().map(|row| row.1).collect();
            let shift: Vec<f32> = row.iter().map(|row| row.2).collect();
            let mean = numbers.iter().map(|x| f64::from(*x)).sum::<f64>() / numbers.len() as f64;
            let variance = numbers.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / numbers.len() as f64;
            let mut first = numbers.clone();
            (Loops::of(Level::Portable).layer_norm)(&mut first, &scale, &shift);
            for (nth, found) in first.iter().enumerate() {
                let expected = (f64::from(numbers[nth]) - mean) / (variance + 1e-12).sqrt() * f64::from(scale[nth]) + f64::from(shift[nth]);
                // What is left of numbers that are nearly equal is their rounding.
                prop_assume!(variance > 1e-3);
                prop_assert!((f64::from(*found) - expected).abs() < 1e-3, "{} for {}", found, expected);
            }
            for level in Level::available() {
                let mut again = numbers.clone();
                (Loops::of(level).layer_norm)(&mut again, &scale, &shift);
                prop_assert_eq!(&first, &again, "{}", level);
            }
        }
    }

    #[test]
    fn the_activation_is_that_of_its_definition_on_every_level() {
        let numbers: Vec<f32> = (-4000..4000).map(|step| step as f32 * 0.005).collect();
        let mut first = numbers.clone();
        (Loops::of(Level::Portable).gelu)(&mut first);
        for (x, found) in numbers.iter().zip(&first) {
            // Phi by its series around 0, as far as it converges, else by its tail.
            let x = f64::from(*x);
            let mut term = x;
            let mut sum = x;
            for n in 1..400 {
                term *= x * x / f64::from(2 * n + 1);
                sum += term;
            }
            let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let phi = match x.abs() < 6.0 {
                true => 0.5 + density * sum,
                false => f64::from(u8::from(x > 0.0)),
            };
            assert!((f64::from(*found) - x * phi).abs() < 2e-6, "{x}: {found}");
        }
        for level in Level::available() {
            let mut again = numbers.clone();
            (Loops::of(level).gelu)(&mut again);
            assert_eq!(first, again, "{level}");
        }
        let mut nothing = [f32::NAN, f32::INFINITY];
        (Loops::of(Level::chosen()).gelu)(&mut nothing);
        assert!(nothing[0].is_nan() && nothing[1] == f32::INFINITY);
    }
}
