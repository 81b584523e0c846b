//! Quest (Tang et al. 2024, arXiv 2406.10774): of each run of 16 keys the least and the largest number of every channel.
//! No key of the run can score higher than the sum over channels of the larger of `q min` and `q max`; a page is worth
//! what its best run is. With centre and radius in place of least and largest that is `q centre + |q| radius`, one
//! product.

use super::super::kernels::Kernels;
use super::PageIndex;
use super::columns::Columns;
use crate::kv::BLOCK_TOKENS;

/// Keys of a run, as Quest's pages have. Over 64 keys the bounds of channels that turn fast say nothing.
const RUN: usize = 16;

const RUNS: usize = BLOCK_TOKENS / RUN;

/// Centre and radius of every channel of every run.
#[derive(Debug)]
pub(super) struct Bounds {
    head_dim: usize,
    runs: Columns,
}

impl Bounds {
    pub(super) fn new(head_dim: usize) -> Bounds {
        Bounds {
            head_dim,
            runs: Columns::new(2 * head_dim),
        }
    }
}

impl PageIndex for Bounds {
    fn push(&mut self, keys: &[f32]) {
        for run in 0..RUNS {
            let bounds: Vec<(f32, f32)> = keys
                .chunks_exact(BLOCK_TOKENS)
                .map(|channel| {
                    let keys = &channel[run * RUN..][..RUN];
                    let least = keys.iter().copied().fold(f32::INFINITY, f32::min);
                    let largest = keys.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    (least, largest)
                })
                .collect();
            let centres = bounds
                .iter()
                .map(|(least, largest)| (least + largest) / 2.0);
            let radii = bounds
                .iter()
                .map(|(least, largest)| (largest - least) / 2.0);
            self.runs.push(centres.chain(radii));
        }
    }

    fn estimate(&self, kernels: &Kernels, queries: &[f32], pages: usize, estimates: &mut [f32]) {
        let mut rows = Vec::with_capacity(2 * queries.len());
        for query in queries.chunks_exact(self.head_dim) {
            rows.extend_from_slice(query);
            rows.extend(query.iter().map(|number| number.abs()));
        }
        self.runs
            .products(kernels, &rows, pages * RUNS, |row, first, bounds| {
                let estimates = &mut estimates[row * pages + first / RUNS..];
                for (estimate, runs) in estimates.iter_mut().zip(bounds.chunks_exact(RUNS)) {
                    *estimate = runs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                }
            });
    }

    fn bytes(&self) -> usize {
        self.runs.bytes()
    }
}
