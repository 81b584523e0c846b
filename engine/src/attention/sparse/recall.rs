//! How much of the true attention a choice of pages would hold.

use super::super::kernels::Kernels;
use super::index::{Choosers, Sparse};
use super::pick::always;
use super::{PagePolicy, SparseRead};
use crate::kv::{BLOCK_TOKENS, KvShape};
use std::sync::{Mutex, PoisonError};

/// What one way of choosing would have held of the attention that was paid.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recall {
    /// Sum over rows, heads and layers of the share of the attention to sealed pages that the choice holds.
    held: f64,
    /// The same of the pages that are attended to whatever is chosen.
    always: f64,
    rows: usize,
}

impl Recall {
    /// Mean share of a row's attention to sealed pages that falls on the pages that are looked at.
    pub fn whole(&self) -> f64 {
        self.held / self.rows.max(1) as f64
    }

    /// Of the attention that falls neither on sinks nor on the window, the share that falls on chosen pages.
    pub fn chosen(&self) -> f64 {
        (self.held - self.always) / (self.rows as f64 - self.always)
    }
}

/// Ways of choosing that are tried on the attention that is paid to everything.
#[derive(Debug)]
pub(in crate::attention) struct Audit {
    exact: Sparse,
    ways: Vec<(Sparse, Mutex<Recall>)>,
}

impl Audit {
    pub(in crate::attention) fn new(ways: &[SparseRead], shape: KvShape) -> Audit {
        let exact = SparseRead::new(PagePolicy::Exact, 0);
        Audit {
            exact: Sparse::new(exact, shape),
            ways: ways
                .iter()
                .map(|way| (Sparse::new(*way, shape), Mutex::default()))
                .collect(),
        }
    }

    /// As [`Sparse::extend`].
    pub(in crate::attention) fn extend(
        &mut self,
        layer: usize,
        pages: usize,
        turned: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) {
        self.exact.extend(layer, pages, &turned);
        for (way, _) in &mut self.ways {
            way.extend(layer, pages, &turned);
        }
    }

    /// Lets every way choose for the rows of one token and head.
    pub(in crate::attention) fn add(
        &self,
        kernels: &Kernels,
        layer: usize,
        rows: Choosers<'_>,
        pages: usize,
    ) {
        let Choosers {
            kv_head, queries, ..
        } = rows;
        let head = (layer, kv_head);
        let depth = self.exact.head_dim();
        let exact = self.exact.estimates(kernels, head, queries, depth, pages);
        for (way, recall) in &self.ways {
            if !way.chooses(layer, pages) {
                continue;
            }
            let chosen = way.choose(kernels, layer, rows, pages);
            let mut recall = recall.lock().unwrap_or_else(PoisonError::into_inner);
            for row in exact.chunks_exact(pages) {
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let weight = |estimate: f32| f64::from(estimate - largest).exp2();
                let whole: f64 = row.iter().copied().map(weight).sum();
                let on = |pages: &[u32]| -> f64 {
                    pages.iter().map(|page| weight(row[*page as usize])).sum()
                };
                recall.held += on(&chosen) / whole;
                recall.always += on(&always(pages, way.read().window / BLOCK_TOKENS)) / whole;
                recall.rows += 1;
            }
        }
    }

    /// What each way would have held.
    pub(in crate::attention) fn recalls(&self) -> Vec<Recall> {
        let copy = |recall: &Mutex<Recall>| *recall.lock().unwrap_or_else(PoisonError::into_inner);
        self.ways.iter().map(|(_, recall)| copy(recall)).collect()
    }
}
