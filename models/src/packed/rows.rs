//! What happens to rows of activations between products: the norm and the gate.
//!
//! Plain loops over arrays of sixteen, inlined into each level's functions and vectorised by the compiler; the order
//! of every sum is written down, so that all levels give the same bits.

/// Numbers that are summed apart.
const LANES: usize = 16;

/// Root-mean-square norm of one row in place: `x / sqrt(mean(x^2) + epsilon) * weight` (Zhang and Sennrich 2019,
/// arXiv 1910.07467).
#[inline(always)]
pub(super) fn rms_norm(values: &mut [f32], weights: &[f32], epsilon: f32) {
    assert_eq!(values.len(), weights.len());
    let mut sums = [0.0; LANES];
    let (sixteens, rest) = values.as_chunks::<LANES>();
    for values in sixteens {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value * value;
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum += value * value;
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        let (low, high) = sums.split_at_mut(width);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
    }
    let factor = 1.0 / (sums[0] / values.len() as f32 + epsilon).sqrt();
    for (value, weight) in values.iter_mut().zip(weights) {
        *value = *value * factor * weight;
    }
}

/// `gate := silu(gate) * up` with `silu(x) = x / (1 + e^-x)` (Shazeer 2020, arXiv 2002.05202).
#[inline(always)]
pub(super) fn swiglu(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len());
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + exponential(-*gate)) * up;
    }
}

/// `e^x` to 1e-7 of itself for small `x` and 1e-5 for the largest, whose product with log2(e) is rounded; beyond 2^126 either way that power; NaN of NaN.
#[inline(always)]
pub(crate) fn exponential(x: f32) -> f32 {
    /// Adding and subtracting rounds to an integer, which the sum's low bits hold.
    const SHIFT: f32 = 12_582_912.0;
    const LIMIT: f32 = 126.0;
    let power = x * std::f32::consts::LOG2_E;
    let power = if power > LIMIT { LIMIT } else { power };
    let power = if power < -LIMIT { -LIMIT } else { power };
    let shifted = power + SHIFT;
    let fraction = power - (shifted - SHIFT);
    // Minimax polynomial of 2^f on [-1/2, 1/2] (Remez exchange on the relative error).
    let mut series = 0.000_153_458_12;
    for coefficient in [
        0.001_339_993_1,
        0.009_618_489,
        0.055_503_286,
        0.240_226_46,
        std::f32::consts::LN_2,
        1.0,
    ] {
        series = series * fraction + coefficient;
    }
    let exponent = shifted
        .to_bits()
        .wrapping_sub(SHIFT.to_bits())
        .wrapping_add(127);
    series * f32::from_bits(exponent << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_is_silu_times_up() {
        for step in -40_000..40_000 {
            let x = step as f32 * 0.003;
            let mut gate = [x];
            swiglu(&mut gate, &[2.0]);
            let x = f64::from(x);
            let expected = 2.0 * x / (1.0 + (-x).exp());
            let error = (f64::from(gate[0]) - expected).abs();
            // Below -87 the true value is under 1e-36 and the power is cut off.
            assert!(
                error <= 1e-5 * expected.abs() + 1e-35,
                "{x}: {gate:?}, {expected}"
            );
        }
        let mut gate = [f32::NAN];
        swiglu(&mut gate, &[1.0]);
        assert!(gate[0].is_nan());
    }

    #[test]
    fn the_norm_is_that_of_its_definition() {
        for length in [1, 5, 16, 33, 896] {
            let values: Vec<f32> = (0..length).map(|i| (i * 37 % 101) as f32 - 50.0).collect();
            let weights: Vec<f32> = (0..length).map(|i| 1.0 + i as f32 / 100.0).collect();
            let squares: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
            let root = (squares / length as f64 + 1e-6).sqrt();
            let mut normed = values.clone();
            rms_norm(&mut normed, &weights, 1e-6);
            for ((normed, value), weight) in normed.iter().zip(&values).zip(&weights) {
                let expected = f64::from(*value) / root * f64::from(*weight);
                assert!((f64::from(*normed) - expected).abs() <= 1e-6 * expected.abs());
            }
        }
        let mut values = [1.0, f32::NAN];
        rms_norm(&mut values, &[1.0, 1.0], 1e-6);
        assert!(values.iter().all(|value| value.is_nan()));
    }
}
