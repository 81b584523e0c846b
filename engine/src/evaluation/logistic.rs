//! Logistic regression: which of two kinds something is, by a few numbers of it.

/// Steps of gradient ascent and their size, on numbers of variance one.
const STEPS: usize = 2000;
const RATE: f64 = 0.5;

/// Pull of every weight to 0, as a share of the examples.
const DECAY: f64 = 0.001;

/// Something of a kind, and how much it counts.
pub(super) struct Example<const N: usize> {
    pub numbers: [f64; N],
    pub is_so: bool,
    pub weight: f64,
}

/// A sum of weighed numbers, above 0 where it is likelier so than not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Regression<const N: usize> {
    pub weights: [f64; N],
    pub bias: f64,
}

impl<const N: usize> Regression<N> {
    /// The one under which the examples are likeliest.
    pub fn fit(examples: &[Example<N>]) -> Regression<N> {
        let all: f64 = examples.iter().map(|example| example.weight).sum();
        let mean = |of: &dyn Fn(&Example<N>) -> f64| {
            let sum: f64 = examples.iter().map(|e| e.weight * of(e)).sum();
            sum / all.max(f64::MIN_POSITIVE)
        };
        let means: [f64; N] = std::array::from_fn(|n| mean(&|e| e.numbers[n]));
        let spreads: [f64; N] = std::array::from_fn(|n| {
            let spread = mean(&|e| (e.numbers[n] - means[n]).powi(2)).sqrt();
            spread.max(f64::MIN_POSITIVE)
        });
        let even = |numbers: &[f64; N]| -> [f64; N] {
            std::array::from_fn(|n| (numbers[n] - means[n]) / spreads[n])
        };
        let mut fitted = Regression {
            weights: [0.0; N],
            bias: 0.0,
        };
        for _ in 0..STEPS {
            let mut slopes = fitted.weights.map(|weight| -DECAY * weight);
            let mut bias = 0.0;
            for example in examples {
                let numbers = even(&example.numbers);
                let likely = 1.0 / (1.0 + (-fitted.of(&numbers)).exp());
                let missing = f64::from(u8::from(example.is_so)) - likely;
                let slope = example.weight / all * missing;
                bias += slope;
                for (slopes, number) in slopes.iter_mut().zip(numbers) {
                    *slopes += slope * number;
                }
            }
            fitted.bias += RATE * bias;
            for (weight, slope) in fitted.weights.iter_mut().zip(slopes) {
                *weight += RATE * slope;
            }
        }
        // In the numbers' own units.
        for (n, weight) in fitted.weights.iter_mut().enumerate() {
            *weight /= spreads[n];
            fitted.bias -= *weight * means[n];
        }
        fitted
    }

    /// The sum for these numbers.
    pub fn of(&self, numbers: &[f64; N]) -> f64 {
        let weighed = self.weights.iter().zip(numbers);
        self.bias + weighed.map(|(weight, number)| weight * number).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_that_tells_gets_the_weight() {
        let examples: Vec<Example<2>> = (0..100)
            .map(|n| Example {
                numbers: [f64::from(n % 7), 40.0 + f64::from(n % 10)],
                is_so: n % 10 >= 6,
                weight: 1.0,
            })
            .collect();
        let fitted = Regression::fit(&examples);
        let right = examples
            .iter()
            .filter(|e| (fitted.of(&e.numbers) > 0.0) == e.is_so)
            .count();
        assert_eq!(right, 100, "{fitted:?}");
        assert!(
            fitted.weights[1] > 10.0 * fitted.weights[0].abs(),
            "{fitted:?}"
        );
    }

    #[test]
    fn what_counts_nothing_changes_nothing() {
        let example = |number: f64, is_so, weight| Example {
            numbers: [number],
            is_so,
            weight,
        };
        let mut examples: Vec<Example<1>> =
            (0..20).map(|n| example(f64::from(n), n > 9, 1.0)).collect();
        let without = Regression::fit(&examples);
        examples.push(example(-100.0, true, 0.0));
        assert_eq!(Regression::fit(&examples).weights, without.weights);
    }
}
