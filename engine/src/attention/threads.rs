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
    /// The softmax of each tile over all the blocks that it attends to, with the scores that are to be logged.
    pub(super) fn attend(&self, tiles: &mut [Tile]) {
        if is_enough(tiles.len()) {
            tiles.par_iter_mut().for_each(|tile| self.in_one_go(tile));
        } else {
            tiles.par_iter_mut().for_each(|tile| self.by_span(tile));
        }
    }

    /// One of many tiles: it runs over all its keys on one thread.
    fn in_one_go(&self, tile: &mut Tile) {
        self.prepare(tile);
        let spans = tile.blocks.chunks(SPAN_BLOCKS);
        Scratch::with(self.shape.head_dim, |scratch| {
            let mut part = std::mem::take(&mut scratch.part);
            for (span, log) in spans.zip(&mut tile.logs) {
                self.attend_span(&tile.rows, span, scratch, &mut part, log);
                tile.attended.merge(&part);
            }
            scratch.part = part;
        });
    }

    /// One of few tiles: its spans of keys are shared out among the threads, and merged afterwards, first to last.
    fn by_span(&self, tile: &mut Tile) {
        self.prepare(tile);
        tile.parts.resize(tile.logs.len(), Softmax::default());
        tile.blocks
            .par_chunks(SPAN_BLOCKS)
            .zip(&mut tile.parts)
            .zip(&mut tile.logs)
            .for_each(|((span, part), log)| {
                Scratch::with(self.shape.head_dim, |scratch| {
                    self.attend_span(&tile.rows, span, scratch, part, log);
                });
            });
        for part in &tile.parts {
            tile.attended.merge(part);
        }
    }

    /// Turns a tile's queries and chooses its blocks; nothing is attended yet.
    fn prepare(&self, tile: &mut Tile) {
        self.turn_queries(&mut tile.rows);
        let visible = self.visible_blocks(&tile.rows) as u32;
        tile.blocks.clear();
        match self.sparse {
            None => tile.blocks.extend(0..visible),
            Some(sparse) => {
                let sealed = self.tail.first_block();
                let rows = self.choosers(&tile.rows);
                let chosen = sparse.choose(self.kernels, self.layer, rows, sealed);
                tile.blocks.extend(chosen);
                tile.blocks.extend(sealed as u32..visible);
            }
        }
        let spans = tile.blocks.chunks(SPAN_BLOCKS).len();
        tile.logs.resize(spans, ScoreLog::default());
        let rows = tile.rows.lengths.len();
        tile.attended.clear(rows, self.shape.head_dim);
    }
}
