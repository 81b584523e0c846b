//! Attention that looks at every cached token, exactly; or, if it is told to, at the pages that
//! [`sparse`](super::sparse) chooses, as exactly.

use super::CancelFlag;
use super::kernels::Kernels;
use super::mass::{Mass, RECORDED_TOKENS};
use super::peaks::Peaks;
use super::rotation::{Rotation, Turn};
use super::span::{LayerPass, Tile, TileRows};
use super::sparse::{Audit, KeptIndex, Sparse, SparseRead};
use super::tail::Tail;
use super::threads::is_enough;
use crate::kv::{BLOCK_TOKENS, KvCache, KvError, KvShape, KvView, OpenBlock};
use lectern_models::attention::{Attention, AttentionError, AttentionShape, Projected};
use rayon::prelude::*;

/// Tokens of a tile: enough rows that loading a block is small beside multiplying it.
const TILE_TOKENS: usize = 64;

/// The same where a chunk would not give every thread several tiles.
const SMALL_TILE_TOKENS: usize = 32;

/// The cache's sealed tokens, a tail in memory behind them, and attention to both.
///
/// Made over a cache to read (the tail is sealed into the cache chunk by chunk, see [`DenseAttention::seal`]) or to
/// ask (the tail is question and answer, dropped by [`DenseAttention::rewind`]). Holds a view of the cache, not the
/// cache: several can look at one cache, and it may grow meanwhile.
#[derive(Debug)]
pub struct DenseAttention {
    kernels: &'static Kernels,
    pub(super) shape: AttentionShape,
    /// Zeros, for layers without a key bias.
    no_bias: Vec<f32>,
    rotation: Rotation,
    pub(super) view: KvView,
    pub(super) tail: Tail,
    block_turns: Vec<Turn>,
    /// The layer that is due of a pass under way.
    next_layer: Option<usize>,
    /// Of each position of the pass.
    query_turns: Vec<Turn>,
    tiles: Vec<Tile>,
    pub(super) mass: Option<Mass>,
    /// What is looked at; everything without.
    pub(super) sparse: Option<Sparse>,
    pub(super) audit: Option<Audit>,
    pub(super) peaks: Option<Peaks>,
    cancel: CancelFlag,
    /// Where the GPU does the work; see [`super::gpu`].
    #[cfg(feature = "cuda")]
    pub(super) gpu: Option<super::gpu::Gpu>,
}

/// A call that the seam does not allow: a fault of the model's forward pass.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadCall(String);

impl DenseAttention {
    /// Attention over all that `cache` holds now.
    ///
    /// # Errors
    /// [`KvError::Shape`] if the model is of another shape than the cache; [`KvError::Damaged`] if the cache's last,
    /// partial block is, or anything of a thinned one, which is spread in memory now.
    pub fn over(
        cache: &KvCache,
        shape: &AttentionShape,
        cancel: CancelFlag,
    ) -> Result<DenseAttention, KvError> {
        DenseAttention::over_view(cache.view(), shape, cancel)
    }

    /// Attention over nothing but its own tail: for what is read for one question and not kept.
    ///
    /// # Errors
    /// None that an empty view could give; the type is that of [`DenseAttention::over`].
    pub fn without_cache(
        shape: &AttentionShape,
        cancel: CancelFlag,
    ) -> Result<DenseAttention, KvError> {
        DenseAttention::over_view(KvView::empty(KvShape::from(shape)), shape, cancel)
    }

    /// Attention over what a cache held when `view` was taken, while others may add to it.
    ///
    /// # Errors
    /// As [`DenseAttention::over`].
    pub fn over_view(
        view: KvView,
        shape: &AttentionShape,
        cancel: CancelFlag,
    ) -> Result<DenseAttention, KvError> {
        if *view.shape() != KvShape::from(shape) {
            return Err(KvError::Shape {
                path: view.file().to_owned(),
                fact: "it holds keys of another shape than the model's".into(),
            });
        }
        view.will_need();
        let view = view.spread()?;
        Ok(DenseAttention {
            kernels: Kernels::chosen(),
            shape: shape.clone(),
            no_bias: vec![0.0; shape.kv_heads * shape.head_dim],
            rotation: Rotation::new(&shape.rotary),
            tail: Tail::after(&view)?,
            view,
            block_turns: Vec::new(),
            next_layer: None,
            query_turns: Vec::new(),
            tiles: Vec::new(),
            mass: None,
            sparse: None,
            audit: None,
            peaks: None,
            cancel,
            #[cfg(feature = "cuda")]
            gpu: None,
        })
    }

