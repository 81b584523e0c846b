//! Pages that fall away from layer to layer (LazyLLM, Fu et al. 2024, arXiv 2407.14057): what the last token did not look
//! at in one layer no head looks at in the next.
//!
//! LazyLLM drops tokens of the prompt from a layer on, and computes them later if they are wanted. All tokens of a document
//! were computed, so nothing needs to be computed again here: it is a way of choosing pages for all heads of a layer together. In a first third
//! of the layers nothing falls away, in the second all but twice the budget, in the last all but the budget.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What became of the tiles of a pass up to a layer.
#[derive(Debug, Default)]
pub(super) struct Pruned(Mutex<BTreeMap<usize, Tile>>);

/// Of the tokens that choose together.
#[derive(Debug, Default)]
struct Tile {
    layer: usize,
    /// Shares of each head in this layer, `[kv_head][pages]`.
    now: BTreeMap<usize, Vec<f32>>,
    /// The same of all heads in the layer before.
    before: Vec<f32>,
    /// Pages that were left in the layer before.
    left: Vec<bool>,
}

impl Pruned {
    /// What pages are worth to a head in this layer: the shares of attention that they got in the layer before, nothing
    /// where they fell away, or in the first layer. `shares` are what this head gives them now; `tile` is the first
    /// token of those that choose.
    pub(super) fn worth(
        &self,
        (layer, kv_head): (usize, usize),
        tile: usize,
        shares: Vec<f32>,
    ) -> Vec<f32> {
        let mut tiles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tile = tiles.entry(tile).or_default();
        let pages = shares.len();
        if layer == 0 || layer < tile.layer {
            if tile.layer != 0 || tile.now.contains_key(&kv_head) {
                *tile = Tile::default();
            }
            tile.before = vec![0.0; pages];
            tile.left = vec![true; pages];
        }
        if layer > tile.layer {
            let mut sums = vec![0.0; pages];
            for shares in std::mem::take(&mut tile.now).into_values() {
                for (sum, share) in sums.iter_mut().zip(shares) {
                    *sum += share;
                }
            }
            tile.before = sums;
            tile.left.resize(pages, true);
            tile.layer = layer;
        }
        tile.now.insert(kv_head, shares);
        let before = tile.before.iter().zip(&tile.left);
        before
            .map(|(share, left)| if *left { *share } else { 0.0 })
            .collect()
    }

    /// These pages are left of those that this tile chose from.
    pub(super) fn leave(&self, tile: usize, chosen: &[u32]) {
        let mut tiles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tile) = tiles.get_mut(&tile) {
            tile.left.fill(false);
            for page in chosen {
                if let Some(left) = tile.left.get_mut(*page as usize) {
                    *left = true;
                }
            }
        }
    }
}
