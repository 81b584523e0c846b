//! A tile of query rows against a span of key blocks: where the time goes.

use super::CancelFlag;
use super::kernels::{
    Kernels, KeyTurn, Running, SpreadValues, Two, WholeKeys, WholeScores, ask_for, length, twos,
};
use super::mass::ScoreLog;
use super::rotation::{Rotation, Turn};
use super::softmax::Softmax;
use super::sparse::{Choosers, Sparse};
use super::tail::Tail;
use crate::kv::format::nibbles;
use crate::kv::{BLOCK_TOKENS, KvView, Part};
use lectern_models::attention::AttentionShape;
use std::cell::RefCell;
use std::ops::Range;

/// Blocks of a span: 512 keys. Sums are made span by span whatever the number of threads, see the module above.
pub(super) const SPAN_BLOCKS: usize = 8;

/// Rows whose scores exist at a time: 24 by 64 scores are 6 KB, and stay in the first-level cache with the block.
const SCORE_ROWS: usize = 24;

/// What all tiles of one layer share.
pub(super) struct LayerPass<'a> {
    pub(super) kernels: &'static Kernels,
    pub(super) shape: &'a AttentionShape,
    pub(super) layer: usize,
    /// The layer's key bias, zeros if it has none.
    pub(super) bias: &'a [f32],
    pub(super) view: &'a KvView,
    pub(super) tail: &'a Tail,
    pub(super) rotation: &'a Rotation,
    /// Turn of each block's first position.
    pub(super) block_turns: &'a [Turn],
    /// Turn of each of the pass's positions.
    pub(super) query_turns: &'a [Turn],
    /// `[tokens, query_heads, head_dim]`, as the model gave them.
    pub(super) queries: &'a [f32],
    /// Position of the pass's first token.
    pub(super) start: usize,
    /// What chooses blocks; all are looked at without.
    pub(super) sparse: Option<&'a Sparse>,
    pub(super) cancel: &'a CancelFlag,
}

/// Some tokens of the pass, with all query heads that share one key/value head, and what comes of them. Its memory is
/// used again, layer after layer and pass after pass.
#[derive(Debug, Clone, Default)]
pub(super) struct Tile {
    pub(super) rows: TileRows,
    /// Blocks that it attends to, in order, the sealed ones among them whole.
    pub(super) blocks: Vec<u32>,
    /// Of each span, where they are shared out among threads.
    pub(super) parts: Vec<Softmax>,
    /// Of each span.
    pub(super) logs: Vec<ScoreLog>,
    /// Over all blocks.
    pub(super) attended: Softmax,
}

/// Query rows of a tile: row `t * group + g` is token `t` of the tile and head `g` of the group.
#[derive(Debug, Clone, Default)]
pub(super) struct TileRows {
    /// Of the pass.
    pub(super) tokens: Range<usize>,
    pub(super) kv_head: usize,
    /// Heads of the group whose scores are to be logged.
    pub(super) logged_heads: Vec<usize>,
    /// `[rows][head_dim]`, turned to their positions and scaled so that the softmax is one of powers of two.
    pub(super) queries: Vec<f32>,
    /// Of each row; turning it changes nothing of that.
    pub(super) lengths: Vec<f32>,
}

/// Buffers of one thread, kept from pass to pass: decoding allocates none.
#[derive(Default)]
pub(super) struct Scratch {
    /// How the block's keys are multiplied if they are in `whole_keys`; else they are in `keys`.
    whole: Option<&'static WholeScores>,
    /// `[head_dim][64]`, turned.
    keys: Vec<f32>,
    /// Turned, and rounded.
    whole_keys: WholeKeys,
    values: LoadedValues,
    scores: Vec<f32>,
    /// See [`Running::keeps`].
    keeps: [f32; SCORE_ROWS],
    /// Query rows, turned back by the block's position.
    queries: Vec<f32>,
    /// The same, rounded.
    whole_queries: Vec<Two>,
    /// `[head_dim][64]`, widened from halves.
    unturned: Vec<f32>,
    /// Codes of less than 4 bits, spread to 4.
    nibbles: Vec<u8>,
    /// Of a span.
    pub(super) part: Softmax,
}

