//! Keys of low rank (after CSKV, Wang et al. 2024, arXiv 2409.10593, without its training): of each head's keys only how
//! they lie along the directions in which they are spread most, found when the document was read.
//!
//! An upper bound of what this can do: directions and how keys lie along them are kept in single precision until the
//! keys are put together again and rounded to halves, and values are in halves. A cache would keep them in 4 bits.

use super::held::{Held, rewritten};
use crate::evaluation::EvaluationError;
use crate::kv::{BLOCK_TOKENS, BlockFormat, KvCache};
use lectern_models::Model;
use std::path::Path;

/// A half-precision cache whose keys have only the best `share` of their directions left; those of the first block stay.
pub(super) fn projected(
    model: &Model,
    whole: &KvCache,
    share: f64,
    folder: &Path,
) -> Result<KvCache, EvaluationError> {
    let head_dim = model.shape().head_dim;
    let rank = (share * head_dim as f64).round() as usize;
    let name = format!("rank {rank}");
    rewritten(
        model,
        whole,
        BlockFormat::F16,
        folder,
        &name,
        |_, _, mut held: Held| {
            let first = (BLOCK_TOKENS * head_dim).min(held.keys.len());
            project(&mut held.keys[first..], head_dim, rank);
            held
        },
    )
}

/// Leaves of each row only the mean of all and what lies along the best `rank` directions.
fn project(rows: &mut [f32], width: usize, rank: usize) {
    let count = (rows.len() / width).max(1) as f64;
    let mut mean = vec![0.0f64; width];
    for row in rows.chunks_exact(width) {
        for (mean, number) in mean.iter_mut().zip(row) {
            *mean += f64::from(*number) / count;
        }
    }
    let mut covariance = vec![0.0f64; width * width];
    for row in rows.chunks_exact(width) {
        for (x, line) in covariance.chunks_exact_mut(width).enumerate() {
            let of_x = f64::from(row[x]) - mean[x];
            for (y, sum) in line.iter_mut().enumerate() {
                *sum += of_x * (f64::from(row[y]) - mean[y]);
            }
        }
    }
    let directions = directions(covariance, width);
    let kept = &directions[..rank.min(width)];
    for row in rows.chunks_exact_mut(width) {
        let off: Vec<f64> = row
            .iter()
            .zip(&mean)
            .map(|(x, mean)| f64::from(*x) - mean)
            .collect();
        let mut left = mean.clone();
        for direction in kept {
            let along: f64 = off.iter().zip(direction).map(|(x, y)| x * y).sum();
            for (left, direction) in left.iter_mut().zip(direction) {
                *left += along * direction;
            }
        }
        for (number, left) in row.iter_mut().zip(left) {
            *number = left as f32;
        }
    }
}

/// Eigenvectors of a symmetric matrix, those of the largest eigenvalues first (Jacobi's method, cyclic).
fn directions(mut matrix: Vec<f64>, width: usize) -> Vec<Vec<f64>> {
    const SWEEPS: usize = 12;
    let mut vectors = vec![vec![0.0; width]; width];
    for (nth, vector) in vectors.iter_mut().enumerate() {
        vector[nth] = 1.0;
    }
    for _ in 0..SWEEPS {
        for p in 0..width {
            for q in p + 1..width {
                let off = matrix[p * width + q];
                if off == 0.0 {
                    continue;
                }
                let theta = (matrix[q * width + q] - matrix[p * width + p]) / (2.0 * off);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let t = if theta == 0.0 { 1.0 } else { t };
                let cos = (t * t + 1.0).sqrt().recip();
                let sin = t * cos;
                for k in 0..width {
                    let (x, y) = (matrix[k * width + p], matrix[k * width + q]);
                    matrix[k * width + p] = cos * x - sin * y;
                    matrix[k * width + q] = sin * x + cos * y;
                }
                for k in 0..width {
                    let (x, y) = (matrix[p * width + k], matrix[q * width + k]);
                    matrix[p * width + k] = cos * x - sin * y;
                    matrix[q * width + k] = sin * x + cos * y;
                }
                for k in 0..width {
                    let (x, y) = (vectors[p][k], vectors[q][k]);
                    vectors[p][k] = cos * x - sin * y;
                    vectors[q][k] = sin * x + cos * y;
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by(|a, b| matrix[b * width + b].total_cmp(&matrix[a * width + a]));
    order.into_iter().map(|nth| vectors[nth].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_that_rank_stay_and_others_lose_least() {
        // 50 rows of 6 numbers in 2 directions around a mean.
        let numbers = |count: u32, by: f32| (1..=count).map(move |n| (n as f32 * by).sin());
        let along: Vec<f32> = numbers(100, 1.7).collect();
        let basis: Vec<f32> = numbers(12, 2.3).collect();
        let rows: Vec<f32> = along
            .chunks_exact(2)
            .flat_map(|a| {
                let basis = &basis;
                (0..6).map(move |at| 3.0 + a[0] * basis[at] + a[1] * basis[6 + at])
            })
            .collect();
        let mut kept = rows.clone();
        project(&mut kept, 6, 2);
        let worst = |kept: &[f32]| {
            let pairs = kept.iter().zip(&rows);
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(worst(&kept) < 1e-4, "{}", worst(&kept));
        project(&mut kept, 6, 1);
        assert!(worst(&kept) > 0.01);
    }
}