    /// Goes on behind another view of the same cache, with an empty tail, looking at everything and recording nothing.
    ///
    /// # Errors
    /// As [`DenseAttention::over`].
    pub fn go_to(&mut self, view: KvView) -> Result<(), KvError> {
        view.will_need();
        let view = view.spread()?;
        self.tail = Tail::after(&view)?;
        self.view = view;
        self.next_layer = None;
        self.mass = None;
        self.peaks = None;
        self.sparse = None;
        #[cfg(feature = "cuda")]
        self.go_to_on_gpu();
        Ok(())
    }

    /// Tokens of the cache that it looks at.
    pub fn cached_tokens(&self) -> usize {
        self.view.tokens()
    }

    /// Cached tokens and tail together: the position of the next token.
    pub fn tokens(&self) -> usize {
        self.tail.end()
    }

    /// Drops everything from position `tokens` on; only the tail can be dropped, so `tokens` is raised to
    /// [`DenseAttention::cached_tokens`].
    pub fn rewind(&mut self, tokens: usize) {
        self.next_layer = None;
        let tokens = tokens.clamp(self.view.tokens(), self.tail.end());
        self.tail.set_end(tokens);
        if let Some(mass) = &mut self.mass {
            mass.drop_from(tokens);
        }
    }

    /// Drops the whole tail: ready for the next question.
    pub fn reset(&mut self) {
        self.rewind(0);
    }

    /// From now on the CPU does the work.
    pub(super) fn leave_gpu(&mut self) {
        #[cfg(feature = "cuda")]
        {
            self.gpu = None;
        }
    }

    /// From now on looks at a part of the cache; at everything with `None`. The index is made when it is first needed.
    pub fn look_at(&mut self, read: Option<SparseRead>) {
        self.sparse = read.map(|read| Sparse::new(read, *self.view.shape()));
    }

    /// As [`DenseAttention::look_at`], with the index that an earlier question left in `kept`.
    pub fn look_at_with(&mut self, read: Option<SparseRead>, kept: &KeptIndex) {
        self.look_at(read);
        if let Some(index) = read.and_then(|read| kept.take(&self.view, read)) {
            self.sparse = Some(index);
        }
    }

    /// Leaves the index in `kept` for the next question. From now on looks at everything.
    pub fn leave_index(&mut self, kept: &KeptIndex) {
        if let Some(index) = self.sparse.take() {
            kept.put(&self.view, index);
        }
    }

    /// Bytes of memory that the index of a sparse read takes now.
    pub fn index_bytes(&self) -> usize {
        self.sparse.as_ref().map_or(0, Sparse::bytes)
    }

    /// Listens to this flag from now on: each question has its own.
    pub fn listen_to(&mut self, cancel: CancelFlag) {
        self.cancel = cancel;
    }

    /// Seals the whole tail into `cache`, which must be the one this was made over; `tokens` are its token ids.
    ///
    /// The tail must start at a block's beginning. If it does not end at one, the cache is complete.
    ///
    /// # Errors
    /// As [`KvCache::append`]; the tail stays as it is then, and sealing can be tried again.
    pub fn seal(&mut self, cache: &KvCache, tokens: &[u32]) -> Result<(), KvError> {
        let open = self.tail.end() - self.view.tokens();
        if cache.tokens() != self.view.tokens_of_cache() || open != tokens.len() {
            return Err(KvError::Shape {
                path: cache.folder().to_owned(),
                fact: format!(
                    "{} tokens were to be sealed behind {}, but the tail holds {open} behind {}",
                    tokens.len(),
                    cache.tokens(),
                    self.view.tokens_of_cache()
                ),
            });
        }
        cache.append_behind(self.view.run_to_the_end(), tokens, self.tail.blocks())?;
        self.view = self.view.grown_as(&cache.view());
        self.tail = Tail::after(&self.view)?;
        if let Some(mass) = &mut self.mass {
            mass.grow(self.view.tokens());
        }
        #[cfg(feature = "cuda")]
        self.seal_on_gpu();
        Ok(())
    }

