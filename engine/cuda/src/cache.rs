//! A document's cache on the GPU, and attention to it.
//!
//! In: sealed pages from whoever holds the file ([`Pages`]), and layer by layer a pass's queries, keys and values. Out: the
//! attended values. New tokens are appended to open pages in half precision; when the file's owner seals them, the GPU
//! makes the same codes of its own open pages ([`GpuCache::seal`]), so that nothing is copied back and forth.
//!
//! | pass | what runs |
//! |---|---|
//! | many tokens | `unpack` and `prefill` in runs of pages, which are brought if they are not there, and `merge` |
//! | few, everything is there | `decode`, `merge` |
//! | few, pages are chosen | `scan`, `pick`, what is missing is brought, `decode`, `merge` |
//! | few, not all pages fit at once | `decode` in turns over as many as fit, one `merge` |
//!
//! A choice is downloaded only where pages may be missing.

mod choose;
mod fetch;
mod intake;
mod turns;

use crate::device::Device;
use crate::error::CudaError;
use crate::holdings::Holdings;
use crate::parameters::{Chosen, Decode, Mass, Merge, Page, Prefill, Quantize, Unpack};
use crate::plan::{DECODE_TOKENS, Demand, Plan, SPLITS, Step, UNPACKED_PAGES};
use crate::resident::{Leaving, PageId, Resident};
use crate::shape::{PAGE_TOKENS, PageFormat, Shape};
use crate::{SLICE_ROWS, TILE_ROWS};
use fetch::Fetch;
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
    fetch: Fetch,
    /// First position and tokens of the pass whose turns are on the GPU.
    turned: (usize, usize),
    /// Keys and values that were brought from there last.
    brought: Vec<f32>,
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
        let fetch = Fetch::new(&device, part, holdings.plan.slots)?;
        Ok(GpuCache {
            resident: Resident::new(holdings.plan.slots),
            pages: vec![Page::default(); demand.shape.layers() * demand.pages()],
            indexed: vec![0; demand.shape.layers()],
            there: vec![0; demand.shape.layers()],
            turned: (0, 0),
            brought: Vec::new(),
            sealed: 0,
            fetch,
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
        // Slots are allocated, and what was in them read, in the line of work; what is fetched comes after that.
        self.fetch.wait_for_slots(&self.device)?;
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
        let sealed = self.sealed.min(visible);
        let mut masses = Vec::new();
        if tokens > DECODE_TOKENS && pass.recorded.is_empty() {
            self.prefill(pass, visible, source)?;
        } else if !self.bring_all(pass.layer, sealed, source)? {
            masses = self.attend_in_turns(pass, tokens, source)?;
        } else {
            let splits = self.splits(visible, tokens.min(DECODE_TOKENS));
            for first in (0..tokens).step_by(DECODE_TOKENS) {
                let piece = DECODE_TOKENS.min(tokens - first);
                self.decode(pass, first, piece, Chosen::ALL, 0, splits, splits)?;
                self.merge(pass, first, piece, splits)?;
                if !pass.recorded.is_empty() {
                    masses.extend(self.masses(pass, first, piece, Chosen::ALL)?);
                }
            }
        }
        self.bring_next_layer(pass.layer, sealed, source)?;
        self.result(pass, masses)
    }

    /// Shares of so many pages for `decode`: enough for several blocks on each multiprocessor, as many as there is room for.
    fn splits(&self, pages: usize, tokens: usize) -> usize {
        /// Blocks that wait for memory while another computes.
        const BLOCKS: usize = 4;
        let blocks = self.shape().kv_heads() * tokens;
        let room = self.demand.pass_tokens.min(DECODE_TOKENS) * SPLITS / tokens;
        (BLOCKS * self.device.multiprocessors())
            .div_ceil(blocks)
            .min(room)
            .min(pages)
            .max(1)
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

    /// Decodes `tokens` tokens from the pass's token `first` on, filling `splits` of `all` splits from `first_split` on.
    #[allow(clippy::too_many_arguments)]
    fn decode(
        &mut self,
        pass: &LayerPass<'_>,
        first: usize,
        tokens: usize,
        chosen: Chosen,
        first_split: usize,
        splits: usize,
        all: usize,
    ) -> Result<(), CudaError> {
        self.await_pages()?;
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
            first_row: 0,
        };
        assert!(first_split + splits <= all);
        assert!(tokens * all <= self.demand.pass_tokens.min(DECODE_TOKENS) * SPLITS);
        // SAFETY: the scratch holds so many splits of tokens; all pages that are chosen, or all that can be seen, have been
        // brought, or are open.
        unsafe { self.device.decode(self.shape(), tokens, splits, &decode) }?;
        self.pages_were_read()
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
            head_dim: self.shape().head_dim() as i32,
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

    /// Attends all tokens of a pass to `visible` pages, decoded in runs; those of the next run are fetched while one is
    /// attended to. Where their tiles leave multiprocessors idle, as those of a small model do, a run is split among blocks,
    /// in as many shares as there is room for.
    fn prefill(
        &mut self,
        pass: &LayerPass<'_>,
        visible: usize,
        source: &dyn Pages,
    ) -> Result<(), CudaError> {
        /// Pages below which a share is not worth a block.
        const LEAST_SHARE: usize = 4;
        let sealed = self.sealed.min(visible);
        let run = match self.holdings.plan.step {
            Step::Everything => {
                self.bring_all(pass.layer, sealed, source)?;
                UNPACKED_PAGES
            }
            Step::HotPages | Step::Turns => UNPACKED_PAGES.min(self.turn_pages(sealed)),
        };
        let runs: Vec<std::ops::Range<usize>> = (0..visible)
            .step_by(run)
            .map(|first| first..visible.min(first + run))
            .collect();
        let shape = self.shape().clone();
        let blocks = (pass.tokens * shape.group_size()).div_ceil(TILE_ROWS) * shape.kv_heads();
        let room = self.demand.pass_tokens.min(DECODE_TOKENS) * SPLITS / pass.tokens;
        let splits = (2 * self.device.multiprocessors() / blocks)
            .min(visible.min(run) / LEAST_SHARE)
            .min(room)
            .max(1);
        for (nth, run) in runs.iter().enumerate() {
            if nth == 0 {
                self.bring_run(pass.layer, run, source)?;
            }
            self.await_pages()?;
            let scratch = &self.holdings.scratch;
            let device = &self.device;
            let unpack = Unpack {
                rotation: self.holdings.rotation(device),
                pages: self.table_address(pass.layer),
                bias: self.bias_address(pass.layer),
                to: device.address(&scratch.unpacked),
                kv_heads: shape.kv_heads() as i32,
                first_page: run.start as i32,
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
                first_page: run.start as i32,
                pages: run.len() as i32,
                goes_on: i32::from(nth > 0),
            };
            // SAFETY: the scratch holds a run's pages, and all tokens of the pass with so many splits; all pages have
            // been brought, or are open.
            unsafe { device.unpack(&shape, run.len(), &unpack) }?;
            self.pages_were_read()?;
            // SAFETY: as above.
            unsafe { self.device.prefill(&shape, splits, &prefill) }?;
            if let Some(next) = runs.get(nth + 1) {
                self.bring_run(pass.layer, next, source)?;
            }
        }
        self.merge(pass, 0, pass.tokens, splits)
    }

    /// Asks for the sealed pages of a run, of which two have room beside each other.
    fn bring_run(
        &mut self,
        layer: usize,
        run: &std::ops::Range<usize>,
        source: &dyn Pages,
    ) -> Result<(), CudaError> {
        if self.holdings.plan.step == Step::Everything {
            return Ok(());
        }
        let sealed: Vec<usize> = run.clone().take_while(|page| *page < self.sealed).collect();
        let fits = self.bring(layer, &sealed, source)?;
        debug_assert!(fits, "a run is at most as long as there are slots");
        Ok(())
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
        self.await_pages()?;
        let device = &self.device;
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
        self.pages_were_read()?;
        self.device
            .download(&self.holdings.scratch.masses, tokens * room)
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
                let arrivals = room.then(|| {
                    self.resident
                        .ask(&[PageId { layer, page }], Leaving::Oldest)
                });
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
