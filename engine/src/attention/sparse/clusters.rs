//! Key clusters (Squeezed Attention, Hooper et al. 2024, arXiv 2411.09688): keys stand in clusters, a query meets the
//! centroids, and a cluster of `n` keys is worth `n exp(q c)`.
//!
//! Differs from the paper in what a cluster is: 16 keys that follow each other, one centroid for 6% of the tokens, not
//! those that k-means finds over the whole text. Pages are attended to whole, so clusters must not reach across them,
//! and they need no iterations.

use super::super::kernels::Kernels;
use super::PageIndex;
use super::columns::Columns;
use crate::kv::BLOCK_TOKENS;

/// Keys of a cluster.
const CLUSTER: usize = 16;

const CLUSTERS: usize = BLOCK_TOKENS / CLUSTER;

/// The centroid of every cluster.
#[derive(Debug)]
pub(super) struct Clusters {
    centroids: Columns,
}

impl Clusters {
    pub(super) fn new(head_dim: usize) -> Clusters {
        Clusters {
            centroids: Columns::new(head_dim),
        }
    }
}

impl PageIndex for Clusters {
    fn push(&mut self, keys: &[f32]) {
        for cluster in 0..CLUSTERS {
            self.centroids
                .push(keys.chunks_exact(BLOCK_TOKENS).map(|channel| {
                    let keys = &channel[cluster * CLUSTER..][..CLUSTER];
                    keys.iter().sum::<f32>() / CLUSTER as f32
                }));
        }
    }

    fn estimate(&self, kernels: &Kernels, queries: &[f32], pages: usize, estimates: &mut [f32]) {
        self.centroids
            .products(kernels, queries, pages * CLUSTERS, |row, first, scores| {
                let estimates = &mut estimates[row * pages + first / CLUSTERS..];
                for (estimate, scores) in estimates.iter_mut().zip(scores.chunks_exact(CLUSTERS)) {
                    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let sum: f32 = scores.iter().map(|score| (score - largest).exp2()).sum();
                    *estimate = largest + sum.log2();
                }
            });
    }

    fn bytes(&self) -> usize {
        self.centroids.bytes()
    }
}