    /// The blocks of the tail, as [`DenseAttention::seal`] would seal them.
    pub fn into_open_blocks(self) -> Vec<OpenBlock> {
        self.tail.into_blocks()
    }

    /// Opens a pass of that many tokens, forgetting one that was abandoned.
    pub(super) fn begin_pass(&mut self, tokens: usize) {
        let start = self.tail.end();
        // What an abandoned pass reserved is cut off as well.
        self.tail.set_end(start);
        self.tail.reserve(start + tokens);
        let blocks = (start + tokens).div_ceil(BLOCK_TOKENS);
        for block in self.block_turns.len()..blocks {
            self.block_turns
                .push(self.rotation.at(block * BLOCK_TOKENS));
        }
        if let Some(mass) = &mut self.mass {
            mass.begin_pass(start, tokens);
        }
        self.query_turns.resize(tokens, Turn::default());
        for (position, turn) in (start..).zip(&mut self.query_turns) {
            self.rotation.turn_to(position, turn);
        }
        self.next_layer = Some(0);
    }

    /// Checks what the file holds of a layer, where that was not done before.
    pub(super) fn verify_layer(&mut self, layer: usize) -> Result<(), AttentionError> {
        let sealed = self.tail.first_block();
        self.view
            .verify(layer, 0..sealed)
            .map_err(|error| AttentionError::Cache(Box::new(error)))
    }

    /// A layer is done; with the last one the pass's tokens count.
    pub(super) fn end_layer(&mut self, layer: usize, tokens: usize) {
        if layer + 1 == self.shape.layers {
            self.tail.set_end(self.tail.end() + tokens);
            self.next_layer = None;
            if let Some(mass) = &mut self.mass {
                mass.finish_pass();
            }
        } else {
            self.next_layer = Some(layer + 1);
        }
    }

    /// One layer: the attended values, `[tokens, query_heads * head_dim]`, in place of what `attended` holds.
    fn attend_layer(
        &mut self,
        layer: usize,
        queries: &[f32],
        attended: &mut Vec<f32>,
    ) -> Result<(), AttentionError> {
        let tokens = self.query_turns.len();
        let sealed = self.tail.first_block();
        let mut pass = LayerPass {
            kernels: self.kernels,
            shape: &self.shape,
            layer,
            bias: self.shape.key_bias[layer].as_ref().unwrap_or(&self.no_bias),
            view: &self.view,
            tail: &self.tail,
            rotation: &self.rotation,
            block_turns: &self.block_turns,
            query_turns: &self.query_turns,
            queries,
            start: self.tail.end(),
            sparse: None,
            cancel: &self.cancel,
        };
        if let Some(audit) = &mut self.audit {
            audit.extend(layer, sealed, |block, kv_head, keys| {
                pass.turned_keys(block, kv_head, keys);
            });
            let rows = (0..tokens).flat_map(|t| (0..self.shape.kv_heads).map(move |h| (t, h)));
            let rows: Vec<(usize, usize)> = rows.collect();
            rows.par_iter().for_each(|&(token, kv_head)| {
                let mut rows = TileRows {
                    tokens: token..token + 1,
                    kv_head,
                    ..TileRows::default()
                };
                pass.turn_queries(&mut rows);
                audit.add(self.kernels, layer, pass.choosers(&rows), sealed);
            });
        }
        let large_tiles = tokens.div_ceil(TILE_TOKENS) * self.shape.kv_heads;
        let mut tile_tokens = match is_enough(large_tiles) {
            true => TILE_TOKENS,
            false => SMALL_TILE_TOKENS,
        };
        if let Some(sparse) = self.sparse.as_mut().filter(|s| s.chooses(layer, sealed)) {
            sparse.extend(layer, sealed, |block, kv_head, keys| {
                pass.turned_keys(block, kv_head, keys);
            });
            pass.sparse = Some(sparse);
            if sparse.each_for_itself() {
                tile_tokens = 1;
            }
        }
        let (kv_heads, group) = (self.shape.kv_heads, self.shape.group_size());
        let tiles = tokens.div_ceil(tile_tokens) * kv_heads;
        self.tiles.resize(tiles, Tile::default());
        let logged = self.mass.as_ref().filter(|_| tokens <= RECORDED_TOKENS);
        for (nth, Tile { rows, .. }) in self.tiles.iter_mut().enumerate() {
            let first = nth / kv_heads * tile_tokens;
            rows.tokens = first..tokens.min(first + tile_tokens);
            rows.kv_head = nth % kv_heads;
            match logged {
                None if self.peaks.is_some() && tokens <= RECORDED_TOKENS => {
                    rows.logged_heads.clear();
                    rows.logged_heads.extend(0..group);
                }
                None => rows.logged_heads.clear(),
                Some(mass) => {
                    mass.heads_in_group(layer, rows.kv_head, group, &mut rows.logged_heads);
                }
            }
        }
        pass.attend(&mut self.tiles);
        if self.cancel.is_cancelled() {
            return Err(AttentionError::Cancelled);
        }
        let row = group * self.shape.head_dim;
        // Every number will be written.
        attended.resize(tokens * kv_heads * row, 0.0);
        for tile in &mut self.tiles {
            let TileRows {
                tokens, kv_head, ..
            } = &tile.rows;
            if let Some(mass) = &mut self.mass {
                mass.add(
                    tokens.start,
                    group,
                    &tile.logs,
                    &tile.attended,
                    self.kernels,
                );
            }
            if let Some(peaks) = &mut self.peaks {
                let head = (layer, *kv_head);
                peaks.raise(head, &tile.logs, &tile.attended, self.kernels);
            }
            tile.attended.normalise(self.kernels);
            let values = tile.attended.values.chunks_exact(row);
            for (token, values) in tokens.clone().zip(values) {
                let first = (token * kv_heads + kv_head) * row;
                attended[first..first + row].copy_from_slice(values);
            }
        }
        Ok(())
    }