/// One head's values of a block.
#[derive(Default)]
struct LoadedValues {
    /// Whether they are in `spread`, else in `plain`.
    are_spread: bool,
    /// `[64][head_dim]`.
    plain: Vec<f32>,
    spread: SpreadValues,
}

impl LoadedValues {
    /// Adds them, weighted, to rows of `head_dim` sums.
    fn weigh(&self, kernels: &Kernels, weights: &[f32], sums: &mut [f32]) {
        if self.are_spread {
            (kernels.weigh_values)(weights, &self.spread, sums);
        } else {
            (kernels.multiply)(weights, &self.plain, sums, BLOCK_TOKENS, true);
        }
    }
}

impl Scratch {
    /// Calls `work` with this thread's buffers, as large as heads of `head_dim` channels need them.
    pub(super) fn with<T>(head_dim: usize, work: impl FnOnce(&mut Scratch) -> T) -> T {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.keys.resize(BLOCK_TOKENS * head_dim, 0.0);
            scratch.values.plain.resize(BLOCK_TOKENS * head_dim, 0.0);
            scratch.unturned.resize(BLOCK_TOKENS * head_dim, 0.0);
            scratch.queries.resize(SCORE_ROWS * head_dim, 0.0);
            scratch
                .whole_queries
                .resize(SCORE_ROWS * twos(head_dim), Two::default());
            scratch.scores.resize(SCORE_ROWS * BLOCK_TOKENS, 0.0);
            work(scratch)
        })
    }
}

