//! How the tiles of a layer are shared out among threads.

use super::mass::ScoreLog;
use super::softmax::Softmax;
use super::span::{LayerPass, SPAN_BLOCKS, Scratch, Tile};
use rayon::prelude::*;

/// Whether so many tiles keep all threads busy to the end.
pub(super) fn is_enough(tiles: usize) -> bool {
    tiles >= 2 * rayon::current_num_threads()
}

impl LayerPass<'_> {
    /// The softmax of each tile over all its blocks, with the scores that are to be logged.
    pub(super) fn attend(&self, tiles: &[Tile]) -> Vec<(Softmax, Vec<ScoreLog>)> {
        if is_enough(tiles.len()) {
            self.by_tile(tiles)
        } else {
            self.by_span(tiles)
        }
    }

    /// Many tiles: each runs over all its keys on one thread.
    fn by_tile(&self, tiles: &[Tile]) -> Vec<(Softmax, Vec<ScoreLog>)> {
        tiles
            .par_iter()
            .map(|tile| {
                let queries = self.tile_queries(tile);
                let spans = tile.blocks.chunks(SPAN_BLOCKS);
                Scratch::with(self.shape.head_dim, |scratch| {
                    self.merge(
                        tile,
                        spans.map(|span| self.attend_span(tile, &queries, span, scratch)),
                    )
                })
            })
            .collect()
    }

    /// Few tiles: their spans of keys are shared out among the threads and merged afterwards.
    fn by_span(&self, tiles: &[Tile]) -> Vec<(Softmax, Vec<ScoreLog>)> {
        let queries: Vec<_> = tiles.iter().map(|tile| self.tile_queries(tile)).collect();
        let work: Vec<(usize, &[u32])> = tiles
            .iter()
            .enumerate()
            .flat_map(|(nth, tile)| tile.blocks.chunks(SPAN_BLOCKS).map(move |span| (nth, span)))
            .collect();
        let parts: Vec<(Softmax, ScoreLog)> = work
            .par_iter()
            .map(|(nth, span)| {
                Scratch::with(self.shape.head_dim, |scratch| {
                    self.attend_span(&tiles[*nth], &queries[*nth], span, scratch)
                })
            })
            .collect();
        let mut parts = parts.into_iter();
        tiles
            .iter()
            .map(|tile| {
                let spans = tile.blocks.chunks(SPAN_BLOCKS).len();
                self.merge(tile, parts.by_ref().take(spans))
            })
            .collect()
    }

    /// Merges a tile's spans, first to last.
    fn merge(
        &self,
        tile: &Tile,
        parts: impl Iterator<Item = (Softmax, ScoreLog)>,
    ) -> (Softmax, Vec<ScoreLog>) {
        let rows = tile.tokens.len() * self.shape.group_size();
        let mut whole = Softmax::empty(rows, self.shape.head_dim);
        let mut logs = Vec::new();
        for (softmax, log) in parts {
            whole.merge(&softmax);
            if !log.rows.is_empty() {
                logs.push(log);
            }
        }
        (whole, logs)
    }
}
