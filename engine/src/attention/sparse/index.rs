//! The index of a whole model: one [`PageIndex`] a layer and head, made when a layer is first attended to.

use super::super::kernels::Kernels;
use super::pick::pick;
use super::{PageIndex, SparseRead};
use crate::kv::{BLOCK_TOKENS, KvShape, KvView};
use rayon::prelude::*;

/// What is looked at of a cache, with the index that it is chosen by.
#[derive(Debug)]
pub(in crate::attention) struct Sparse {
    read: SparseRead,
    shape: KvShape,
    layers: Vec<LayerIndex>,
}

/// The heads of one layer, over its first pages.
#[derive(Debug)]
struct LayerIndex {
    pages: usize,
    heads: Vec<Box<dyn PageIndex>>,
}

impl Sparse {
    /// An index of nothing yet.
    pub(in crate::attention) fn new(read: SparseRead, shape: KvShape) -> Sparse {
        let layer = || LayerIndex {
            pages: 0,
            heads: (0..shape.kv_heads)
                .map(|_| read.policy.index(shape.head_dim))
                .collect(),
        };
        Sparse {
            read,
            shape,
            layers: (0..shape.layers).map(|_| layer()).collect(),
        }
    }

    /// The same index for another budget; `None` if this one judges pages in another way, or was made of more of them
    /// than `view` has.
    pub(super) fn serving(self, read: SparseRead, view: &KvView) -> Option<Sparse> {
        let same = self.read.policy == read.policy
            && self.shape == *view.shape()
            && self.layers.iter().all(|layer| layer.pages <= view.blocks());
        same.then_some(Sparse { read, ..self })
    }

    /// Bytes of memory of the index.
    pub(in crate::attention) fn bytes(&self) -> usize {
        let heads = self.layers.iter().flat_map(|layer| &layer.heads);
        heads.map(|head| head.bytes()).sum()
    }

    /// Whether `pages` sealed pages of this layer are chosen from, and not all attended to.
    pub(in crate::attention) fn chooses(&self, layer: usize, pages: usize) -> bool {
        layer >= self.read.dense_layers && pages * BLOCK_TOKENS > self.read.budget
    }

    /// Makes the index of a layer reach to page `pages`. `turned` gives the keys of a page and head, `[head_dim][64]`,
    /// turned to their positions.
    pub(in crate::attention) fn extend(
        &mut self,
        layer: usize,
        pages: usize,
        turned: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) {
        let layer = &mut self.layers[layer];
        let new = layer.pages..pages;
        let length = self.shape.head_values();
        layer
            .heads
            .par_iter_mut()
            .enumerate()
            .for_each(|(kv_head, head)| {
                let mut keys = vec![0.0; length];
                for page in new.clone() {
                    turned(page, kv_head, &mut keys);
                    head.push(&keys);
                }
            });
        layer.pages = layer.pages.max(pages);
    }

    /// The pages among the first `pages` that these rows of a head attend to, in order. `queries` is
    /// `[rows][head_dim]`, turned and scaled.
    pub(in crate::attention) fn choose(
        &self,
        kernels: &Kernels,
        layer: usize,
        kv_head: usize,
        queries: &[f32],
        pages: usize,
    ) -> Vec<u32> {
        let estimates = self.estimates(kernels, layer, kv_head, queries, pages);
        pick(
            &estimates,
            pages,
            self.read.budget / BLOCK_TOKENS,
            self.read.window / BLOCK_TOKENS,
        )
    }

    /// What is looked at.
    pub(in crate::attention) fn read(&self) -> &SparseRead {
        &self.read
    }

    /// `[rows][pages]`, see [`PageIndex::estimate`].
    pub(super) fn estimates(
        &self,
        kernels: &Kernels,
        layer: usize,
        kv_head: usize,
        queries: &[f32],
        pages: usize,
    ) -> Vec<f32> {
        let mut estimates = vec![0.0; queries.len() / self.shape.head_dim * pages];
        let head = &self.layers[layer].heads[kv_head];
        head.estimate(kernels, queries, pages, &mut estimates);
        estimates
    }
}