impl LayerPass<'_> {
    /// Turns the queries of a tile's rows to their positions.
    pub(super) fn turn_queries(&self, rows: &mut TileRows) {
        let head_dim = self.shape.head_dim;
        let group = self.shape.group_size();
        let scale = self.shape.softmax_scale * std::f32::consts::LOG2_E;
        // Every number will be written.
        let count = rows.tokens.len() * group * head_dim;
        rows.queries.resize(count, 0.0);
        let mut turned = rows.queries.chunks_exact_mut(head_dim);
        for token in rows.tokens.clone() {
            let first = (token * self.shape.query_heads + rows.kv_head * group) * head_dim;
            let heads = self.queries[first..first + group * head_dim].chunks_exact(head_dim);
            for (query, turned) in heads.zip(&mut turned) {
                let turn = &self.query_turns[token];
                self.rotation.turn_query(query, turn, scale, turned);
            }
        }
        let lengths = rows.queries.chunks_exact(head_dim).map(length);
        rows.lengths.clear();
        rows.lengths.extend(lengths);
    }

    /// These rows, turned, as what chooses their pages wants them.
    pub(super) fn choosers<'r>(&self, rows: &'r TileRows) -> Choosers<'r> {
        Choosers {
            kv_head: rows.kv_head,
            first_token: rows.tokens.start,
            queries: &rows.queries,
            group: self.shape.group_size(),
        }
    }

    /// Blocks that the last token of these rows can see.
    pub(super) fn visible_blocks(&self, rows: &TileRows) -> usize {
        (self.start + rows.tokens.end).div_ceil(BLOCK_TOKENS)
    }

    /// The softmax of a tile's rows over a span of blocks, and their scores if they are logged; incomplete if the pass was
    /// cancelled.
    pub(super) fn attend_span(
        &self,
        tile: &TileRows,
        blocks: &[u32],
        scratch: &mut Scratch,
        softmax: &mut Softmax,
        log: &mut ScoreLog,
    ) {
        let head_dim = self.shape.head_dim;
        let group = self.shape.group_size();
        let rows = tile.lengths.len();
        softmax.clear(rows, head_dim);
        log.clear();
        if !tile.logged_heads.is_empty() {
            log.blocks.extend_from_slice(blocks);
            let heads = |token: usize| tile.logged_heads.iter().map(move |g| token * group + g);
            log.rows.extend((0..tile.tokens.len()).flat_map(heads));
        }
        for (nth, block) in blocks.iter().map(|block| *block as usize).enumerate() {
            if self.cancel.is_cancelled() {
                break;
            }
            let next = blocks.get(nth + 1).map(|next| *next as usize);
            if let Some(next) = next {
                self.ask_for(next, tile.kv_head, false);
            }
            self.load(block, tile.kv_head, scratch);
            if let Some(next) = next {
                self.ask_for(next, tile.kv_head, true);
            }
            let base = &self.block_turns[block];
            let first_key = block * BLOCK_TOKENS;
            // How many of the block's keys the token of a row may see.
            let visible = |row: usize| {
                let position = self.start + tile.tokens.start + row / group;
                (position + 1).saturating_sub(first_key).min(BLOCK_TOKENS)
            };
            let logged_before = log.scores.len();
            log.scores.resize(
                logged_before + log.rows.len(),
                [f32::NEG_INFINITY; BLOCK_TOKENS],
            );
            let kept = match block < self.tail.first_block() {
                true => self.view.kept(block, self.layer, tile.kv_head),
                false => u64::MAX,
            };
            if kept == 0 {
                continue;
            }
            let mut logged = log
                .rows
                .iter()
                .zip(&mut log.scores[logged_before..])
                .peekable();
            for first in (0..rows).step_by(SCORE_ROWS) {
                let last = rows.min(first + SCORE_ROWS);
                if visible(last - 1) == 0 {
                    while logged.next_if(|(row, _)| **row < last).is_some() {}
                    continue;
                }
                let scores = &mut scratch.scores[..(last - first) * BLOCK_TOKENS];
                let lengths = &tile.lengths[first..last];
                let queries = &tile.queries[first * head_dim..last * head_dim];
                let Turn { cos, sin } = base;
                if let Some(whole) = scratch.whole {
                    let rounded = &mut scratch.whole_queries[..lengths.len() * twos(head_dim)];
                    (whole.queries)(queries, lengths, cos, sin, rounded);
                    (whole.scores)(rounded, lengths, &scratch.whole_keys, scores);
                } else {
                    let turned = &mut scratch.queries[..queries.len()];
                    (self.kernels.turn_back)(queries, head_dim, cos, sin, turned);
                    (self.kernels.multiply)(turned, &scratch.keys, scores, head_dim, false);
                }
                let (weights, _) = scores.as_chunks_mut::<BLOCK_TOKENS>();
                let mut unseeing = 0;
                for (row, weights) in (first..last).zip(&mut *weights) {
                    let visible = visible(row);
                    weights[visible..].fill(f32::NEG_INFINITY);
                    if kept != u64::MAX {
                        for (place, weight) in weights.iter_mut().enumerate() {
                            if kept >> place & 1 == 0 {
                                *weight = f32::NEG_INFINITY;
                            }
                        }
                    }
                    if let Some((_, logged)) = logged.next_if(|(logged, _)| **logged == row) {
                        *logged = *weights;
                    }
                    if visible == 0 {
                        weights.fill(0.0);
                        unseeing += 1;
                    }
                }
                // The rows of a tile's first tokens: those that see nothing stand before those that do.
                let seeing = first + unseeing..last;
                let keeps = &mut scratch.keeps[..seeing.len()];
                let running = Running {
                    largest: &mut softmax.largest[seeing.clone()],
                    sums: &mut softmax.sums[seeing.clone()],
                    keeps,
                };
                (self.kernels.weigh_scores)(&mut weights[unseeing..], running);
                for (row, keep) in seeing.zip(&scratch.keeps) {
                    if *keep != 1.0 {
                        let values = &mut softmax.values[row * head_dim..(row + 1) * head_dim];
                        (self.kernels.scale)(values, *keep);
                    }
                }
                let values = &mut softmax.values[first * head_dim..last * head_dim];
                scratch.values.weigh(self.kernels, scores, values);
            }
        }
    }

    /// One head's keys of a sealed block as an index wants them, `[head_dim][64]`, with bias and turned to their positions.
    pub(super) fn turned_keys(&self, block: usize, kv_head: usize, keys: &mut [f32]) {
        Scratch::with(self.shape.head_dim, |scratch| {
            self.load_keys(block, kv_head, false, scratch);
            let Turn { cos, sin } = &self.block_turns[block];
            let pairs = cos.len();
            let (turned, alone) = keys.split_at_mut(2 * pairs * BLOCK_TOKENS);
            let (firsts, seconds) = turned.split_at_mut(pairs * BLOCK_TOKENS);
            let (in_block, alone_in_block) = scratch.keys.split_at(2 * pairs * BLOCK_TOKENS);
            let (xs, ys) = in_block.split_at(pairs * BLOCK_TOKENS);
            for (at, (x, y)) in xs.iter().zip(ys).enumerate() {
                let (cos, sin) = (cos[at / BLOCK_TOKENS], sin[at / BLOCK_TOKENS]);
                firsts[at] = x * cos - y * sin;
                seconds[at] = x * sin + y * cos;
            }
            alone.copy_from_slice(alone_in_block);
        });
    }

    fn part(&self, block: usize) -> Part<'_> {
        if block >= self.tail.first_block() {
            Part::Halves(self.tail.block(block).part(self.layer))
        } else {
            self.view.part(block, self.layer)
        }
    }

    /// Has the processor fetch one head's keys and values of a block: they are a few KB at a place of their own, too short
    /// a run for it to see one, and without this every other line is waited for.
    fn ask_for(&self, block: usize, kv_head: usize, values: bool) {
        if let Part::Codes(codes) = self.part(block) {
            let codes = match values {
                true => codes.values(self.view.shape(), kv_head),
                false => codes.keys(self.view.shape(), kv_head),
            };
            ask_for(codes.packed);
            ask_for(codes.grids.as_bytes());
        }
    }

    /// Brings one head's keys and values of a block into `scratch`.
    fn load(&self, block: usize, kv_head: usize, scratch: &mut Scratch) {
        let head_dim = self.shape.head_dim;
        self.load_keys(block, kv_head, true, scratch);
        match self.part(block) {
            Part::Halves(halves) => {
                let head = halves.head(self.view.shape(), kv_head);
                (self.kernels.widen)(head.values, &mut scratch.values.plain);
                scratch.values.are_spread = false;
                // What stands behind the last token is left over from something else, and 0 times NaN is NaN. Only
                // blocks of halves may be unfilled.
                let end = self.start + self.query_turns.len();
                let filled = (end - block * BLOCK_TOKENS).min(BLOCK_TOKENS);
                scratch.values.plain[filled * head_dim..].fill(0.0);
            }
            Part::Codes(codes) => {
                let values = codes.values(self.view.shape(), kv_head);
                scratch.values.are_spread = SpreadValues::serves(values.bits, head_dim);
                if scratch.values.are_spread {
                    (self.kernels.spread_values)(&values, head_dim, &mut scratch.values.spread);
                } else {
                    (self.kernels.values_of_codes)(&values, head_dim, &mut scratch.values.plain);
                }
            }
        }
    }

    /// Brings one head's keys of a block into `scratch`: with bias, turned to their places, channels as rows; in whole
    /// numbers if they can be and `may_be_whole`.
    fn load_keys(&self, block: usize, kv_head: usize, may_be_whole: bool, scratch: &mut Scratch) {
        let head_dim = self.shape.head_dim;
        let kv_shape = self.view.shape();
        let bias = kv_head * head_dim..(kv_head + 1) * head_dim;
        let turn = KeyTurn {
            pairing: self.rotation.pairing(),
            bias: &self.bias[bias],
            place_cos: &self.rotation.places.cos,
            place_sin: &self.rotation.places.sin,
        };
        scratch.whole = None;
        match self.part(block) {
            Part::Halves(halves) => {
                let head = halves.head(kv_shape, kv_head);
                (self.kernels.widen_transposed)(head.keys, &mut scratch.unturned);
                (self.kernels.turn_keys)(&scratch.unturned, &turn, &mut scratch.keys);
            }
            Part::Codes(codes) => {
                let mut keys = codes.keys(kv_shape, kv_head);
                if keys.bits < 4 {
                    scratch.nibbles.resize(BLOCK_TOKENS * head_dim / 2, 0);
                    nibbles(keys.bits, keys.packed, &mut scratch.nibbles);
                    (keys.bits, keys.packed) = (4, &scratch.nibbles);
                }
                let whole = self.kernels.whole.as_ref();
                scratch.whole = whole.filter(|_| may_be_whole && WholeKeys::serves(keys.bits));
                if let Some(whole) = scratch.whole {
                    (whole.keys)(&keys, &turn, &mut scratch.whole_keys);
                } else {
                    (self.kernels.keys_of_codes)(&keys, &turn, &mut scratch.keys);
                }
            }
        }
    }
}
