//! How far one prediction of the next token is from another.

use rayon::prelude::*;

/// Sums over the rows of a text.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::evaluation) struct Prediction {
    divergence: f64,
    rows: usize,
    surprise: f64,
    targets: usize,
}

impl Prediction {
    /// Adds other rows.
    pub fn add(&mut self, other: Prediction) {
        self.divergence += other.divergence;
        self.rows += other.rows;
        self.surprise += other.surprise;
        self.targets += other.targets;
    }

    /// Mean Kullback-Leibler divergence, in nats.
    pub fn divergence(&self) -> f64 {
        self.divergence / self.rows.max(1) as f64
    }

    /// Of the text.
    pub fn perplexity(&self) -> f64 {
        (self.surprise / self.targets.max(1) as f64).exp()
    }
}

/// Rows of logits against the exact ones; `targets` are the tokens that came, one a row, perhaps none for the last.
pub(in crate::evaluation) fn compare(
    exact: &[Vec<f32>],
    found: &[Vec<f32>],
    targets: &[u32],
) -> Prediction {
    let rows = exact.par_iter().zip(found).enumerate();
    rows.map(|(nth, (exact, found))| {
        let (exact_sum, found_sum) = (log_sum(exact), log_sum(found));
        let divergence = exact.iter().zip(found).map(|(exact, found)| {
            let exact = f64::from(*exact) - exact_sum;
            exact.exp() * (exact - (f64::from(*found) - found_sum))
        });
        let target = targets.get(nth);
        Prediction {
            divergence: divergence.sum(),
            rows: 1,
            surprise: target.map_or(0.0, |t| found_sum - f64::from(found[*t as usize])),
            targets: usize::from(target.is_some()),
        }
    })
    .reduce(Prediction::default, |mut sum, row| {
        sum.add(row);
        sum
    })
}

/// Logarithm of the sum of exponentials.
fn log_sum(logits: &[f32]) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let terms = logits
        .iter()
        .map(|logit| f64::from(logit - largest).exp())
        .sum::<f64>();
    f64::from(largest) + terms.ln()
}

/// Whether each row's likeliest token is the one that came.
pub(in crate::evaluation) fn hits(rows: &[Vec<f32>], targets: &[u32]) -> Vec<bool> {
    rows.iter()
        .zip(targets)
        .map(|(row, target)| {
            let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
            best == Some(*target as usize)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_and_perplexity_of_known_distributions() {
        // Probabilities 1/2, 1/2 and 3/4, 1/4.
        let exact = vec![vec![0.0, 0.0], vec![5.0, 5.0]];
        let found = vec![vec![3f32.ln(), 0.0], vec![1.0, 1.0]];
        let sum = compare(&exact, &found, &[0]);
        let first = 0.5 * (0.5f64 / 0.75).ln() + 0.5 * (0.5f64 / 0.25).ln();
        assert!((sum.divergence() - first / 2.0).abs() < 1e-7);
        assert!((sum.perplexity() - 4.0 / 3.0).abs() < 1e-6);
        assert_eq!(hits(&found, &[0, 0]), [true, false]);
    }
}
