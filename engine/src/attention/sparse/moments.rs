//! Mean and variance of each channel over runs of keys: were the scores of a run's `n` keys normally distributed, with
//! mean `q m` and variance `v` the sum of `q² s²` over channels, their weights would sum to `n exp(q m + v / 2)`, or where
//! `v` is large to what the largest of `n` such scores would weigh, `exp(q m + sqrt(2 v ln n))`.
//!
//! Ours: the clusters of Squeezed Attention know where a run's keys are and not how far they lie apart, the bounds of
//! Quest take the worst of every channel at once. This is the second-order term between the two.

use super::super::kernels::Kernels;
use super::PageIndex;
use super::columns::Columns;
use crate::kv::BLOCK_TOKENS;
use std::f32::consts::LN_2;

/// Keys of a run.
const RUN: usize = 16;

const RUNS: usize = BLOCK_TOKENS / RUN;

/// Mean and variance of every channel of every run.
#[derive(Debug)]
pub(super) struct Moments {
    head_dim: usize,
    means: Columns,
    variances: Columns,
}

impl Moments {
    pub(super) fn new(head_dim: usize) -> Moments {
        Moments {
            head_dim,
            means: Columns::new(head_dim),
            variances: Columns::new(head_dim),
        }
    }
}

impl PageIndex for Moments {
    fn push(&mut self, keys: &[f32]) {
        for run in 0..RUNS {
            let moments: Vec<(f32, f32)> = keys
                .chunks_exact(BLOCK_TOKENS)
                .map(|channel| {
                    let keys = &channel[run * RUN..][..RUN];
                    let mean = keys.iter().sum::<f32>() / RUN as f32;
                    let variance =
                        keys.iter().map(|key| (key - mean).powi(2)).sum::<f32>() / RUN as f32;
                    (mean, variance)
                })
                .collect();
            self.means.push(moments.iter().map(|moment| moment.0));
            self.variances.push(moments.iter().map(|moment| moment.1));
        }
    }

    fn estimate(&self, kernels: &Kernels, queries: &[f32], pages: usize, estimates: &mut [f32]) {
        let squares: Vec<f32> = queries.iter().map(|query| query * query).collect();
        let rows = queries.len() / self.head_dim;
        let mut means = vec![0.0; rows * pages * RUNS];
        self.means
            .products(kernels, queries, pages * RUNS, |row, first, products| {
                means[row * pages * RUNS + first..][..products.len()].copy_from_slice(products);
            });
        self.variances
            .products(kernels, &squares, pages * RUNS, |row, first, products| {
                let means = &means[row * pages * RUNS + first..];
                let estimates = &mut estimates[row * pages + first / RUNS..];
                let runs = products.chunks_exact(RUNS).zip(means.chunks_exact(RUNS));
                for (estimate, (variances, means)) in estimates.iter_mut().zip(runs) {
                    let of_runs = variances
                        .iter()
                        .zip(means)
                        .map(|(variance, mean)| mean + spread(RUN, *variance));
                    *estimate = of_runs.fold(f32::NEG_INFINITY, f32::max);
                }
            });
    }

    fn bytes(&self) -> usize {
        self.means.bytes() + self.variances.bytes()
    }
}

/// How far the binary logarithm of the sum of `2^x` over `count` normally distributed `x` lies above their mean. Beyond
/// a variance the sum is its largest term (the random energy model, Derrida 1981).
fn spread(count: usize, variance: f32) -> f32 {
    let deviation = variance.max(0.0).sqrt() * LN_2;
    let logarithm = (count as f32).ln();
    let frozen = (2.0 * logarithm).sqrt();
    if deviation < frozen {
        (logarithm + deviation * deviation / 2.0) / LN_2
    } else {
        deviation * frozen / LN_2
    }
}
