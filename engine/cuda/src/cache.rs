//! A document's cache on the GPU, and attention to it.
//!
//! In: sealed pages from whoever holds the file ([`Pages`]), and layer by layer a pass's queries, keys and values. Out: the
//! attended values. New tokens are appended to open pages in half precision; when the file's owner seals them, the GPU
//! makes the same codes of its own open pages ([`GpuCache::seal`]), so that nothing is copied back and forth.
//!
//! | pass | what runs |
//! |---|---|
//! | everything is there | `unpack`, `prefill` and `merge` for many tokens, `decode` and `merge` for few |
//! | pages are chosen | `scan`, `pick`, what is missing is brought, `decode`, `merge` |
//! | not all pages fit at once | `decode` in turns over as many as fit, one `merge` |
//!
//! A choice is downloaded only where pages may be missing.

mod choose;
mod turns;

use crate::device::{Device, Pinned};
use crate::error::CudaError;
use crate::holdings::Holdings;
use crate::parameters::{
    Append, Chosen, Copy16, Decode, Gather, Mass, Merge, Page, Prefill, Quantize, Queries, Unpack,
};
use crate::plan::{DECODE_TOKENS, Demand, Plan, SPLITS, STAGED_PAGES, Step, UNPACKED_PAGES};
use crate::resident::{PageId, Resident};
use crate::shape::{PAGE_TOKENS, PageFormat, Shape};
use crate::{SLICE_ROWS, TILE_ROWS};
use std::sync::Arc;

/// Where sealed pages come from.
pub trait Pages {
    /// How a page is encoded, and the bytes of one layer's part of it.
    fn part(&self, layer: usize, page: usize) -> (PageFormat, &[u8]);
}

/// A document on the GPU.
#[derive(Debug)]
pub struct GpuCache {
    device: Arc<Device>,
    demand: Demand,
    holdings: Holdings,
    resident: Resident,
    /// The tables of pages, `[layers][pages]`, as they are on the GPU.
    pages: Vec<Page>,
    /// Pages that the index of a layer reaches to.
    indexed: Vec<usize>,
    /// Pages from here on are open.
    sealed: usize,
    staging: Option<Pinned<u8>>,
    /// First position and tokens of the pass whose turns are on the GPU.
    turned: (usize, usize),
    /// Where everything stays that was brought, the sealed pages of each layer that are there from the first on.
    there: Vec<usize>,
}

/// One layer of a pass.
#[derive(Debug, Clone, Copy)]
pub struct LayerPass<'a> {
    /// Of the model.
    pub layer: usize,
    /// Position of the first token.
    pub start: usize,
    /// Tokens of the pass.
    pub tokens: usize,
    /// What is attended with.
    pub projected: Projected<'a>,
    /// Whether pages are chosen in this layer, where there is an index.
    pub chooses: bool,
    /// Query heads whose attention is recorded.
    pub recorded: &'a [usize],
    /// How many tokens from the start it is recorded for.
    pub recorded_tokens: usize,
}

/// A layer's projections of a pass.
#[derive(Debug, Clone, Copy)]
pub enum Projected<'a> {
    /// On the host.
    Here {
        /// `[tokens][query_heads][head_dim]`, with bias, not turned, not scaled.
        queries: &'a [f32],
        /// `[tokens][kv_heads][head_dim]`, without bias, not turned.
        keys: &'a [f32],
        /// `[tokens][kv_heads][head_dim]`.
        values: &'a [f32],
    },
    /// On the same device. Keys and values are kept there till the pass is over: [`GpuCache::kept`].
    There(&'a Place),
}

/// Where a layer's projections lie on the device, and where what is attended is wanted, each as in [`Projected::Here`].
#[derive(Debug, Clone)]
pub struct Place {
    /// Whose addresses they are.
    pub device: Arc<Device>,
    /// Of the queries.
    pub queries: u64,
    /// Of the keys.
    pub keys: u64,
    /// Of the values.
    pub values: u64,
    /// `[tokens][query_heads][head_dim]`.
    pub attended: u64,
}

/// What a layer gives.
#[derive(Debug, Clone, Default)]
pub struct LayerResult {
    /// `[tokens][query_heads][head_dim]`; empty where it lies in its [`Place`].
    pub attended: Vec<f32>,
    /// Probabilities by token of the pass and recorded token, summed over recorded heads; empty where none are.
    pub masses: Vec<f32>,
}

