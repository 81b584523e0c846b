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

mod attend;
mod choose;
mod fetch;
mod intake;
mod turns;

use crate::device::Device;
use crate::error::CudaError;
use crate::holdings::Holdings;
use crate::parameters::{Chosen, Page, Quantize};
use crate::plan::{DECODE_TOKENS, Demand, Plan, Step};
use crate::resident::{Leaving, PageId, Resident};
use crate::shape::{PAGE_TOKENS, PageFormat, Shape};
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