    fn check(&self, layer: usize, projected: &Projected) -> Result<(), AttentionError> {
        let refuse = |fact: String| AttentionError::Cache(Box::new(BadCall(fact)));
        let Projected {
            tokens,
            queries,
            keys,
            values,
        } = projected;
        let (heads, kv_heads) = (self.shape.query_heads, self.shape.kv_heads);
        for (numbers, heads) in [(queries, heads), (keys, kv_heads), (values, kv_heads)] {
            if numbers.len() != tokens * heads * self.shape.head_dim {
                return Err(refuse(format!(
                    "{} numbers where {tokens} tokens of {heads} heads were expected",
                    numbers.len()
                )));
            }
        }
        // A pass that was abandoned is forgotten.
        let expected = match self.next_layer {
            Some(next) if layer != 0 => next,
            _ => 0,
        };
        if layer != expected || *tokens == 0 {
            return Err(refuse(format!(
                "layer {layer} with {tokens} tokens where layer {expected} was due"
            )));
        }
        if layer != 0 && self.query_turns.len() != *tokens {
            return Err(refuse(format!(
                "layer {layer} got {tokens} tokens, the layers before it {}",
                self.query_turns.len()
            )));
        }
        Ok(())
    }
}

impl Attention for DenseAttention {
    fn attend(
        &mut self,
        layer: usize,
        projected: &Projected,
        attended: &mut Vec<f32>,
    ) -> Result<(), AttentionError> {
        if self.cancel.is_cancelled() {
            return Err(AttentionError::Cancelled);
        }
        self.check(layer, projected)?;
        if layer == 0 {
            self.begin_pass(projected.tokens);
        }
        self.tail.put(layer, &projected.keys, &projected.values);
        self.verify_layer(layer)?;
        #[cfg(feature = "cuda")]
        let on_gpu = self.attend_on_gpu(layer, projected, attended);
        #[cfg(not(feature = "cuda"))]
        let on_gpu = false;
        if !on_gpu {
            self.attend_layer(layer, &projected.queries, attended)?;
        }
        self.end_layer(layer, projected.tokens);
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn attend_at(
        &mut self,
        layer: usize,
        tokens: usize,
        place: &dyn std::any::Any,
    ) -> Result<bool, AttentionError> {
        if self.cancel.is_cancelled() {
            return Err(AttentionError::Cancelled);
        }
        match place.downcast_ref() {
            Some(place) => self.attend_in_place(layer, tokens, place),
            None => Ok(false),
        }
    }

    fn take_back(&mut self, tokens: usize) -> bool {
        self.rewind(self.tokens() - tokens);
        true
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
