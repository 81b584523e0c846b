//! The index of a whole model: one [`PageIndex`] a layer and head, made when a layer is first attended to.

use super::super::kernels::Kernels;
use super::antidiagonals::{STRIDE, joined};
use super::pick::{pick, pick_enough, worth};
use super::probe::probe;
use super::pruned::Pruned;
use super::{PageIndex, PagePolicy, SparseRead};
use crate::kv::{BLOCK_TOKENS, KvShape, KvView};
use rayon::prelude::*;

/// Share of the attention that the pages which a probe chooses are to hold by its estimate.
const PROBE_SHARE: f32 = 0.95;

/// The same of antidiagonals; XAttention's.
const ANTIDIAGONAL_SHARE: f32 = 0.9;

/// What is looked at of a cache, with the index that it is chosen by.
#[derive(Debug)]
pub(in crate::attention) struct Sparse {
    read: SparseRead,
    shape: KvShape,
    layers: Vec<LayerIndex>,
    /// Of [`PagePolicy::Pruned`].
    pruned: Pruned,
}

/// Rows of one head that choose together.
#[derive(Debug, Clone, Copy)]
pub(in crate::attention) struct Choosers<'a> {
    pub(in crate::attention) kv_head: usize,
    /// Of the pass.
    pub(in crate::attention) first_token: usize,
    /// `[tokens][group][head_dim]`, turned and scaled.
    pub(in crate::attention) queries: &'a [f32],
    /// Query heads of the group.
    pub(in crate::attention) group: usize,
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
            pruned: Pruned::default(),
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

    /// Whether each token chooses for itself, and not those of a tile together.
    pub(in crate::attention) fn each_for_itself(&self) -> bool {
        self.read.policy.each_for_itself()
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

    /// The pages among the first `pages` that these rows attend to, in order.
    pub(in crate::attention) fn choose(
        &self,
        kernels: &Kernels,
        layer: usize,
        rows: Choosers<'_>,
        pages: usize,
    ) -> Vec<u32> {
        let Choosers { queries, group, .. } = rows;
        let head_dim = self.shape.head_dim;
        let (budget, window) = (
            self.read.budget / BLOCK_TOKENS,
            self.read.window / BLOCK_TOKENS,
        );
        let worth_to = |rows_of: &[f32], depth: usize| {
            let head = (layer, rows.kv_head);
            worth(&self.estimates(kernels, head, rows_of, depth, pages), pages)
        };
        match self.read.policy {
            PagePolicy::Probe => {
                let worth = worth_to(&probe(queries, group, head_dim), head_dim);
                pick_enough(&worth, budget, window, PROBE_SHARE)
            }
            PagePolicy::Antidiagonals => {
                let joined = joined(queries, group, head_dim);
                let worth = worth_to(&joined, STRIDE * head_dim);
                pick_enough(&worth, pages, window, ANTIDIAGONAL_SHARE)
            }
            PagePolicy::Pruned => {
                let last = &queries[queries.len() - group * head_dim..];
                let shares = worth_to(last, head_dim);
                let at = (layer, rows.kv_head);
                let budget = match 3 * layer / self.shape.layers {
                    0 => pages,
                    1 => 2 * budget,
                    _ => budget,
                };
                let worth = self.pruned.worth(at, rows.first_token, shares);
                let chosen = pick(&worth, budget, window);
                self.pruned.leave(rows.first_token, &chosen);
                chosen
            }
            _ => pick(&worth_to(queries, head_dim), budget, window),
        }
    }

    /// Channels of a head.
    pub(super) fn head_dim(&self) -> usize {
        self.shape.head_dim
    }

    /// What is looked at.
    pub(in crate::attention) fn read(&self) -> &SparseRead {
        &self.read
    }

    /// `[rows][pages]`, see [`PageIndex::estimate`], of `queries`, `[rows][depth]`, in a layer and head.
    pub(super) fn estimates(
        &self,
        kernels: &Kernels,
        (layer, kv_head): (usize, usize),
        queries: &[f32],
        depth: usize,
        pages: usize,
    ) -> Vec<f32> {
        let mut estimates = vec![0.0; queries.len() / depth * pages];
        let head = &self.layers[layer].heads[kv_head];
        head.estimate(kernels, queries, pages, &mut estimates);
        estimates
    }
}