impl GpuCache {
    /// Room for a document.
    ///
    /// # Errors
    /// As [`Holdings::settle`].
    pub fn new(device: impl Into<Arc<Device>>, demand: Demand) -> Result<GpuCache, CudaError> {
        let device = device.into();
        let holdings = Holdings::settle(&device, &demand)?;
        let part = demand.format.part_bytes(&demand.shape);
        let staged = STAGED_PAGES.min(holdings.plan.slots);
        // Where none can be pinned, pages are copied one by one.
        let staging = device.pin(staged * part).ok();
        Ok(GpuCache {
            resident: Resident::new(holdings.plan.slots),
            pages: vec![Page::default(); demand.shape.layers() * demand.pages()],
            indexed: vec![0; demand.shape.layers()],
            there: vec![0; demand.shape.layers()],
            turned: (0, 0),
            sealed: 0,
            staging,
            device,
            demand,
            holdings,
        })
    }

    /// What lies where.
    pub fn plan(&self) -> &Plan {
        &self.holdings.plan
    }

    /// The GPU.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Tokens that there is room for.
    pub fn capacity(&self) -> usize {
        self.demand.pages() * PAGE_TOKENS
    }

    fn shape(&self) -> &Shape {
        &self.demand.shape
    }

    /// Takes over what a file holds: `tokens` tokens are sealed, the last, partial page is put among the open ones.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn open(&mut self, tokens: usize, source: &dyn Pages) -> Result<(), CudaError> {
        self.resident.clear();
        self.pages.fill(Page::default());
        self.indexed.fill(0);
        self.there.fill(0);
        self.sealed = tokens / PAGE_TOKENS;
        for layer in 0..self.shape().layers() {
            if self.sealed > 0 {
                self.put_halves(layer, 0, source)?;
            }
            if !tokens.is_multiple_of(PAGE_TOKENS) && self.sealed > 0 {
                self.put_halves(layer, self.sealed, source)?;
            } else if self.sealed == 0 && tokens > 0 {
                self.put_halves(layer, 0, source)?;
            }
            self.write_table(layer)?;
        }
        Ok(())
    }

    /// Where an open page, or the first, lies among the halves.
    fn half_slot(&self, layer: usize, page: usize) -> usize {
        let slots = self.demand.half_pages();
        let slot = if page == 0 { 0 } else { 1 + page % (slots - 1) };
        (layer * slots + slot) * PageFormat::HALVES.part_bytes(self.shape())
    }

    fn half_page(&self, layer: usize, page: usize) -> Page {
        let first = self.device.address(&self.holdings.halves);
        PageFormat::HALVES.page(first + self.half_slot(layer, page) as u64)
    }

    fn put_halves(
        &mut self,
        layer: usize,
        page: usize,
        source: &dyn Pages,
    ) -> Result<(), CudaError> {
        let (_, bytes) = source.part(layer, page);
        let slot = self.half_slot(layer, page);
        self.device.write(bytes, &mut self.holdings.halves, slot)?;
        let at = layer * self.demand.pages() + page;
        self.pages[at] = self.half_page(layer, page);
        Ok(())
    }

    fn write_table(&mut self, layer: usize) -> Result<(), CudaError> {
        let pages = self.demand.pages();
        let table = &self.pages[layer * pages..(layer + 1) * pages];
        self.device
            .write(table, &mut self.holdings.pages, layer * pages)
    }

    fn table_address(&self, layer: usize) -> u64 {
        let entry = size_of::<Page>() * layer * self.demand.pages();
        self.device.address(&self.holdings.pages) + entry as u64
    }

    fn bias_address(&self, layer: usize) -> u64 {
        let row = 4 * self.shape().kv_heads() * self.shape().head_dim();
        self.device.address(&self.holdings.biases) + (layer * row) as u64
    }

    /// Brings sealed pages of a layer to the GPU. Whether there is room for all of them together.
    fn bring(
        &mut self,
        layer: usize,
        pages: &[usize],
        source: &dyn Pages,
    ) -> Result<bool, CudaError> {
        let coded = pages.iter().filter(|page| **page != 0);
        let ids: Vec<PageId> = coded.map(|&page| PageId { layer, page }).collect();
        let Some(arrivals) = self.resident.ask(&ids) else {
            return Ok(false);
        };
        if arrivals.is_empty() {
            return Ok(true);
        }
        let part = self.demand.format.part_bytes(self.shape());
        let slots = self.device.address(&self.holdings.slots);
        let mut changed = vec![layer];
        for arrival in &arrivals {
            if let Some(leaves) = arrival.leaves {
                self.pages[leaves.layer * self.demand.pages() + leaves.page] = Page::default();
                changed.push(leaves.layer);
            }
        }
        for some in arrivals.chunks(STAGED_PAGES) {
            let Some(staging) = &mut self.staging else {
                for arrival in some {
                    let (_, bytes) = source.part(layer, arrival.id.page);
                    let first = arrival.slot * part;
                    self.device.write(bytes, &mut self.holdings.slots, first)?;
                }
                continue;
            };
            // The launch before may still read what lies there.
            self.device.finish()?;
            let staged = staging
                .as_mut_slice()
                .map_err(crate::error::driver("use pinned memory"))?;
            for (arrival, staged) in some.iter().zip(staged.chunks_exact_mut(part)) {
                staged.copy_from_slice(source.part(layer, arrival.id.page).1);
            }
            let from = staged.as_ptr() as u64;
            let copies: Vec<Copy16> = some
                .iter()
                .enumerate()
                .map(|(nth, arrival)| Copy16 {
                    from: from + (nth * part) as u64,
                    to: slots + (arrival.slot * part) as u64,
                    pieces: (part / 16) as i64,
                })
                .collect();
            self.device
                .write(&copies, &mut self.holdings.scratch.copies, 0)?;
            let gather = Gather {
                copies: self.device.address(&self.holdings.scratch.copies),
            };
            // SAFETY: each copy goes from a part in pinned memory, which stays until the next launch is waited for, to a
            // slot of that size.
            unsafe { self.device.gather(copies.len(), &gather) }?;
        }
        for arrival in &arrivals {
            let at = layer * self.demand.pages() + arrival.id.page;
            self.pages[at] = self
                .demand
                .format
                .page(slots + (arrival.slot * part) as u64);
        }
        changed.sort_unstable();
        changed.dedup();
        for layer in changed {
            self.write_table(layer)?;
        }
        Ok(true)
    }

    /// Brings all sealed pages of a layer, if there is room for them together.
    fn bring_all(
        &mut self,
        layer: usize,
        sealed: usize,
        source: &dyn Pages,
    ) -> Result<bool, CudaError> {
        if sealed <= self.there[layer] {
            return Ok(true);
        }
        let pages: Vec<usize> = (0..sealed).collect();
        let fit = self.bring(layer, &pages, source)?;
        if fit && self.holdings.plan.step == Step::Everything {
            self.there[layer] = sealed;
        }
        Ok(fit)
    }

    /// Attends one layer of a pass: appends its keys and values, and looks back.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    ///
    /// # Panics
    /// If the pass is longer than planned for, or goes beyond the capacity.
    pub fn attend(
        &mut self,
        pass: &LayerPass<'_>,
        source: &dyn Pages,
    ) -> Result<LayerResult, CudaError> {
        let tokens = pass.tokens;
        assert!(tokens <= self.demand.pass_tokens && pass.start + tokens <= self.capacity());
        self.take_in(pass)?;
        let visible = (pass.start + tokens).div_ceil(PAGE_TOKENS);
        if pass.chooses && self.holdings.index.is_some() {
            return self.attend_chosen(pass, tokens, source);
        }
        if !self.bring_all(pass.layer, self.sealed.min(visible), source)? {
            return self.attend_in_turns(pass, tokens, source);
        }
        let mut masses = Vec::new();
        if tokens > DECODE_TOKENS && pass.recorded.is_empty() {
            self.prefill(pass, visible)?;
        } else {
            let splits = visible.min(SPLITS);
            for first in (0..tokens).step_by(DECODE_TOKENS) {
                let piece = DECODE_TOKENS.min(tokens - first);
                self.decode(pass, first, piece, Chosen::ALL, 0, splits, splits)?;
                self.merge(pass, first, piece, splits)?;
                if !pass.recorded.is_empty() {
                    masses.extend(self.masses(pass, first, piece, Chosen::ALL)?);
                }
            }
        }
        self.result(pass, masses)
    }

    /// What was attended, if it is wanted on the host.
    fn result(&self, pass: &LayerPass<'_>, masses: Vec<f32>) -> Result<LayerResult, CudaError> {
        let row = self.shape().query_heads() * self.shape().head_dim();
        let attended = match pass.projected {
            Projected::There(_) => Vec::new(),
            Projected::Here { .. } => self
                .device
                .download(&self.holdings.scratch.attended, pass.tokens * row)?,
        };
        Ok(LayerResult { attended, masses })
    }

    /// Keys and values of all layers of the last pass, of which `tokens` tokens lay on the device: for each layer keys, then
    /// values, `[tokens][kv_heads][head_dim]`.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn kept(&self, tokens: usize) -> Result<Vec<f32>, CudaError> {
        let shape = self.shape();
        let numbers = shape.layers() * tokens * 2 * shape.kv_heads() * shape.head_dim();
        self.device.download(&self.holdings.scratch.kept, numbers)
    }

    /// Puts a pass's numbers on the GPU, and its keys and values into open pages.
    fn take_in(&mut self, pass: &LayerPass<'_>) -> Result<(), CudaError> {
        let shape = self.shape().clone();
        let tokens = pass.tokens;
        let scratch = &mut self.holdings.scratch;
        if let Projected::Here {
            queries,
            keys,
            values,
        } = pass.projected
        {
            self.device.write(queries, &mut scratch.queries, 0)?;
            self.device.write(keys, &mut scratch.keys, 0)?;
            self.device.write(values, &mut scratch.values, 0)?;
        }
        if self.turned != (pass.start, tokens) {
            let turns: Vec<f32> = (pass.start..pass.start + tokens)
                .flat_map(|position| shape.turn(position).into_iter().flatten())
                .collect();
            self.device.write(&turns, &mut scratch.turns, 0)?;
            self.turned = (pass.start, tokens);
        }
        let first_page = pass.start / PAGE_TOKENS;
        let last_page = (pass.start + tokens - 1) / PAGE_TOKENS;
        let open: Vec<Page> = (first_page..=last_page)
            .map(|page| self.half_page(pass.layer, page))
            .collect();
        let at = pass.layer * self.demand.pages() + first_page;
        if self.pages[at..at + open.len()] != open {
            self.pages[at..at + open.len()].copy_from_slice(&open);
            self.device.write(&open, &mut self.holdings.pages, at)?;
        }
        let scratch = &self.holdings.scratch;
        let device = &self.device;
        let row = shape.kv_heads() * shape.head_dim();
        let (keys, values, kept) = match pass.projected {
            Projected::Here { .. } => (
                device.address(&scratch.keys),
                device.address(&scratch.values),
                0,
            ),
            Projected::There(place) => (
                place.keys,
                place.values,
                device.address(&scratch.kept) + (4 * pass.layer * tokens * 2 * row) as u64,
            ),
        };
        let append = Append {
            keys,
            values,
            pages: self.table_address(pass.layer) + (size_of::<Page>() * first_page) as u64,
            kept,
            first_page: first_page as i32,
            start: pass.start as i32,
            tokens: tokens as i32,
            kv_heads: shape.kv_heads() as i32,
            head_dim: shape.head_dim() as i32,
        };
        // SAFETY: the pass's numbers lie there; the pages that its tokens fall into are open and in the table; there is
        // room for a planned pass's keys and values of all layers.
        unsafe { self.device.append(&shape, &append) }
    }

    /// The pass's rows from token `first` on.
    fn queries(&self, pass: &LayerPass<'_>, first: usize) -> Queries {
        let shape = self.shape();
        let row = shape.query_heads() * shape.head_dim();
        let queries = match pass.projected {
            Projected::Here { .. } => self.device.address(&self.holdings.scratch.queries),
            Projected::There(place) => place.queries,
        };
        Queries {
            numbers: queries + (4 * first * row) as u64,
            turns: self.device.address(&self.holdings.scratch.turns)
                + (8 * first * shape.pairs()) as u64,
            query_heads: shape.query_heads() as i32,
            kv_heads: shape.kv_heads() as i32,
            start: (pass.start + first) as i32,
            scale: shape.scale(),
        }
    }

    /// Decodes `tokens` tokens from the pass's token `first` on, filling `splits` of `all` splits from `first_split` on.
    #[allow(clippy::too_many_arguments)]
    fn decode(
        &self,
        pass: &LayerPass<'_>,
        first: usize,
        tokens: usize,
        chosen: Chosen,
        first_split: usize,
        splits: usize,
        all: usize,
    ) -> Result<(), CudaError> {
        let scratch = &self.holdings.scratch;
        let decode = Decode {
            queries: self.queries(pass, first),
            rotation: self.holdings.rotation(&self.device),
            chosen,
            pages: self.table_address(pass.layer),
            bias: self.bias_address(pass.layer),
            values: self.device.address(&scratch.split_values),
            largest: self.device.address(&scratch.split_largest),
            sums: self.device.address(&scratch.split_sums),
            splits: all as i32,
            first_split: first_split as i32,
        };
        assert!(tokens <= DECODE_TOKENS && all <= SPLITS && first_split + splits <= all);
        // SAFETY: the scratch holds `DECODE_TOKENS` tokens with `SPLITS` splits; all pages that are chosen, or all that
        // can be seen, have been brought, or are open.
        unsafe { self.device.decode(self.shape(), tokens, splits, &decode) }
    }

    /// Merges the splits of `tokens` tokens into the attended values from token `first` on.
    fn merge(
        &self,
        pass: &LayerPass<'_>,
        first: usize,
        tokens: usize,
        splits: usize,
    ) -> Result<(), CudaError> {
        let scratch = &self.holdings.scratch;
        let heads = first * self.shape().query_heads();
        let at = |buffer: u64, row: usize| buffer + (4 * heads * row) as u64;
        let merge = Merge {
            values: self.device.address(&scratch.split_values),
            largest: self.device.address(&scratch.split_largest),
            sums: self.device.address(&scratch.split_sums),
            attended: at(self.attended(pass), self.shape().head_dim()),
            row_largest: at(self.device.address(&scratch.row_largest), 1),
            row_sums: at(self.device.address(&scratch.row_sums), 1),
            splits: splits as i32,
        };
        // SAFETY: the scratch holds all tokens of the pass and the splits that `decode` or `prefill` filled.
        unsafe { self.device.merge(self.shape(), tokens, &merge) }
    }

    /// Where what is attended goes.
    fn attended(&self, pass: &LayerPass<'_>) -> u64 {
        match pass.projected {
            Projected::Here { .. } => self.device.address(&self.holdings.scratch.attended),
            Projected::There(place) => place.attended,
        }
    }

    /// Attends all tokens of a pass to `visible` pages, decoded in runs. Where their tiles leave multiprocessors idle, as
    /// those of a small model do, a run is split among blocks, in as many shares as there is room for.
    fn prefill(&self, pass: &LayerPass<'_>, visible: usize) -> Result<(), CudaError> {
        /// Pages below which a share is not worth a block.
        const LEAST_SHARE: usize = 4;
        let shape = self.shape();
        let scratch = &self.holdings.scratch;
        let device = &self.device;
        let blocks = (pass.tokens * shape.group_size()).div_ceil(TILE_ROWS) * shape.kv_heads();
        let room = self.demand.pass_tokens.min(DECODE_TOKENS) * SPLITS / pass.tokens;
        let splits = (2 * device.multiprocessors() / blocks)
            .min(visible.min(UNPACKED_PAGES) / LEAST_SHARE)
            .min(room)
            .max(1);
        for first in (0..visible).step_by(UNPACKED_PAGES) {
            let pages = UNPACKED_PAGES.min(visible - first);
            let unpack = Unpack {
                rotation: self.holdings.rotation(device),
                pages: self.table_address(pass.layer),
                bias: self.bias_address(pass.layer),
                to: device.address(&scratch.unpacked),
                kv_heads: shape.kv_heads() as i32,
                first_page: first as i32,
                end: (pass.start + pass.tokens) as i32,
            };
            let prefill = Prefill {
                queries: self.queries(pass, 0),
                rotation: unpack.rotation,
                unpacked: unpack.to,
                values: device.address(&scratch.split_values),
                largest: device.address(&scratch.split_largest),
                sums: device.address(&scratch.split_sums),
                tokens: pass.tokens as i32,
                first_page: first as i32,
                pages: pages as i32,
                goes_on: i32::from(first > 0),
            };
            // SAFETY: the scratch holds a run's pages, and all tokens of the pass with so many splits; all pages have
            // been brought, or are open.
            unsafe {
                device.unpack(shape, pages, &unpack)?;
                device.prefill(shape, splits, &prefill)?;
            }
        }
        self.merge(pass, 0, pass.tokens, splits)
    }

    /// Attention of `tokens` tokens from token `first` of the pass on, by cached token.
    fn masses(
        &mut self,
        pass: &LayerPass<'_>,
        first: usize,
        tokens: usize,
        chosen: Chosen,
    ) -> Result<Vec<f32>, CudaError> {
        let shape = self.shape().clone();
        let room = pass.recorded_tokens;
        assert!(room <= self.capacity());
        let device = &self.device;
        let zeros = vec![0.0f32; tokens * room];
        device.write(&zeros, &mut self.holdings.scratch.masses, 0)?;
        let scratch = &self.holdings.scratch;
        let heads = (4 * first * shape.query_heads()) as u64;
        for kv_head in 0..shape.kv_heads() {
            for first_row in (0..shape.group_size()).step_by(SLICE_ROWS) {
                let head = kv_head * shape.group_size() + first_row;
                let rows = SLICE_ROWS.min(shape.group_size() - first_row);
                let recorded = pass
                    .recorded
                    .iter()
                    .filter(|recorded| (head..head + rows).contains(recorded))
                    .fold(0, |bits, recorded| bits | 1 << (recorded - head));
                if recorded == 0 {
                    continue;
                }
                let mass = Mass {
                    queries: self.queries(pass, first),
                    rotation: self.holdings.rotation(device),
                    chosen,
                    pages: self.table_address(pass.layer),
                    bias: self.bias_address(pass.layer),
                    row_largest: device.address(&scratch.row_largest) + heads,
                    row_sums: device.address(&scratch.row_sums) + heads,
                    masses: device.address(&scratch.masses),
                    room: room as i32,
                    kv_head: kv_head as i32,
                    first_row: first_row as i32,
                    recorded,
                };
                // SAFETY: the scratch holds `DECODE_TOKENS` rows of masses; the pages are those that were decoded.
                unsafe { device.mass(&shape, tokens, SPLITS.min(self.demand.pages()), &mass) }?;
            }
        }
        device.download(&scratch.masses, tokens * room)
    }

    /// The open pages below position `tokens` are sealed in the file now: makes their codes here, too.
    ///
    /// # Errors
    /// [`CudaError::Driver`].
    pub fn seal(&mut self, tokens: usize) -> Result<(), CudaError> {
        let shape = self.shape().clone();
        let full = tokens / PAGE_TOKENS;
        let format = self.demand.format;
        for layer in 0..shape.layers() {
            for page in self.sealed.max(1)..full {
                // Where there is no room, the page comes from the file when it is needed.
                let room =
                    self.holdings.plan.step == Step::Everything && format != PageFormat::HALVES;
                let at = layer * self.demand.pages() + page;
                self.pages[at] = Page::default();
                let arrivals = room.then(|| self.resident.ask(&[PageId { layer, page }]));
                let Some(arrival) = arrivals
                    .flatten()
                    .and_then(|arrivals| arrivals.first().copied())
                else {
                    continue;
                };
                let part = format.part_bytes(&shape);
                let slot = self.device.address(&self.holdings.slots) + (arrival.slot * part) as u64;
                let quantize = Quantize {
                    halves: self.half_page(layer, page).bytes,
                    part: slot,
                    kv_heads: shape.kv_heads() as i32,
                    head_dim: shape.head_dim() as i32,
                    key_bits: format.key_bits() as i32,
                    value_bits: format.value_bits() as i32,
                };
                // SAFETY: an open page that is full, and a slot of its codes' size.
                unsafe { self.device.quantize(&shape, &quantize) }?;
                self.pages[at] = format.page(slot);
            }
            self.write_table(layer)?;
        }
        self.sealed = self.sealed.max(full);
        Ok(())
    }
}
